"""``/v1/emails``: schedule, list, read, cancel, retry."""

from __future__ import annotations

import asyncio

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.email import request as email_request
from service.email.document import public
from service.email.ids import is_email_id
from service.email.record import Email
from service.email.strict_json import decode
from service.email.terms import Terms
from service.email.times import to_z
from service.mailer import headers
from service.routes import query
from service.routes.body import read_json
from service.routes.reply import reply
from service.routes.state import state_of
from service.store.errors import EmailNotFound


class Emails(HTTPEndpoint):
    """All e-mails."""

    async def post(self, request: Request) -> Response:
        """Schedule one: 201 once it is durable."""
        state = state_of(request)
        body = await read_json(request)
        terms = Terms(state["outbox"].now(), headers.custom, state["settings"].default_from)
        draft = email_request.read(decode(body), terms)
        return _one(await state["outbox"].accept(draft), 201)

    async def get(self, request: Request) -> Response:
        """List some, newest accepted first."""
        asked = query.parse(request.query_params)
        store = state_of(request)["store"]
        page = await asyncio.to_thread(store.page, asked.where, asked.limit, after=asked.after, before=asked.before)
        return reply(
            {
                "object": "list",
                "has_more": page.has_more,
                "after": None if page.last is None else str(page.last),
                "before": None if page.first is None else str(page.first),
                "data": [public(email) for email in page.data],
            }
        )


class OneEmail(HTTPEndpoint):
    """One e-mail."""

    async def get(self, request: Request) -> Response:
        """The whole record."""
        email_id = _id(request)
        email = state_of(request)["store"].get(email_id)
        if email is None:
            raise EmailNotFound(email_id)
        if request.headers.get("if-none-match") == _etag(email):
            return Response(status_code=304, headers={"ETag": _etag(email)})
        return _one(email)


class Cancel(HTTPEndpoint):
    """The cancelling of one e-mail."""

    async def post(self, request: Request) -> Response:
        """Cancel it; again is the same."""
        return _one(await state_of(request)["outbox"].cancel(_id(request)))


class Retry(HTTPEndpoint):
    """Another try for one e-mail."""

    async def post(self, request: Request) -> Response:
        """Send it again now if it failed or is held; again is the same."""
        return _one(await state_of(request)["outbox"].retry(_id(request)))


class Events(HTTPEndpoint):
    """The history of one e-mail."""

    async def get(self, request: Request) -> Response:
        """All of it, oldest first."""
        events = [
            {
                "seq": event.seq,
                "at": to_z(event.at),
                "type": event.type,
                "email_id": event.email_id,
                "run": event.run,
                "data": event.data,
            }
            for event in await asyncio.to_thread(state_of(request)["store"].events, _id(request))
        ]
        return reply({"object": "list", "has_more": False, "data": events})


def _id(request: Request) -> str:
    email_id: str = request.path_params["id"]
    if not is_email_id(email_id):
        raise EmailNotFound(email_id[:100])
    return email_id


def _etag(email: Email) -> str:
    return f'"{email.rev}"'


def _one(email: Email, status: int = 200) -> Response:
    headers_ = {"ETag": _etag(email)}
    if status == 201:
        headers_["Location"] = f"/v1/emails/{email.id}"
    return reply(public(email, body=True), status, headers_)
