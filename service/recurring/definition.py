"""What a schedule is, and how far it has got. Pure.

Both are documents: ``schedule:NAME`` changes when somebody changes it, ``slot:NAME`` with every fire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import zqueue
from service.email.times import from_z, to_z

KIND = "schedule"
PROGRESS = "slot"
TASK = "schedule"
"""The name of the jobs that fire."""

Misfire = Literal["skip", "once", "all"]

_MOST_AHEAD = 1_000
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Definition:
    """When to send which e-mail.

    Attributes:
        cron: A cron expression in *timezone*; None where *every* is given.
        every: Seconds between two slots, counted from the epoch; None where *cron* is given.
        timezone: An IANA name.
        misfire: What becomes of slots at whose time nobody was there; see `zqueue.Queue.recur`.
        email: A body of ``POST /v1/emails`` without times.
        paused: Whether it makes no e-mails for now.
    """

    cron: str | None
    every: int | None
    timezone: str
    misfire: Misfire
    email: dict[str, Any]
    paused: bool = False

    @property
    def when(self) -> zqueue.Schedule:
        """Its slots."""
        if self.cron is not None:
            return zqueue.cron(self.cron, self.timezone)
        assert self.every is not None
        return zqueue.every(self.every)

    @property
    def times(self) -> list[Any]:
        """When it fires, as JSON: two that fire at the same times have the same."""
        return self.when.to_json()

    def data(self) -> dict[str, Any]:
        """As a document."""
        return {
            "cron": self.cron,
            "every": self.every,
            "timezone": self.timezone,
            "misfire": self.misfire,
            "email": self.email,
            "paused": self.paused,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Definition:
        """The inverse of `data`."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a schedule has got.

    Attributes:
        since: Its slots are those after this moment: when it was made, got other times, or was resumed.
        done: The slot up to which every slot is done with; None before the first.
        ahead: Slots after *done* that are done with, while some between them are not yet.
        fired_at: When it last made an e-mail, or failed to.
        email_id: The e-mail it made last; None if that failed.
        error: Why that failed; None if it did not.
    """

    since: datetime
    done: datetime | None = None
    ahead: tuple[datetime, ...] = ()
    fired_at: datetime | None = None
    email_id: str | None = None
    error: str | None = None

    @property
    def floor(self) -> datetime:
        """The moment after which its slots are still to come."""
        return self.since if self.done is None else max(self.since, self.done)

    def has(self, slot: datetime) -> bool:
        """Is *slot* done with?"""
        return slot <= self.floor or slot in self.ahead

    def after(self, definition: Definition, slot: datetime) -> Progress:
        """The progress once *slot* is done with, too."""
        if definition.misfire != "all":  # of several slots that are due only the last makes an e-mail
            return replace(self, done=max(self.floor, slot), ahead=())
        ahead = {one for one in (*self.ahead, slot) if one > self.floor}
        done, when = self.floor, definition.when
        while ahead and (len(ahead) > _MOST_AHEAD or when.next_after(done) in ahead):
            done = min(ahead)
            ahead.remove(done)
        return replace(self, done=None if done == self.since else done, ahead=tuple(sorted(ahead)))

    def data(self) -> dict[str, Any]:
        """As a document."""
        return {
            "since": to_z(self.since),
            "done": _text(self.done),
            "ahead": [to_z(slot) for slot in self.ahead],
            "fired_at": _text(self.fired_at),
            "email_id": self.email_id,
            "error": self.error,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Progress:
        """The inverse of `data`."""
        return cls(
            since=from_z(data["since"]),
            done=_moment(data["done"]),
            ahead=tuple(from_z(slot) for slot in data["ahead"]),
            fired_at=_moment(data["fired_at"]),
            email_id=data["email_id"],
            error=data["error"],
        )


def next_fires(definition: Definition, progress: Progress, now: datetime) -> list[datetime]:
    """The next slots, at most five; none while it is paused."""
    found: list[datetime] = []
    moment = max(now, progress.floor)
    while not definition.paused and len(found) < _SHOWN:
        try:
            moment = definition.when.next_after(moment)
        except zqueue.InvalidJob:  # there is none in fifty years
            break
        found.append(moment)
    return found


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else to_z(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else from_z(text)
