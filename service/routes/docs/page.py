"""From the OpenAPI document to HTML that needs no script."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

ASSETS = Path(__file__).with_name("assets")

Json = dict[str, Any]


def render(document: Json) -> str:
    """The page for *document*."""
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pretty": _pretty, "kind": kind, "words": _words}
    groups = [(tag, _operations(document, tag["name"])) for tag in document["tags"]]
    return environment.get_template("docs.html").render(document=document, groups=groups)


def _operations(document: Json, tag: str) -> list[Json]:
    return [
        {"method": method.upper(), "path": path, "body": _body(shown), "curl": _curl(path, method, shown)} | shown
        for path, item in document["paths"].items()
        for method, shown in item.items()
        if tag in shown["tags"]
    ]


def _body(shown: Json) -> Json | None:
    content: Json = shown.get("requestBody", {}).get("content", {})
    return next(({"media": media} | told for media, told in content.items()), None)


def kind(schema: Json) -> str:
    """A schema in a few words, such as ``string, at most 998 characters, or null``."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(kind(choice) for choice in schema[word]))
    named = schema.get("type", "any")
    if named == "array":
        items = kind(schema["items"]) if schema.get("items") else "any"
        named = f"list of {items}"
    return ", ".join([str(named), *_limits(schema)])


def _limits(schema: Json) -> list[str]:
    found = [str(schema["format"])] if "format" in schema else []
    for low, high, unit in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "entries"),
        ("minProperties", "maxProperties", "entries"),
        ("minimum", "maximum", ""),
    ):
        if low in schema and high in schema:
            found.append(f"{schema[low]} to {schema[high]:,} {unit}".rstrip())
        elif high in schema:
            found.append(f"at most {schema[high]:,} {unit}".rstrip())
        elif low in schema:
            found.append(f"at least {schema[low]:,} {unit}".rstrip())
    return found


def _curl(path: str, method: str, shown: Json) -> str:
    """A command that asks for it; the address is where the page came from, which only the reader knows."""
    for parameter in shown["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", "...")))
    words = ["curl"] + ([] if method == "get" else ["-X", method.upper()])
    command = " ".join(words) + f' "$URL"{shlex.quote(path)}'
    if shown["security"]:
        command += ' \\\n  -H "Authorization: Bearer $KEY"'
    body = _body(shown)
    if body is not None:
        command += f" \\\n  -H {shlex.quote('Content-Type: ' + body['media'])}"
        if "example" in body:
            command += f" \\\n  -d {shlex.quote(_pretty(body['example']))}"
        else:
            command += " \\\n  --data-binary @FILE"
    return command


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _words(text: str) -> list[tuple[bool, str]]:
    """*text* in pieces, and whether each of them is code: what stands between backticks."""
    return [(index % 2 == 1, piece) for index, piece in enumerate(text.replace("``", "`").split("`")) if piece]
