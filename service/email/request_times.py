"""The times that a request asks for, which depend on the time zone beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.email import times
from service.email.faults import Fault, pointer

TOO_EARLY = Fault("/retry_until", "must lie after scheduled_at; it is when the service gives up")


@dataclass(frozen=True, slots=True)
class Asked:
    """The times that were asked for and can be had, and what is wrong with the others."""

    scheduled_at: datetime | None
    retry_until: datetime | None
    faults: list[Fault]


def read(document: Mapping[str, Any], now: datetime) -> Asked:
    """The times in *document*, which has no nulls; *now* is the queue's time."""
    zone = document.get("timezone")
    faults: list[Fault] = []
    found: dict[str, datetime] = {}
    if zone is not None and not ("scheduled_at" in document or "retry_until" in document):
        faults.append(Fault("/timezone", "has no effect without scheduled_at; leave it out, or say when to send"))
    for name in ("scheduled_at", "retry_until"):
        if name in document and (zone is None or isinstance(zone, str)):
            try:
                found[name] = times.not_past(times.parse(document[name], zone), now)
            except times.InvalidZone as error:
                faults.append(Fault("/timezone", str(error)))
            except times.InvalidTime as error:
                faults.append(Fault(pointer(name), str(error)))
    scheduled_at, retry_until = found.get("scheduled_at"), found.get("retry_until")
    if retry_until is not None and retry_until <= (scheduled_at or now):
        faults.append(TOO_EARLY)
    return Asked(scheduled_at, retry_until, faults)
