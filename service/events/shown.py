"""One event as others see it, and which events somebody wants to see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from service.email.times import to_z
from service.store.records import Event

EVERYTHING = "*"
HIDDEN = frozenset({"secret.created", "webhook.progress", "template.superseded", "schedule.progress"})
"""Lines of the log that are told nobody: they are there beside others that tell what happened."""

AUDIT = "audit"
"""The kind of events that say who did what."""

EMAIL_TYPES = (
    "email.scheduled",
    "email.updated",
    "email.sending",
    "email.retrying",
    "email.deferred",
    "email.held",
    "email.requeued",
    "email.completed",
    "email.failed",
    "email.cancelled",
    "recipient.bounced",
    "recipient.delayed",
    "recipient.complained",
    "recipient.unsubscribed",
)
"""What can happen to an e-mail."""

KINDS = ("email", "recipient", "template", "schedule", "suppression", "webhook", "key", "setting", AUDIT)
"""The first words of types."""


def document(event: Event) -> dict[str, Any]:
    """*event* as JSON. Of a document it tells which one and its revision, never what is in it."""
    return {
        "seq": event.seq,
        "at": to_z(event.at),
        "type": event.type,
        "email_id": event.email_id,
        "subject": event.subject,
        "rev": event.rev,
        "run": event.run,
        "data": event.data,
    }


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are wanted.

    Attributes:
        types: Types, or ``kind.*`` for all of a kind, or ``*``; empty for all.
        email_id: Only those of this e-mail; None for any.
        audit: Whether those of the audit may be among them.
    """

    types: tuple[str, ...] = ()
    email_id: str | None = None
    audit: bool = True
    _kinds: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = frozenset(one.removesuffix(".*") for one in self.types if one.endswith(".*"))
        object.__setattr__(self, "_kinds", kinds)

    def takes(self, event: Event) -> bool:
        """Whether *event* is wanted; what is hidden never is."""
        kind = event.type.partition(".")[0]
        if event.type in HIDDEN or (self.email_id is not None and event.email_id != self.email_id):
            return False
        if kind == AUDIT and not self.audit:
            return False
        return not self.types or EVERYTHING in self.types or event.type in self.types or kind in self._kinds

    def of(self, events: Iterable[Event]) -> list[Event]:
        """Those of *events* that are wanted."""
        return [event for event in events if self.takes(event)]


def complaint_about_type(name: str) -> str | None:
    """What is wrong with *name* as a type to ask for; None if it is one. Reads on from the field's name."""
    kind, dot, rest = name.partition(".")
    if name == EVERYTHING or (kind in KINDS and rest == "*"):
        return None
    if kind in ("email", "recipient"):
        return None if name in EMAIL_TYPES else f"is no type of events; known are {', '.join(EMAIL_TYPES)}"
    if kind in KINDS and dot and rest.isascii() and rest.isidentifier() and len(rest) <= 50:
        return None
    return f"must be a type such as email.completed, or all of a kind such as email.*; kinds are {', '.join(KINDS)}"
