"""``/v1/emails/{id}``: read it, change it, see its message and its history."""

from __future__ import annotations

import asyncio

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.email.document import public
from service.email.record import Email
from service.email.request_fields import EmailEdit
from service.email.times import to_z
from service.mailer import mime
from service.routes.emails import reading
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import EmailRecord, EventList
from service.routes.state import state_of


class OneEmail(HTTPEndpoint):
    """One e-mail."""

    @operation(
        Scope.READ,
        "Read an e-mail",
        answers={200: EmailRecord, 304: None},
        request_headers=("If-None-Match",),
        response_headers=("ETag",),
        problems=(404,),
    )
    async def get(self, request: Request) -> Response:
        """The whole record."""
        email = reading.find(request)
        if reading.is_known(request, email):
            return Response(status_code=304, headers={"ETag": reading.etag(email)})
        return shown(email)

    @operation(
        Scope.SEND,
        "Change an e-mail that is not being sent",
        body=EmailEdit,
        answers={200: EmailRecord},
        problems=(400, 404, 409, 412, 413, 415, 422),
        example={"scheduled_at": "2030-01-02T09:00:00Z"},
        request_headers=("If-Match",),
        response_headers=("ETag",),
    )
    async def patch(self, request: Request) -> Response:
        """Reschedule it, or edit it before its first attempt."""
        email_id, rev = reading.id_of(request), reading.wanted_rev(request)
        body = await reading.understood(await reading.read_large_json(request), lambda document: document)
        state = state_of(request)
        return shown(await state["outbox"].edit(email_id, body, reading.terms_of(state), rev))


class Message(HTTPEndpoint):
    """The message of one e-mail."""

    @operation(
        Scope.READ,
        "The message as it is, was or will be sent",
        answers={200: None},
        answer_media=("message/rfc822",),
        response_headers=("Content-Disposition",),
        problems=(404,),
    )
    async def get(self, request: Request) -> Response:
        """The message (RFC 5322), without the signatures of DKIM.

        Before the first attempt its date is the time it is scheduled for.
        """
        email = reading.find(request)
        date = email.state.date or email.state.scheduled_at
        message = await asyncio.to_thread(mime.build, email, date, state_of(request)["store"].blob)
        return Response(
            message.data,
            media_type="message/rfc822",
            headers={
                "Content-Disposition": f'attachment; filename="{email.id}.eml"',
                "X-Content-Type-Options": "nosniff",
            },
        )


class Events(HTTPEndpoint):
    """The history of one e-mail."""

    @operation(Scope.READ, "The history of an e-mail", answers={200: EventList}, problems=(404,), tag="Events")
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
            for event in await asyncio.to_thread(state_of(request)["store"].events, reading.id_of(request))
        ]
        return reply({"object": "list", "has_more": False, "data": events})


def shown(email: Email) -> Response:
    """The whole record as an answer."""
    return reply(public(email, body=True), headers={"ETag": reading.etag(email)})
