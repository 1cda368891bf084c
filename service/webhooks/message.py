"""What an endpoint is sent: one event in the form of Standard Webhooks, ``{"type", "timestamp", "data"}``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from service.email.times import to_z
from service.events.shown import document
from service.store.records import Event
from zqueue import new_id


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        id: The same whenever this event is delivered: a receiver knows by it what it has seen.
        body: JSON.
    """

    id: str
    body: bytes


def of_event(event: Event, store_id: str) -> Message:
    """The message that tells *event*."""
    return _message(f"evt_{store_id}_{event.seq}", event.type, event.at, document(event))


def of_gap(after: int, event: Event | None, now: datetime, store_id: str) -> Message:
    """The message that events after line *after* are gone from the log; the next one is *event*."""
    first = None if event is None else event.seq
    return _message(f"evt_{store_id}_{after}_reset", "reset", now, {"after": after, "next": first})


def of_test(webhook_id: str, now: datetime) -> Message:
    """A message that tells nothing, to see whether it arrives."""
    return _message(f"evt_test_{new_id()}", "webhook.test", now, {"webhook_id": webhook_id})


def _message(message_id: str, type_: str, at: datetime, data: dict[str, Any]) -> Message:
    return Message(message_id, orjson.dumps({"type": type_, "timestamp": to_z(at), "data": data}))
