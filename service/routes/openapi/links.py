"""Which operations go on from the answer of another one (OpenAPI's links)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from service.routes.openapi.described import Described

Json = dict[str, Any]


def links_of(one: Described, others: Sequence[Described]) -> Json:
    """The links of a good answer: from what was made to what can be done with it."""
    where, name, value = _made(one)
    if not where:
        return {}
    return {
        other.id: {"operationId": other.id, "parameters": {name: value}, "description": other.operation.summary + "."}
        for other in others
        if other is not one and re.fullmatch(rf"{re.escape(where)}(/[^{{}}]*)?", other.path)
    }


def _made(one: Described) -> tuple[str, str, str]:
    """The path of what the operation makes, the parameter in it, and where its value is; empty where it makes nothing.

    That is what was posted to a collection, whose answer says its id, or put under a name.
    """
    model = one.operation.answers.get(201)
    if one.method == "post" and model is not None and "id" in model.model_fields and "{" not in one.path:
        return f"{one.path}/{{id}}", "id", "$response.body#/id"
    if one.method == "put" and one.path.endswith("/{name}"):
        return one.path, "name", "$request.path.name"
    return "", "", ""
