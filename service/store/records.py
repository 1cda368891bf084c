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
from service.email.record import Change, Email, Status
from service.email.times import from_z, to_z
from service.store.idempotency import Key
from service.store.log import Draft, Line

RECORD = "email.record"
"""Type of the one line that a compaction leaves of an e-mail's: its data has all of its ``events`` too."""

_SHOWN = ("status", "reason", "attempts", "next_attempt_at", "last_error")
_UNTOUCHED = {"status": "pending"}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        seq: Its number in the log: events of all e-mails in order, with gaps.
        email_id: The e-mail it happened to; None where it is none.
        run: The run of the e-mail it belongs to; 0 before the first.
        data: What may be told. Of an e-mail: status, reason, attempts, next_attempt_at and last_error after it, the
            recipients that it changed, and what the change said beyond that. Of a document: nothing.
        subject: ``KIND:NAME`` of what it happened to, where that is no e-mail.
        rev: The revision that it made; 0 where it made none.
    """

    seq: int
    at: datetime
    type: str
    email_id: str | None
    run: int
    data: dict[str, Any]
    subject: str | None = None
    rev: int = 0


@dataclass(frozen=True, slots=True)
class Events:
    """Some events, in order.

    Attributes:
        last: The number of the last line that was looked at: where to go on.
        reset: Whether some that came before these are gone.
    """

    events: list[Event]
    last: int
    reset: bool


def accepted(email: Email, *, key: Key | None = None, extra: dict[str, Any] | None = None) -> Draft:
    """The first line of *email*: with the key of the request, and what that had to say, if there is any."""
    data: dict[str, Any] = {"content": content_to_json(email.content), "state": state_to_json(email.state)}
    if key is not None:
        data["key"] = list(key)
    if extra is not None:
        data["extra"] = extra
    type_ = "email.scheduled" if email.state.status is Status.SCHEDULED else f"email.{email.state.status}"
    return Draft(to_z(email.created_at), email.id, email.rev, type_, _encoded(data))


def changed(email: Email, change: Change, at: str) -> Draft:
    """The line of *change*, which made the record *email* what it is."""
    data: dict[str, Any] = {"state": state_to_json(change.state)}
    if change.content is not None:
        data["content"] = content_to_json(change.content)
    if change.detail:
        data["detail"] = change.detail
    return Draft(at, email.id, email.rev, change.type, _encoded(data))


def last_change(line: Line) -> str:
    """When an e-mail changed last, from its newest line: one that merges others has the moment of the first."""
    events = line["data"].get("events")
    moment: str = events[-1]["at"] if events else line["at"]
    return moment


def read_first(line: Line, created_at: str) -> Email:
    """The record as it was accepted, from its first line."""
    data = line["data"]
    state = state_from_json(data.get("first", data["state"]))
    content = content_from_json(data.get("first_content", data["content"]))
    return Email(line["id"], 1, from_z(created_at), content, state)


def read_email(content: Line, newest: Line, created_at: str) -> Email:
    """The record that these two lines (or one, twice) make."""
    return Email(
        newest["id"],
        newest["rev"],
        from_z(created_at),
        content_from_json(content["data"]["content"]),
        state_from_json(newest["data"]["state"]),
    )


def read_history(history: Iterable[Line]) -> list[Event]:
    """The events of one e-mail from all of its lines, oldest first."""
    events = []
    before = None
    for line in history:
        if line["type"] == RECORD:
            events += [_event_from_json(line["id"], one) for one in line["data"]["events"]]
        else:
            events.append(read_event(line, before))
        before = line
    return events


def events_to_json(events: Iterable[Event]) -> list[dict[str, Any]]:
    """What the one line of an e-mail keeps of its events."""
    return [
        {"seq": one.seq, "at": to_z(one.at), "type": one.type, "run": one.run, "rev": one.rev, "data": one.data}
        for one in events
    ]


def _event_from_json(email_id: str, one: dict[str, Any]) -> Event:
    return Event(one["seq"], from_z(one["at"]), one["type"], email_id, one["run"], one["data"], rev=one["rev"])


def read_event(line: Line, before: Line | None) -> Event:
    """The event of a line of an e-mail, given the line of the same e-mail before it."""
    state = line["data"]["state"]
    data = {name: state.get(name) for name in _SHOWN}
    was = {} if before is None else {one["address"]: one for one in before["data"]["state"]["recipients"]}
    touched = [
        one for one in state["recipients"] if one != was.get(one["address"], {"address": one["address"]} | _UNTOUCHED)
    ]
    if touched:
        data["recipients"] = touched
    data |= line["data"].get("detail", {})
    return Event(line["seq"], from_z(line["at"]), line["type"], line["id"], state["run"], data, rev=line["rev"])


def read_other(line: Line) -> Event | None:
    """The event of a line that belongs to no e-mail; None where it tells nobody anything."""
    data = line["data"]
    if "doc" not in data and "note" not in data:
        return None
    told = data.get("note", {})
    return Event(line["seq"], from_z(line["at"]), line["type"], None, 0, told, subject=line["id"], rev=line["rev"])


def _encoded(data: dict[str, Any]) -> orjson.Fragment:
    """Encoded before the line is: what cannot be JSON fails its own request, not a write that many share."""
    return orjson.Fragment(orjson.dumps(data))
