"""``/v1/bounces``: reports of other servers, as they arrive at the address that bounces go to."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import RootModel
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.bounces import intake, report
from service.bounces.intake import Noted, UnknownEmail, UnknownRecipients
from service.bounces.report import UnreadableReport
from service.email.faults import Fault, InvalidRequest
from service.routes.body import MOST, UnsupportedMedia, read_any
from service.routes.operation import Scope, operation
from service.routes.reply import problem, reply
from service.routes.shapes import Shape
from service.routes.state import state_of

_MESSAGES = ("message/rfc822", "message/global")
_REPORT = "multipart/report"
_EXAMPLE = """\
From: MAILER-DAEMON@mail.example.com
To: shop@example.com
Content-Type: multipart/report; report-type=delivery-status; boundary=x

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.com

Final-Recipient: rfc822; ann@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--x
Content-Type: text/rfc822-headers

Message-ID: <em_01KAVK0PN0F6C9ZR8YHJX2T4QW@example.com>

--x--
"""


class RawMessage(RootModel[str]):
    """A message as it came over SMTP, header and all."""


class ReportedRecipient(Shape):
    """What a report says about one recipient, and what came of it."""

    address: str
    action: Literal["failed", "delayed", "delivered", "relayed", "expanded", "complaint", "no_complaint"]
    enhanced_status: str | None
    code: int | None
    reply: str
    recorded: bool
    suppressed: bool


class ReportAnswer(Shape):
    """What came of a report."""

    object: Literal["report"]
    email_id: str
    recipients: list[ReportedRecipient]
    strangers: list[str]


class Bounces(HTTPEndpoint):
    """Reports about e-mails that were sent."""

    @operation(
        Scope.SEND,
        "Hand in a bounce or a complaint",
        tag="Bounces",
        body=RawMessage,
        media=_MESSAGES[0],
        answers={200: ReportAnswer},
        problems=(404, 413, 415, 422),
        example=_EXAMPLE,
    )
    async def post(self, request: Request) -> Response:
        """The raw message: a delivery status notification (RFC 3464) or a feedback report (RFC 5965).

        A failure marks the recipient as `bounced`, and suppresses the address if the address itself is why; a delay is
        told as an event; a complaint suppresses. A report of an e-mail that was not sent from here changes nothing, for
        anybody can write one.
        """
        data = await _message(request)
        try:
            found = await asyncio.to_thread(report.read, data)
            taken = await intake.take(state_of(request)["store"], found)
        except UnreadableReport as error:
            raise InvalidRequest([Fault("", str(error))]) from error
        except UnknownRecipients as error:
            raise InvalidRequest([Fault("", f"names no recipient of the e-mail {error}")]) from error
        except UnknownEmail:
            return problem(404, "email_not_found", "The report is of no e-mail that was sent from here.")
        return reply(
            {
                "object": "report",
                "email_id": taken.email_id,
                "recipients": [_shown(one) for one in taken.recipients],
                "strangers": list(taken.strangers),
            }
        )


async def _message(request: Request) -> bytes:
    """The message, whole: of a body that is the report alone, the request has the header.

    Raises:
        UnsupportedMedia: It is something else.
        BodyTooLarge: It is larger than 1 MiB.
    """
    given = request.headers.get("content-type", "")
    media = given.partition(";")[0].strip().lower()
    if media not in (*_MESSAGES, _REPORT):
        types = ", ".join((*_MESSAGES, _REPORT))
        raise UnsupportedMedia("Send the message as it came, with Content-Type: message/rfc822.", accept=types)
    body = await read_any(request, MOST)
    return body if media in _MESSAGES else f"Content-Type: {given}\r\n\r\n".encode() + body


def _shown(noted: Noted) -> dict[str, Any]:
    reported = noted.reported
    return {
        "address": noted.address,
        "action": reported.action.value,
        "enhanced_status": reported.status,
        "code": reported.code,
        "reply": reported.text,
        "recorded": noted.recorded,
        "suppressed": noted.suppressed,
    }
