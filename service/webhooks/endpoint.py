"""An endpoint that webhooks go to, and the steps of its life as pure functions.

It is a document of the store, and holds how far into the log it has been told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from service.email.times import from_z, to_z
from service.events.shown import Selection
from service.store.documents import Document
from service.webhooks.sender import Answer
from zqueue import Backoff, steps

KIND = "webhook"
DEFAULT_TYPES = ("email.*", "recipient.*")
LADDER = steps(5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400, jitter=0.1)
"""The waits after each failure in a row: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, and then each day."""

LONGEST_FAILURE = timedelta(days=5)
"""How long nothing may be taken before an endpoint is disabled."""

OLD_KEY_LASTS = timedelta(days=1)
"""How long messages are also signed with the secret that was replaced."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint.

    Attributes:
        types: What it wants to be told, as `Selection` has it.
        key: Its secret.
        old_key: The secret before that, and until when messages are signed with it too.
        reason: Why it is disabled: ``asked``, ``gone`` (it said so), ``failing`` (for `LONGEST_FAILURE`), ``poison``
            (its job killed workers).
        gen: Grows when something else than a delivery moves its cursor or its state: what was begun before is void.
        cursor: It has been told everything up to this line of the log.
        failures: Attempts in a row that failed.
        next_at: When the next attempt is due; None where none failed.
        told_at: When it last took a message.
    """

    id: str
    url: str
    types: tuple[str, ...]
    description: str | None
    key: str
    cursor: int
    old_key: tuple[str, datetime] | None = None
    enabled: bool = True
    reason: str | None = None
    gen: int = 1
    failures: int = 0
    failing_since: datetime | None = None
    next_at: datetime | None = None
    last_error: str | None = None
    last_status: int | None = None
    told_at: datetime | None = None

    @property
    def wanted(self) -> Selection:
        """What it wants to be told."""
        return Selection(self.types)

    def keys(self, now: datetime) -> list[str]:
        """The secrets that sign what is sent now."""
        old = [] if self.old_key is None or self.old_key[1] <= now else [self.old_key[0]]
        return [self.key, *old]


def to_data(endpoint: Endpoint) -> dict[str, Any]:
    """What its document holds."""
    old = endpoint.old_key
    return {
        "url": endpoint.url,
        "types": list(endpoint.types),
        "description": endpoint.description,
        "key": endpoint.key,
        "old_key": None if old is None else [old[0], to_z(old[1])],
        "enabled": endpoint.enabled,
        "reason": endpoint.reason,
        "gen": endpoint.gen,
        "cursor": endpoint.cursor,
        "failures": endpoint.failures,
        "failing_since": _z(endpoint.failing_since),
        "next_at": _z(endpoint.next_at),
        "last_error": endpoint.last_error,
        "last_status": endpoint.last_status,
        "told_at": _z(endpoint.told_at),
    }


def from_document(document: Document) -> Endpoint:
    """The inverse of `to_data`."""
    data = dict(document.data)
    old = data.pop("old_key")
    for name in ("failing_since", "next_at", "told_at"):
        data[name] = None if data[name] is None else from_z(data[name])
    types = tuple(data.pop("types"))
    return Endpoint(id=document.name, types=types, old_key=None if old is None else (old[0], from_z(old[1])), **data)


def shown(endpoint: Endpoint, document: Document) -> dict[str, Any]:
    """What may be seen of an endpoint: all but its secrets."""
    return {
        "id": endpoint.id,
        "object": "webhook",
        "url": endpoint.url,
        "types": list(endpoint.types),
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.reason,
        "cursor": endpoint.cursor,
        "failures": endpoint.failures,
        "failing_since": _z(endpoint.failing_since),
        "next_attempt_at": _z(endpoint.next_at),
        "last_error": endpoint.last_error,
        "last_status": endpoint.last_status,
        "last_delivered_at": _z(endpoint.told_at),
        "created_at": to_z(document.created_at),
        "updated_at": to_z(document.updated_at),
    }


def told(endpoint: Endpoint, cursor: int, now: datetime, *, taken: bool) -> Endpoint:
    """It has been told up to *cursor*; *taken*: and took at least one message on the way."""
    if not taken:
        return replace(endpoint, cursor=cursor)
    return replace(_fresh(endpoint), cursor=cursor, last_status=None, last_error=None, told_at=now)


def failed(endpoint: Endpoint, answer: Answer, now: datetime, backoff: Backoff = LADDER) -> Endpoint:
    """An attempt failed: the next one is later, or never."""
    since = endpoint.failing_since or now
    after = replace(
        endpoint,
        failures=endpoint.failures + 1,
        failing_since=since,
        last_error=answer.error,
        last_status=answer.status,
    )
    if answer.gone:
        return disabled(after, "gone")
    if now - since >= LONGEST_FAILURE:
        return disabled(after, "failing")
    return replace(after, next_at=now + max(backoff.delay(after.failures), answer.wait))


def disabled(endpoint: Endpoint, reason: str) -> Endpoint:
    """It is told nothing until it is enabled again."""
    return replace(endpoint, enabled=False, reason=reason, gen=endpoint.gen + 1, next_at=None)


def enabled(endpoint: Endpoint) -> Endpoint:
    """It is told what it has not been told yet, at once."""
    return replace(_fresh(endpoint), enabled=True, reason=None, gen=endpoint.gen + 1)


def replayed(endpoint: Endpoint, cursor: int) -> Endpoint:
    """It is told again everything after *cursor*, once it is enabled."""
    return replace(_fresh(endpoint), cursor=cursor, gen=endpoint.gen + 1)


def rotated(endpoint: Endpoint, key: str, now: datetime) -> Endpoint:
    """It has a new secret; the old one lasts a while."""
    return replace(endpoint, key=key, old_key=(endpoint.key, now + OLD_KEY_LASTS))


def _fresh(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, failures=0, failing_since=None, next_at=None)


def _z(moment: datetime | None) -> str | None:
    return None if moment is None else to_z(moment)
