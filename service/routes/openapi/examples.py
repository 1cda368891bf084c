"""Examples of answers, made from their schemas: of each field its own example, or the plainest value it may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": False, "null": None}


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """A value that *schema* allows.

    Args:
        schema: One that pydantic made of a model.
        components: What its references point into, by name.
    """
    if schema.get("examples"):
        return schema["examples"][0]
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return example_of(schema[word][0], components)
    if schema.get("type") == "array":
        return [example_of(schema["items"], components)] if schema.get("items") else []
    if schema.get("type") == "object":
        return {name: example_of(field, components) for name, field in schema.get("properties", {}).items()}
    return schema.get("default", _PLAIN.get(schema.get("type", "object"), {}))
