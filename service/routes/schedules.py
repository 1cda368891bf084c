"""``/v1/schedules``: e-mails that are sent again and again."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.email.document import public
from service.email.times import to_z
from service.recurring import requests
from service.recurring.requests import ScheduleBody
from service.recurring.schedules import Schedule
from service.routes.documents import PageQuery, name_of, parse_page, wanted_rev
from service.routes.emails import reading
from service.routes.emails.idempotency import REPLAYED, once
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import EmailRecord, Shape
from service.routes.state import state_of

_EXAMPLE: dict[str, Any] = {
    "cron": "0 9 * * mon-fri",
    "timezone": "Europe/Berlin",
    "email": {
        "from": "Shop <shop@example.com>",
        "to": ["Ann <ann@example.org>"],
        "subject": "Good morning",
        "text": "Today's orders are waiting.",
    },
}


class ScheduleRecord(Shape):
    """A schedule."""

    object: Literal["schedule"]
    name: str
    rev: int
    status: Literal["active", "paused"]
    cron: str | None
    every: int | None
    timezone: str
    misfire: Literal["skip", "once", "all"]
    email: dict[str, Any]
    next_fires: list[str]
    last_slot: str | None
    last_fired_at: str | None
    last_email_id: str | None
    last_error: str | None
    created_at: str
    updated_at: str


class ScheduleList(Shape):
    """A page of schedules; `after` is the cursor of the next one."""

    object: Literal["list"]
    has_more: bool
    after: str | None
    data: list[ScheduleRecord]


class Schedules(HTTPEndpoint):
    """All schedules."""

    @operation(
        Scope.READ, "List schedules", tag="Schedules", query=PageQuery, answers={200: ScheduleList}, problems=(422,)
    )
    async def get(self, request: Request) -> Response:
        """Some of them, by name."""
        limit, after = parse_page(request.query_params)
        found, has_more = await asyncio.to_thread(state_of(request)["schedules"].page, limit, after)
        last = found[-1].name if found else None
        return reply({"object": "list", "has_more": has_more, "after": last, "data": [_document(one) for one in found]})


class OneSchedule(HTTPEndpoint):
    """One schedule."""

    @operation(
        Scope.READ,
        "Read a schedule",
        tag="Schedules",
        answers={200: ScheduleRecord},
        problems=(404, 422),
        response_headers=("ETag",),
    )
    async def get(self, request: Request) -> Response:
        """What it sends, when it does next, and what became of its last slot."""
        return _shown(state_of(request)["schedules"].get(name_of(request)))

    @operation(
        Scope.SEND,
        "Write a schedule",
        tag="Schedules",
        body=ScheduleBody,
        answers={200: ScheduleRecord, 201: ScheduleRecord},
        problems=(400, 404, 412, 413, 415, 422),
        request_headers=("If-Match",),
        response_headers=("ETag",),
        example=_EXAMPLE,
    )
    async def put(self, request: Request) -> Response:
        """Make it, or change it. Its first slot is the next one; one whose times stay the same goes on as before."""
        name, rev = name_of(request), wanted_rev(request)
        body = await reading.read_large_json(request)
        definition, paused = await reading.understood(body, requests.read)
        schedule, created = await state_of(request)["schedules"].put(name, definition, paused, rev)
        return _shown(schedule, 201 if created else 200)

    @operation(
        Scope.SEND,
        "Delete a schedule",
        tag="Schedules",
        answers={204: None},
        problems=(404, 412, 422),
        request_headers=("If-Match",),
    )
    async def delete(self, request: Request) -> Response:
        """End it. E-mails that it made stay as they are."""
        await state_of(request)["schedules"].delete(name_of(request), wanted_rev(request))
        return Response(status_code=204)


class Pause(HTTPEndpoint):
    """The pausing of one schedule."""

    @operation(
        Scope.SEND,
        "Pause a schedule",
        tag="Schedules",
        answers={200: ScheduleRecord},
        problems=(404, 412, 422),
        request_headers=("If-Match",),
        response_headers=("ETag",),
    )
    async def post(self, request: Request) -> Response:
        """Let it send nothing until it is resumed; again is the same."""
        return _shown(await state_of(request)["schedules"].pause(name_of(request), wanted_rev(request)))


class Resume(HTTPEndpoint):
    """The resuming of one schedule."""

    @operation(
        Scope.SEND,
        "Resume a schedule",
        tag="Schedules",
        answers={200: ScheduleRecord},
        problems=(404, 412, 422),
        request_headers=("If-Match",),
        response_headers=("ETag",),
    )
    async def post(self, request: Request) -> Response:
        """Let it send again, from its next slot on; those that passed meanwhile are left out. Again is the same."""
        return _shown(await state_of(request)["schedules"].resume(name_of(request), wanted_rev(request)))


class Run(HTTPEndpoint):
    """A sending of one schedule's e-mail beside its slots."""

    @operation(
        Scope.SEND,
        "Send a schedule's e-mail now",
        tag="Schedules",
        answers={201: EmailRecord},
        problems=(404, 409, 422),
        request_headers=("Idempotency-Key",),
        response_headers=("Location", "ETag", "Idempotent-Replayed"),
    )
    async def post(self, request: Request) -> Response:
        """One more, though it be paused; its slots stay what they are."""
        name, schedules = name_of(request), state_of(request)["schedules"]
        accepted = await once(request, b"", lambda key: schedules.run(name, key))
        (email,) = accepted.emails
        told = {"ETag": reading.etag(email), "Location": f"/v1/emails/{email.id}"}
        return reply(public(email, body=True), 201, told | (REPLAYED if accepted.replayed else {}))


def _shown(schedule: Schedule, status: int = 200) -> Response:
    return reply(_document(schedule), status, {"ETag": f'"{schedule.rev}"'})


def _document(schedule: Schedule) -> dict[str, Any]:
    definition, progress = schedule.definition, schedule.progress
    return {
        "object": "schedule",
        "name": schedule.name,
        "rev": schedule.rev,
        "status": "paused" if definition.paused else "active",
        "cron": definition.cron,
        "every": definition.every,
        "timezone": definition.timezone,
        "misfire": definition.misfire,
        "email": definition.email,
        "next_fires": [to_z(slot) for slot in schedule.next_fires],
        "last_slot": None if progress.done is None else to_z(progress.done),
        "last_fired_at": None if progress.fired_at is None else to_z(progress.fired_at),
        "last_email_id": progress.email_id,
        "last_error": progress.error,
        "created_at": to_z(schedule.created_at),
        "updated_at": to_z(schedule.updated_at),
    }
