"""What is kept in memory of each e-mail: some numbers in arrays, about 100 bytes with its words and its id.

Times are microseconds since the epoch here, and texts, as in the log, for who looks at a row.
"""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from typing import Any

from service.email.record import FINAL, Status
from service.email.times import to_z
from service.store.log import Line, Ref
from service.store.names import Names
from service.store.words import Words

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_STATUSES = tuple(Status)
_NUMBER = {status.value: number for number, status in enumerate(_STATUSES)}
_NEVER = -(1 << 62)
_OPEN = frozenset(number for number, status in enumerate(_STATUSES) if status not in FINAL)


class Rows:
    """The arrays. An e-mail's row is its place among all, in the order in which they were accepted.

    Attributes:
        seq: The line that accepted each.
        newest: The newest line of each.
        base: Where the oldest line of each is that was read.
        content: Where the newest line with a content is.
        due: When each wants attention next.
    """

    def __init__(self) -> None:
        self.names = Names()
        self.words = Words()
        self.seq = array("Q")
        self.newest = array("Q")
        self.base = array("Q")
        self.content = array("Q")
        self.due = array("q")
        self.created = array("q")
        self.scheduled = array("q")
        self.rev = array("L")
        self.gen = array("L")
        self.status = array("B")
        self.by: dict[int, str] = {}

    def add(self, ref: Ref, line: Line) -> int:
        """A row for the e-mail that *line*, its first one, accepts."""
        number = self.names.add(line["id"])
        self.seq.append(line["seq"])
        self.created.append(us(line["at"]))
        self.base.append(ref)
        for each in (self.newest, self.content, self.rev, self.gen, self.status):
            each.append(0)
        for each in (self.due, self.scheduled):
            each.append(_NEVER)
        return number

    def set_state(self, number: int, line: Line) -> str | None:
        """Take in the state of its newest line; when it is due, as a text, unless it is final."""
        state = line["data"]["state"]
        self.newest[number] = line["seq"]
        self.rev[number] = line["rev"]
        self.gen[number] = state["gen"]
        self.status[number] = status = _NUMBER[state["status"]]
        self.scheduled[number] = us(state["scheduled_at"])
        by = state.get("by")
        if by is not None:
            self.by[number] = by
        else:
            self.by.pop(number, None)
        if status not in _OPEN:
            self.due[number] = _NEVER
            return None
        due: str = state.get("next_attempt_at") or state.get("sending_since") or state["scheduled_at"]
        self.due[number] = us(due)
        return due

    def set_content(self, number: int, ref: Ref, line: Line) -> None:
        """Take in the content of a line, and whom it is for."""
        content = line["data"]["content"]
        self.content[number] = ref
        to = [recipient["address"].lower() for recipient in line["data"]["state"]["recipients"]]
        tags = content.get("tags", ())
        self.words.put(number, to, tags, _searched(content, to, tags))


class Row:
    """One e-mail of the rows, as it is at each look. Times are texts; their order as texts is their order in time.

    Attributes:
        number: Its place among all.
    """

    __slots__ = ("_rows", "number")

    def __init__(self, rows: Rows, number: int) -> None:
        self._rows = rows
        self.number = number

    @property
    def id(self) -> str:
        """The e-mail's id."""
        return self._rows.names.text(self.number)

    @property
    def seq(self) -> int:
        """The number of the line that accepted it."""
        return self._rows.seq[self.number]

    @property
    def rev(self) -> int:
        """Its revision."""
        return self._rows.rev[self.number]

    @property
    def gen(self) -> int:
        """The number of its job."""
        return self._rows.gen[self.number]

    @property
    def job_id(self) -> str:
        """The id of the job that carries this e-mail in the queue."""
        return f"{self.id}.{self.gen}"

    @property
    def status(self) -> Status:
        """Where it stands."""
        return _STATUSES[self._rows.status[self.number]]

    @property
    def created_at(self) -> str:
        """When it was accepted."""
        return _text(self._rows.created[self.number])

    @property
    def scheduled_at(self) -> str:
        """When it is to be sent."""
        return _text(self._rows.scheduled[self.number])

    @property
    def due(self) -> str | None:
        """When it wants attention next, unless it is final."""
        due = self._rows.due[self.number]
        return None if due == _NEVER else _text(due)

    @property
    def by(self) -> str | None:
        """The process that is sending it."""
        return self._rows.by.get(self.number)

    @property
    def content(self) -> Ref:
        """Where the newest line with a content is."""
        return self._rows.content[self.number]


def us(text: str) -> int:
    """Microseconds since the epoch of a time as the log has it."""
    return (datetime.fromisoformat(text) - _EPOCH) // _US


def _text(moment: int) -> str:
    return to_z(_EPOCH + timedelta(microseconds=moment))


def _searched(content: dict[str, Any], to: list[str], tags: Any) -> str:
    """The subject, and the names and addresses that are not among the recipients as they are; the tags case folded."""
    known = frozenset(to)
    named = [
        name
        for field in ("to", "cc", "bcc", "reply_to")
        for name in content.get(field, ())
        if name.lower() not in known
    ]
    return "\n".join((content["subject"], content["from"], *named, *tags)).casefold()
