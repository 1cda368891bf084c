"""Answers: JSON, and problems (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from service.email.faults import Fault


def reply(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """*document* as JSON."""
    return Response(orjson.dumps(document), status, headers, media_type="application/json")


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem.

    Args:
        status: Of the response.
        code: One word for programs, stable over releases.
        detail: A sentence for people.
        faults: The bad fields, where there are some.
        headers: More headers of the response.
    """
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if faults:
        document["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    return Response(orjson.dumps(document), status, headers, media_type="application/problem+json")
