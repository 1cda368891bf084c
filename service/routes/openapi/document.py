"""From the routes to the document (OpenAPI 3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from service.routes.openapi import headers
from service.routes.openapi.described import Described, described
from service.routes.openapi.examples import example_of
from service.routes.openapi.glossary import PATHS, TAGS
from service.routes.openapi.links import links_of
from service.routes.openapi.schemas import Json as Json
from service.routes.openapi.schemas import Schemas
from service.routes.operation import Operation, Scope
from service.routes.shapes import Problem

PROBLEM_MEDIA = "application/problem+json"
ANY_TIME = (405, 503)
"""Statuses of problems that every operation may answer."""
WITH_KEYS = (401, 403, 429)
"""Those of every operation that may ask for a key."""

_DESCRIPTION = """\
Schedule e-mails, change or cancel them to the last moment, and see what became of each.

Errors are problems (RFC 9457): `code` is a word for programs, `errors` points at each bad field. Without API keys only
this machine is served; once there is a key (`python -m service keys create`) every request needs one."""


def build(routes: Iterable[Any]) -> Json:
    """The document for *routes*."""
    found = described(routes)
    schemas = Schemas(_models(found))
    paths: Json = {}
    for one in found:
        shown = _operation(one, schemas)
        links = links_of(one, found)
        for status in one.operation.answers if links else ():
            shown["responses"][str(status)]["links"] = links
        paths.setdefault(one.path, {})[one.method] = shown
    used = {one.operation.tag for one in found}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "E-mail scheduler",
            "version": version("zqueue"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This service."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": schemas.used_by(paths),
            "headers": headers.RESPONSE,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `zq_...`, as `python -m service keys create` shows it once.",
                }
            },
        },
    }


def _models(found: Sequence[Described]) -> set[type[BaseModel]]:
    models: set[type[BaseModel]] = {Problem}
    for _, _, operation, _ in found:
        models |= {model for model in (operation.body, operation.query, *operation.answers.values()) if model}
    return models


def _operation(one: Described, schemas: Schemas) -> Json:
    operation = one.operation
    shown: Json = {
        "operationId": one.id,
        "summary": operation.summary,
        "description": one.description,
        "tags": [operation.tag],
        "security": [] if operation.scope is Scope.PUBLIC else [{"key": [operation.scope.value]}],
        "x-scope": operation.scope.value,
        "parameters": _parameters(one, schemas),
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None or operation.media != "application/json":
        shown["requestBody"] = _body(operation, schemas)
    return shown


def _parameters(one: Described, schemas: Schemas) -> list[Json]:
    found = [
        {"name": name, "in": "path", "required": True} | (PATHS.get(f"{one.path} {name}") or PATHS[name])
        for name in re.findall(r"\{(\w+)\}", one.path)
    ]
    if one.operation.query is not None:
        schema = schemas.of(one.operation.query)
        for name, field in schema["properties"].items():
            told = {key: value for key, value in field.items() if key not in ("description", "examples")}
            found.append(
                {"name": name, "in": "query", "required": name in schema.get("required", ())}
                | {"description": field.get("description", ""), "schema": _without_null(told)}
            )
    found += [{"name": name, "in": "header"} | headers.REQUEST[name] for name in one.operation.request_headers]
    return found


def _without_null(schema: Json) -> Json:
    """A parameter that is left out is not there: null is no value of one."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    if len(choices) == 1:
        only: Json = choices[0] | rest
        return only
    return rest | ({"anyOf": choices} if choices else {})


def _body(operation: Operation, schemas: Schemas) -> Json:
    if operation.body is None:
        content: Json = {"schema": {}}
    else:
        content = {"schema": schemas.ref(operation.body)}
    if operation.example is not None:
        content["example"] = operation.example
    return {"required": operation.body is not None, "content": {operation.media: content}}


def _responses(operation: Operation, schemas: Schemas) -> Json:
    responses: Json = {}
    for status, model in operation.answers.items():
        responses[str(status)] = _answer(operation, status, model, schemas)
    statuses = {*operation.problems, *ANY_TIME}
    if operation.scope is not Scope.PUBLIC:
        statuses |= {*WITH_KEYS}
    elif not operation.anywhere:
        statuses.add(403)
    for status in sorted(statuses):
        responses.setdefault(str(status), _problem(status, schemas))
    return dict(sorted(responses.items()))


def _answer(operation: Operation, status: int, model: type[BaseModel] | None, schemas: Schemas) -> Json:
    names = list(operation.response_headers)
    if operation.scope is not Scope.PUBLIC:
        names += headers.ALWAYS
    answer: Json = {"description": HTTPStatus(status).phrase}
    if names:
        answer["headers"] = _refs(names)
    if status in (204, 304):
        return answer
    content: Json = {media: {"schema": {"type": "string"}} for media in operation.answer_media}
    if model is not None:
        shape = {"schema": schemas.ref(model), "example": example_of(schemas.of(model), schemas.components)}
        content |= {operation.answer_media[0]: shape}
    return answer | {"content": content}


def _problem(status: int, schemas: Schemas) -> Json:
    example = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": _CODES.get(status, "invalid_request"),
        "detail": _DETAILS.get(status, HTTPStatus(status).description or HTTPStatus(status).phrase),
    }
    if status == 422:
        example["errors"] = [{"pointer": "/to", "detail": "is required"}]
    told: Json = {"description": HTTPStatus(status).phrase}
    if status in headers.OF_PROBLEM:
        told["headers"] = _refs(headers.OF_PROBLEM[status])
    return told | {"content": {PROBLEM_MEDIA: {"schema": schemas.ref(Problem), "example": example}}}


def _refs(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


_CODES = {
    400: "invalid_json",
    401: "key_missing",
    403: "insufficient_scope",
    404: "not_found",
    405: "method_not_allowed",
    409: "wrong_state",
    412: "stale_revision",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    503: "store_locked",
}
_DETAILS = {
    400: "Nothing was accepted: the body is empty; it must be a JSON object, {...}.",
    401: "Send an API key, with the header Authorization: Bearer zq_....",
    403: "The API key abcdefgh2345 lacks the scope send.",
    404: "There is nothing at this address.",
    409: "It is too late to cancel this e-mail: it has been sent.",
    412: "Nothing was changed: the e-mail is at revision 3 by now.",
    413: "The body is larger than 1,048,576 bytes (1 MiB).",
    415: "Send JSON, with the header Content-Type: application/json.",
    422: "One field is wrong; nothing was done.",
    429: "At most 100 requests in 1 s may be made.",
}
