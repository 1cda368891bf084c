"""Requests that are to take effect once, however often they come: what the store remembers of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from service.email.record import Email

KEPT = timedelta(hours=24)
"""How long a key is remembered at least; longer while one of its e-mails is not final."""

FOR_EVER = "schedule:"
"""Keys that begin with this are not forgotten while their e-mails are in the log."""


class Key(NamedTuple):
    """What a client calls its request.

    Attributes:
        name: The key itself, made unique among clients.
        digest: SHA-256 of the request, hex: the same key with another one is a mistake.
    """

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """What came of the first request with a key."""

    digest: str
    at: datetime
    email_ids: tuple[str, ...]

    def may_go(self, now: datetime) -> bool:
        """Is it old enough to be forgotten, once its e-mails are final?"""
        return now - self.at >= KEPT


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a request with a key came to.

    Attributes:
        emails: The e-mails it made, as they were accepted.
        replayed: Whether that was an earlier request, and this one did nothing.
        extra: What the first request had to say beside its e-mails.
    """

    emails: list[Email]
    replayed: bool
    extra: dict[str, Any] | None = None
