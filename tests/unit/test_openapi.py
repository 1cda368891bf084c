"""What the API says of itself: every route of it, as a valid OpenAPI document whose examples keep to its schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from service.routes import ROUTES, TABLE
from service.routes.guard import Guard
from service.routes.openapi.document import build
from service.routes.operation import METHODS, Scope, operations

DOCUMENT = build(TABLE)
OPERATIONS = [
    pytest.param(path, method, id=f"{method} {path}") for path, item in DOCUMENT["paths"].items() for method in item
]


def _endpoint_methods() -> Iterator[tuple[str, str, Any]]:
    for route in TABLE:
        for method in METHODS:
            if hasattr(route.endpoint, method):
                yield route.path, method, getattr(route.endpoint, method)


def test_every_route_names_its_scope() -> None:
    """A method of an endpoint that does not say who may call it fails the build."""
    assert [f"{method} {path}" for path, method, code in _endpoint_methods() if not hasattr(code, "operation")] == []
    assert sum(1 for _ in _endpoint_methods()) > 10, "the search finds routes"


def test_every_route_is_guarded() -> None:
    """No route of the application leads past the guard."""
    assert [route for route in ROUTES if not (isinstance(route, Route) and isinstance(route.app, Guard))] == []
    assert len(ROUTES) == len(TABLE)


def test_what_changes_something_is_not_for_readers() -> None:
    """Whatever is no GET needs more than the scope `read`, or a secret in its path."""
    found = {
        f"{method} {route.path}"
        for route in TABLE
        for method, operation in operations(route.endpoint).items()
        if method != "get" and operation.scope in (Scope.READ, Scope.PUBLIC) and not operation.anywhere
    }
    assert found <= {"post /v1/templates/{name}/preview"}


def test_the_document_is_valid() -> None:
    """OpenAPI 3.1, by a validator of others."""
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    assert DOCUMENT["openapi"] == "3.1.0"


def test_each_operation_has_an_id_of_its_own() -> None:
    """Names for programs that are made from the document."""
    ids = [item[method]["operationId"] for item in DOCUMENT["paths"].values() for method in item]
    assert len(ids) == len(set(ids))
    assert [one for one in ids if re.fullmatch(r"[a-z][a-z0-9_]*", one) is None] == []


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_an_operation_is_described(path: str, method: str) -> None:
    """Summary, description, group, who may call it, and each parameter with what it means."""
    shown = DOCUMENT["paths"][path][method]
    assert shown["summary"]
    assert shown["description"]
    assert shown["tags"][0] in [tag["name"] for tag in DOCUMENT["tags"]]
    assert (shown["security"] == []) == (shown["x-scope"] == "public")
    assert [one["name"] for one in shown["parameters"] if not one.get("description")] == []


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_an_operation_has_examples(path: str, method: str) -> None:
    """Of its body, of its answers, and of its problems; each keeps to its own schema."""
    shown = DOCUMENT["paths"][path][method]
    contents = [shown["requestBody"]["content"]] if "requestBody" in shown else []
    contents += [response["content"] for response in shown["responses"].values() if "content" in response]
    for content in contents:
        for media, told in content.items():
            if not media.endswith("json"):
                continue
            assert "example" in told, media
            schema = told["schema"] | {"components": DOCUMENT["components"]}
            jsonschema.validate(told["example"], schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_problems_are_problems(path: str, method: str) -> None:
    """Every answer from 400 on is one (RFC 9457), and says in its fields what a client needs to go on."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    for status, response in responses.items():
        if int(status) >= 400 and path != "/readyz":
            assert list(response["content"]) == ["application/problem+json"]
    if DOCUMENT["paths"][path][method]["x-scope"] != "public":
        assert {"401", "403", "429", "503"} <= responses.keys()
        assert "Retry-After" in responses["429"]["headers"]
        assert "WWW-Authenticate" in responses["401"]["headers"]


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_field_is_described(name: str) -> None:
    """A field says what it means: in its model, or in the glossary."""
    properties = DOCUMENT["components"]["schemas"][name].get("properties", {})
    undescribed = [field for field, schema in properties.items() if not schema.get("description")]
    assert undescribed == []


def _objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that a body may be."""
    if "$ref" in schema:
        yield from _objects(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema:
        for form in schema["anyOf"]:
            yield from _objects(form)
    else:
        yield schema


def test_objects_of_requests_are_closed() -> None:
    """A misspelt field is refused, and the document says so."""
    bodies = [
        content["schema"]
        for item in DOCUMENT["paths"].values()
        for shown in item.values()
        for media, content in shown.get("requestBody", {}).get("content", {}).items()
        if media.endswith("json")
    ]
    assert bodies
    found = [form for body in bodies for form in _objects(body)]
    assert [form.get("title") for form in found if form.get("additionalProperties") is not False] == []
