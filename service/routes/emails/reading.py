"""What the endpoints of e-mails read from a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request

from service.email.edits import StaleRevision
from service.email.ids import is_email_id
from service.email.record import Email
from service.email.strict_json import decode
from service.email.terms import Terms
from service.routes.body import read_json
from service.routes.state import AppState, state_of
from service.settings import Settings
from service.store.errors import EmailNotFound

T = TypeVar("T")

_BESIDES = 1024 * 1024  # octets of a request beyond the attachments in it
_BODIES = 128 * 1024 * 1024
_SMALL = 64 * 1024  # octets of a body that are read on the event loop, in about a millisecond


def most_of_body(settings: Settings) -> int:
    """Octets that a request with e-mails in it may have: a largest message in base64, and what goes with it."""
    return settings.max_message * 4 // 3 + _BESIDES


def most_of_bodies(settings: Settings) -> int:
    """Octets that all large bodies in memory may have together: three of the largest, or many smaller ones."""
    return max(_BODIES, 3 * most_of_body(settings))


async def read_large_json(request: Request) -> bytes:
    """The body of a request that may have e-mails in it; raises as `read_json` does."""
    return await read_json(request, most_of_body(state_of(request)["settings"]))


async def understood(body: bytes, read: Callable[[dict[str, Any]], T]) -> T:
    """What *read* makes of the JSON in *body*; in a thread where that takes a while.

    Raises:
        InvalidJson: It is not JSON.
        Exception: What *read* raises.
    """
    if len(body) <= _SMALL:
        return read(decode(body))
    return await asyncio.to_thread(lambda: read(decode(body)))


def terms_of(state: AppState) -> Terms:
    """What requests are held to now."""
    return state["outbox"].terms()


def id_of(request: Request) -> str:
    """The id in the path.

    Raises:
        EmailNotFound: It has not the shape of one.
    """
    email_id: str = request.path_params["id"]
    if not is_email_id(email_id):
        raise EmailNotFound(email_id[:100])
    return email_id


def find(request: Request) -> Email:
    """The e-mail in the path.

    Raises:
        EmailNotFound: There is none.
    """
    email_id = id_of(request)
    email = state_of(request)["store"].get(email_id)
    if email is None:
        raise EmailNotFound(email_id)
    return email


def etag(email: Email) -> str:
    """The entity tag of a record (RFC 9110, section 8.8.3)."""
    return f'"{email.rev}"'


def is_known(request: Request, email: Email) -> bool:
    """Whether ``If-None-Match`` says that the client has the record as it is (RFC 9110, section 13.1.2)."""
    tags = _tags(request, "if-none-match")
    return "*" in tags or etag(email) in {tag.removeprefix("W/") for tag in tags}


def wanted_rev(request: Request) -> int | None:
    """The revision that ``If-Match`` asks for (RFC 9110, section 13.1.1); None for any.

    Raises:
        EmailNotFound: There is no such e-mail.
        StaleRevision: It has none of the revisions asked for.
    """
    tags = _tags(request, "if-match")
    if not tags or tags == ["*"]:
        return None
    email = find(request)
    if etag(email) not in tags:
        raise StaleRevision(email, 0)
    return email.rev


def _tags(request: Request, header: str) -> list[str]:
    return [tag.strip() for value in request.headers.getlist(header) for tag in value.split(",")]
