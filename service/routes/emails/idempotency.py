"""``Idempotency-Key``: a request that takes effect once, however often it comes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from hashlib import sha256

from starlette.requests import Request

from service.email.faults import Fault, InvalidRequest
from service.routes.state import state_of
from service.store.errors import KeyReused
from service.store.idempotency import Accepted, Key

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}

_SHAPE = re.compile(r"[\x21-\x7e]{1,255}")


class KeyInUse(Exception):
    """The first request with an idempotency key is still being worked on, by this process."""


async def once(request: Request, body: bytes, make: Callable[[Key | None], Awaitable[Accepted]]) -> Accepted:
    """What *make* makes, or made when the same request came before.

    Args:
        request: May have an idempotency key.
        body: Its body, as it was sent.
        make: Makes it under a key, or without one where the request has none. What it raises is not remembered.

    Raises:
        InvalidRequest: The key is not one.
        KeyInUse: The same request is being worked on.
        KeyReused: The key came with another request before.
    """
    name = _name(request)
    if name is None:
        return await make(None)
    state = state_of(request)
    key = Key(name, sha256(f"{request.method} {request.url.path}\n".encode() + body).hexdigest())
    in_flight = state["keys_in_flight"]
    if name in in_flight:
        raise KeyInUse
    in_flight.add(name)
    try:
        # Looked at first, since what was right then may be wrong by now: its time has passed, its template is gone.
        return _earlier(request, key) or await make(key)
    finally:
        in_flight.discard(name)


def _earlier(request: Request, key: Key) -> Accepted | None:
    state = state_of(request)
    found = state["store"].key(key.name, state["outbox"].now())
    if found is None:
        return None
    if found.digest != key.digest:
        raise KeyReused(key.name)
    firsts = [state["store"].first(email_id) for email_id in found.email_ids]
    return Accepted([email for email, _ in firsts], replayed=True, extra=firsts[0][1])


def _name(request: Request) -> str | None:
    """The key as the store is to know it: what clients with other API keys choose is another."""
    given = request.headers.getlist(HEADER)
    if not given:
        return None
    if len(given) > 1 or _SHAPE.fullmatch(given[0]) is None:
        raise InvalidRequest([Fault(HEADER, "must be given once, as 1 to 255 visible ASCII characters without blanks")])
    return f"{request.scope.get('key_id', '')}:{given[0]}"
