"""``/v1/emails``: schedule one, list some."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.email import request as email_request
from service.email.document import public
from service.email.request_fields import EmailRequest
from service.routes import query
from service.routes.emails import reading
from service.routes.emails.idempotency import REPLAYED, once
from service.routes.operation import Scope, operation
from service.routes.query import ListQuery
from service.routes.reply import reply
from service.routes.shapes import EmailList, EmailRecord
from service.routes.state import state_of
from service.store.idempotency import Accepted, Key
from service.store.store import Store

EXAMPLE: dict[str, Any] = {
    "from": "Shop <shop@example.com>",
    "to": ["Ann <ann@example.org>"],
    "subject": "Your order",
    "text": "It is on its way.",
    "scheduled_at": "2030-01-01T09:00:00",
    "timezone": "Europe/Berlin",
}


class Emails(HTTPEndpoint):
    """All e-mails."""

    @operation(
        Scope.SEND,
        "Schedule an e-mail",
        body=EmailRequest,
        answers={201: EmailRecord},
        request_headers=("Idempotency-Key",),
        response_headers=("Location", "ETag", "Idempotent-Replayed"),
        problems=(400, 409, 413, 415, 422),
        example=EXAMPLE,
    )
    async def post(self, request: Request) -> Response:
        """Schedule one: 201 once it is durable."""
        body = await reading.read_large_json(request)
        outbox = state_of(request)["outbox"]

        async def accept(key: Key | None) -> Accepted:
            terms = reading.terms_of(state_of(request))
            draft = await reading.understood(body, lambda document: email_request.read(document, terms))
            return await outbox.take([await outbox.compose(draft)], key)

        accepted = await once(request, body, accept)
        (email,) = accepted.emails
        told = {"ETag": reading.etag(email), "Location": f"/v1/emails/{email.id}"}
        return reply(public(email, body=True), 201, told | (REPLAYED if accepted.replayed else {}))

    @operation(Scope.READ, "List e-mails", query=ListQuery, answers={200: EmailList}, problems=(422,))
    async def get(self, request: Request) -> Response:
        """List some, newest accepted first, or what is not final by when it is due."""
        asked = query.parse(request.query_params)
        return reply(await asyncio.to_thread(_page, state_of(request)["store"], asked))


def _page(store: Store, asked: query.Listing) -> dict[str, Any]:
    if asked.by_time:
        upcoming = store.upcoming(asked.where, asked.limit, after=asked.after_time)
        emails, has_more = upcoming.data, upcoming.has_more
        after, before = (None if upcoming.last is None else ".".join(upcoming.last)), None
    else:
        page = store.page(asked.where, asked.limit, after=asked.after, before=asked.before)
        emails, has_more = page.data, page.has_more
        after = None if page.last is None else str(page.last)
        before = None if page.first is None else str(page.first)
    return {
        "object": "list",
        "has_more": has_more,
        "after": after,
        "before": before,
        "data": [public(email) for email in emails],
    }
