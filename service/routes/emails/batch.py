"""``POST /v1/emails/batch``: schedule many."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.email import batch
from service.email.batch import BatchRequest
from service.email.draft import Draft
from service.email.faults import Fault, InvalidRequest
from service.outbox.composing import Composed
from service.routes.emails import reading
from service.routes.emails.collection import EXAMPLE
from service.routes.emails.idempotency import REPLAYED, once
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import BatchAnswer
from service.routes.state import AppState, state_of
from service.store.idempotency import Accepted, Key
from service.templating.renderer import CutShort

_AT_ONCE = 50  # e-mails composed in one go
_BODIES = 4
"""The bodies of a batch may have so many times the characters that a message may have bytes: all are held at once."""
_NOT_TRIED = Fault("/template", "is not filled: that took too long for an e-mail before this one")
_TOO_MUCH = Fault("", "is too much together with those before it; use smaller batches")


class Batch(HTTPEndpoint):
    """Many e-mails at once."""

    @operation(
        Scope.SEND,
        "Schedule up to 1,000 e-mails",
        body=BatchRequest,
        answers={201: BatchAnswer},
        request_headers=("Idempotency-Key",),
        response_headers=("Idempotent-Replayed",),
        problems=(400, 409, 413, 415, 422),
        example={"emails": [EXAMPLE], "mode": "strict"},
    )
    async def post(self, request: Request) -> Response:
        """Schedule many as one write: all of them or, if asked for, those that can be."""
        body = await reading.read_large_json(request)
        accepted = await once(request, body, partial(_accept, state_of(request), body))
        told = {
            "object": "batch",
            "data": [{"id": email.id} for email in accepted.emails],
            "errors": (accepted.extra or {}).get("errors", []),
        }
        return reply(told, 201, REPLAYED if accepted.replayed else None)


async def _accept(state: AppState, body: bytes, key: Key | None) -> Accepted:
    terms = reading.terms_of(state)
    asked = await reading.understood(body, lambda document: batch.read(document, terms))
    composed, errors = await _compose(state, asked, terms.now)
    if errors and (asked.mode == "strict" or not composed):
        raise asked.together(errors)
    return await state["outbox"].take(composed, key, {"errors": _told(asked, errors)} if errors else None)


async def _compose(
    state: AppState, asked: batch.Batch, now: datetime
) -> tuple[list[Composed], dict[int, InvalidRequest]]:
    """The records of those that can be accepted, and what is wrong with the others, by index."""
    composed: list[Composed] = []
    room, slow = _BODIES * state["settings"].max_message, False
    errors = {index: item for index, item in enumerate(asked.items) if isinstance(item, InvalidRequest)}
    for index, item in enumerate(asked.items):
        if index % _AT_ONCE == 0:
            await asyncio.sleep(0)  # so that others have their turn
        if isinstance(item, Draft):
            try:
                if slow and item.template is not None:
                    raise InvalidRequest([_NOT_TRIED])
                one = await state["outbox"].compose(item, now)
                room -= len(one.email.content.text or "") + len(one.email.content.html or "")
                if room < 0:
                    raise InvalidRequest([_TOO_MUCH])
                composed.append(one)
            except InvalidRequest as error:
                errors[index] = error
                slow = slow or isinstance(error, CutShort)
    return composed, errors


def _told(asked: batch.Batch, errors: dict[int, InvalidRequest]) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "errors": [{"pointer": fault.pointer, "detail": fault.detail} for fault in asked.at(index, errors[index])],
        }
        for index in sorted(errors)
    ]
