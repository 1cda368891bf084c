"""What is kept in memory of every e-mail: enough to find, filter and order them; the rest is read from the log."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import attrgetter

from service.email.record import FINAL, Status
from service.store.agenda import Agenda
from service.store.log import Line, Ref

_STATUS = {status.value: status for status in Status}
_seq = attrgetter("seq")


class Row:
    """One e-mail in memory. Times are texts as in the log; their order as texts is their order in time.

    Attributes:
        seq: The number of the line that accepted it: its place among all.
        due: When it wants attention next, unless it is final.
        by: The process that is sending it.
        content: Where the newest line with a content is.
        lines: Where all of its lines are, oldest first.
        to: Its recipients' addresses, lower case.
        text: Subject, addresses and tags, case folded, for searching.
    """

    __slots__ = (
        "by", "content", "created_at", "due", "gen", "id", "lines", "rev", "scheduled_at", "seq", "status", "tags",
        "text", "to",
    )  # fmt: skip

    by: str | None
    content: Ref
    created_at: str
    due: str | None
    gen: int
    id: str
    lines: list[Ref]
    rev: int
    scheduled_at: str
    seq: int
    status: Status
    tags: tuple[str, ...]
    text: str
    to: tuple[str, ...]

    @property
    def job_id(self) -> str:
        """The id of the job that carries this e-mail in the queue."""
        return f"{self.id}.{self.gen}"


class Index:
    """The e-mails of the lines that were applied so far. Not safe for threads: see `Store`."""

    def __init__(self) -> None:
        self.seq = 0
        self.agenda = Agenda()
        self._rows: dict[str, Row] = {}
        self._accepted: list[Row] = []

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, email_id: str) -> Row | None:
        """The e-mail *email_id*, or None."""
        return self._rows.get(email_id)

    def apply(self, ref: Ref, line: Line) -> None:
        """Take in the next line of the log. Lines that do not tell an e-mail's state only count."""
        self.seq = line["seq"]
        data = line["data"]
        state = data.get("state")
        if state is None:
            return
        row = self._rows.get(line["id"])
        if row is None:
            row = self._add(line)
        elif row.due is not None:
            self.agenda.remove(row.id, row.due)
        row.lines.append(ref)
        row.rev = line["rev"]
        row.status = status = _STATUS[state["status"]]
        row.gen = state["gen"]
        row.scheduled_at = state["scheduled_at"]
        row.by = state.get("by")
        row.due = None
        if status not in FINAL:
            row.due = due = state.get("next_attempt_at") or state.get("sending_since") or row.scheduled_at
            self.agenda.add(row.id, due)
        content = data.get("content")
        if content is not None:
            row.content = ref
            row.to = tuple([recipient["address"].lower() for recipient in state["recipients"]])
            row.tags = tags = tuple(content.get("tags", ()))
            names = (content["from"], *content["to"], *content.get("cc", ()), *content.get("bcc", ()))
            row.text = "\n".join((content["subject"], *names, *content.get("reply_to", ()), *tags)).casefold()

    def newest_first(self, below: int | None = None) -> Iterator[Row]:
        """The e-mails accepted before line *below*, newest first; all of them without it."""
        end = len(self._accepted) if below is None else bisect_left(self._accepted, below, key=_seq)
        return (self._accepted[n] for n in range(end - 1, -1, -1))

    def oldest_first(self, above: int) -> Iterator[Row]:
        """The e-mails accepted after line *above*, oldest first."""
        start = bisect_right(self._accepted, above, key=_seq)
        return (self._accepted[n] for n in range(start, len(self._accepted)))

    def _add(self, line: Line) -> Row:
        row = Row()
        row.id = line["id"]
        row.seq = line["seq"]
        row.created_at = line["at"]
        row.lines = []
        self._rows[row.id] = row
        self._accepted.append(row)
        return row
