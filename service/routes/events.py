"""``/v1/events``: everything that happens, as a list or as a stream of server-sent events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.datastructures import QueryParams
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.access.keys import KIND
from service.email.faults import Fault, InvalidRequest, unknown
from service.email.ids import is_email_id
from service.events.feed import Feed
from service.events.shown import Selection, complaint_about_type, document
from service.routes.event_stream import EventStream, frames
from service.routes.operation import Scope, operation
from service.routes.reply import problem, reply
from service.routes.shapes import Shape
from service.routes.state import state_of
from service.store.records import Events

MOST = 100
DEFAULT = 20
MOST_LINES = 10_000
"""Lines of the log that one request for a list looks at."""
_MOST_TYPES = 50
_LONGEST_CURSOR = 18
_LATER = {"Retry-After": "5"}


class EventsQuery(BaseModel):
    """What can be said in the query."""

    after: int | None = Field(None, ge=0, description="Only events whose seq is above this.")
    limit: int = Field(DEFAULT, ge=1, le=MOST, description="Events of a list; a stream has no limit.")
    types: str | None = Field(
        None, description="Types, with commas between them; email.* is all of a kind.", examples=["email.*"]
    )
    email_id: str | None = Field(None, description="Only events of this e-mail.")


class LogEvent(Shape):
    """Something that happened: to an e-mail (`email_id`), or to something else (`subject`, as kind:name)."""

    seq: int
    at: str
    type: str
    email_id: str | None
    subject: str | None
    rev: int
    run: int
    data: dict[str, Any]


class LogEventList(Shape):
    """Events, oldest first. `after` is where the next list begins; with `reset` some that came before are gone."""

    object: Literal["list"]
    has_more: bool
    reset: bool
    after: str
    data: list[LogEvent]


class AllEvents(HTTPEndpoint):
    """All events."""

    @operation(
        Scope.READ,
        "List events, oldest first, or follow them as server-sent events (Accept: text/event-stream)",
        tag="Events",
        query=EventsQuery,
        answers={200: LogEventList},
        answer_media=("application/json", "text/event-stream"),
        request_headers=("Last-Event-ID",),
        problems=(404, 422),
    )
    async def get(self, request: Request) -> Response:
        """A list; a stream for those who ask for one."""
        asked = parse(request.query_params, request.headers.get("last-event-id"), audit=_is_admin(request))
        feed = state_of(request)["feed"]
        if request.method == "GET" and "text/event-stream" in request.headers.get("accept", ""):
            return await _stream(feed, asked, request.scope["key_id"])
        if asked.wanted.email_id is not None:
            history = await feed.history(asked.wanted.email_id, asked.after or 0)
            chosen = asked.wanted.of(history.events)
            more = len(chosen) > asked.limit
            page = chosen[: asked.limit]
            found = Events(page, page[-1].seq if more else history.last, history.reset)
        else:
            found, more = await feed.select(asked.wanted, asked.after or 0, asked.limit, MOST_LINES)
        return reply(
            {
                "object": "list",
                "has_more": more,
                "reset": found.reset and asked.after is not None,
                "after": str(found.last),
                "data": [document(event) for event in found.events],
            }
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for. Without an `after` a list begins with the first event and a stream with the next."""

    wanted: Selection
    after: int | None
    limit: int


def _is_admin(request: Request) -> bool:
    """Whether it may see who did what: with a key that has this scope, or where no key is asked for."""
    key_id = request.scope["key_id"]
    key = state_of(request)["store"].document(KIND, key_id) if key_id else None
    return not key_id or (key is not None and Scope.ADMIN in key.data["scopes"])


def parse(query: QueryParams, last_event_id: str | None, *, audit: bool) -> Asked:
    """Read a request; what a stream saw last, when it comes back, counts more than where it once began.

    Args:
        query: Its query.
        last_event_id: Its header.
        audit: Whether it may be told who did what.

    Raises:
        InvalidRequest: A parameter is unknown, given twice, or wrong; it names all of them.
    """
    faults = []
    for name in dict.fromkeys(query.keys()):
        if name not in EventsQuery.model_fields:
            faults.append(Fault(name[:MOST], unknown(name, EventsQuery.model_fields)))
        elif len(query.getlist(name)) > 1:
            faults.append(Fault(name, "is given more than once"))
    after, limit = query.get("after"), query.get("limit", str(DEFAULT))
    if last_event_id is not None and not _is_cursor(last_event_id):
        faults.append(Fault("Last-Event-ID", "must be the id of an event"))
    if after is not None and not _is_cursor(after):
        faults.append(Fault("after", "must be a whole number, such as the seq of an event"))
    if not (_is_cursor(limit) and len(limit) <= 3 and 1 <= int(limit) <= MOST):
        faults.append(Fault("limit", f"must be a whole number from 1 to {MOST}"))
    types = tuple(query["types"].split(",")) if "types" in query else ()
    if len(types) > _MOST_TYPES:
        faults.append(Fault("types", f"must be at most {_MOST_TYPES} types"))
    complaint = next(filter(None, map(complaint_about_type, types[:_MOST_TYPES])), None)
    if complaint is not None:
        faults.append(Fault("types", complaint))
    email_id = query.get("email_id")
    if email_id is not None and not is_email_id(email_id):
        faults.append(Fault("email_id", "must be the id of an e-mail"))
    if faults:
        raise InvalidRequest(sorted(faults))
    position = last_event_id if last_event_id is not None else after
    return Asked(Selection(types, email_id, audit), None if position is None else int(position), int(limit))


def _is_cursor(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_CURSOR


async def _stream(feed: Feed, asked: Asked, key_id: str) -> Response:
    if feed.is_full:
        return problem(503, "too_many_streams", "Too many streams are open; try again later.", headers=_LATER)
    position = feed.end() if asked.after is None else asked.after
    past = None if asked.wanted.email_id is None else await feed.history(asked.wanted.email_id, position)
    return EventStream(frames(feed, asked.wanted, position, past, key_id), patience=feed.patience)
