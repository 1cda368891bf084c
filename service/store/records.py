"""E-mails and their events as lines of the log.

The first line of an e-mail holds its content and its state, every later one its whole state (an edit: its content
too). So a record is the newest line with a content plus the newest line, and its history is all of its lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from service.email.document import content_from_json, content_to_json, state_from_json, state_to_json
from service.email.record import Change, Email
from service.email.times import from_z, to_z
from service.store.log import Draft, Line

_SHOWN = ("status", "reason", "attempts", "next_attempt_at", "last_error")
_UNTOUCHED = {"status": "pending"}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an e-mail.

    Attributes:
        seq: Its number in the log: events of all e-mails in order, with gaps.
        run: The run of the e-mail it belongs to; 0 before the first.
        data: What may be told: status, reason, attempts, next_attempt_at and last_error after it, the recipients
            that it changed, and what the change said beyond that.
    """

    seq: int
    at: datetime
    type: str
    email_id: str
    run: int
    data: dict[str, Any]


def accepted(email: Email) -> Draft:
    """The first line of *email*."""
    data = {"content": content_to_json(email.content), "state": state_to_json(email.state)}
    return Draft(to_z(email.created_at), email.id, email.rev, "email.scheduled", _encoded(data))


def changed(email: Email, change: Change, at: str) -> Draft:
    """The line of *change*, which made the record *email* what it is."""
    data: dict[str, Any] = {"state": state_to_json(change.state)}
    if change.content is not None:
        data["content"] = content_to_json(change.content)
    if change.detail:
        data["detail"] = change.detail
    return Draft(at, email.id, email.rev, change.type, _encoded(data))


def read_email(content: Line, newest: Line, created_at: str) -> Email:
    """The record that these two lines (or one, twice) make."""
    return Email(
        newest["id"],
        newest["rev"],
        from_z(created_at),
        content_from_json(content["data"]["content"]),
        state_from_json(newest["data"]["state"]),
    )


def read_events(history: Iterable[Line]) -> list[Event]:
    """The events of one e-mail from all of its lines, oldest first."""
    events = []
    before: dict[str, dict[str, Any]] = {}
    for line in history:
        state = line["data"]["state"]
        data = {name: state.get(name) for name in _SHOWN}
        now = {recipient["address"]: recipient for recipient in state["recipients"]}
        touched = [
            recipient
            for address, recipient in now.items()
            if recipient != before.get(address, {"address": address} | _UNTOUCHED)
        ]
        before = now
        if touched:
            data["recipients"] = touched
        data |= line["data"].get("detail", {})
        events.append(Event(line["seq"], from_z(line["at"]), line["type"], line["id"], state["run"], data))
    return events


def _encoded(data: dict[str, Any]) -> orjson.Fragment:
    """Encoded before the line is: what cannot be JSON fails its own request, not a write that many share."""
    return orjson.Fragment(orjson.dumps(data))
