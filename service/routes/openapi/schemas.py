"""The schemas of the document: of every model in use, each once, each field with its description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.routes.openapi.glossary import FIELDS

Json = dict[str, Any]


class Schemas:
    """The schemas of some models.

    Attributes:
        components: Name -> schema.
    """

    def __init__(self, models: Iterable[type[BaseModel]]) -> None:
        chosen = sorted({(model, "validation") for model in models}, key=lambda one: one[0].__qualname__)
        self._refs, found = models_json_schema(
            [(model, "validation") for model, _ in chosen], ref_template="#/components/schemas/{model}"
        )
        self.components: Json = found.get("$defs", {})
        for name, schema in self.components.items():
            _describe(name, schema)

    def ref(self, model: type[BaseModel]) -> Json:
        """A reference to the schema of *model*."""
        return self._refs[model, "validation"]

    def of(self, model: type[BaseModel]) -> Json:
        """The schema of *model*."""
        name = str(self.ref(model)["$ref"]).rpartition("/")[2]
        schema: Json = self.components[name]
        return schema

    def used_by(self, document: Any) -> Json:
        """The components that *document* refers to, directly or through others."""
        used: set[str] = set()
        wanted = _references(document)
        while wanted - used:
            used |= wanted
            wanted = {name for known in used for name in _references(self.components[known])}
        return {name: schema for name, schema in self.components.items() if name in used}


def _references(part: Any) -> set[str]:
    if isinstance(part, dict):
        found = {name for value in part.values() for name in _references(value)}
        ref = part.get("$ref")
        return found | ({ref.rpartition("/")[2]} if isinstance(ref, str) and "/schemas/" in ref else set())
    return {name for value in part for name in _references(value)} if isinstance(part, list) else set()


def _describe(owner: str, schema: Json) -> None:
    """Add what the glossary has for the fields of *schema*, and take away the titles that pydantic makes of names."""
    for name, field in schema.get("properties", {}).items():
        field.pop("title", None)
        told = FIELDS.get(f"{owner}.{name}") or FIELDS.get(name)
        if told is not None:
            description, *examples = told
            field.setdefault("description", description)
            if examples and "$ref" not in field:
                field.setdefault("examples", examples)
