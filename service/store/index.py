"""What is kept in memory: of every e-mail enough to find, filter and order them; of other lines where they are."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter

from service.email.record import FINAL, Status
from service.email.times import from_z
from service.store import documents
from service.store.agenda import Agenda
from service.store.idempotency import FOR_EVER, Remembered
from service.store.log import COMPACTED, SNAPSHOT, Line, Ref

FEWEST_LINES = 100_000
"""Lines below which a log is left as it is."""

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
    """What the lines say that were applied so far. Not safe for threads: see `Store`.

    Attributes:
        seq: The last line.
        first: The first line of those that are there one by one; what came before it is there merged.
        lines: How many lines there are to read for who opens the log now.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.first = 1
        self.lines = 0
        self.agenda = Agenda()
        self._rows: dict[str, Row] = {}
        self._accepted: list[Row] = []
        self._refs = array("Q")
        self._documents: dict[str, dict[str, Ref]] = {}
        self._keys: dict[str, Remembered] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, email_id: str) -> Row | None:
        """The e-mail *email_id*, or None."""
        return self._rows.get(email_id)

    def document(self, kind: str, name: str) -> Ref | None:
        """Where the newest line of a document is; None if there is none."""
        return self._documents.get(kind, {}).get(name)

    def documents(self, kind: str) -> dict[str, Ref]:
        """All documents of a kind: name -> the newest line of each."""
        return self._documents.get(kind, {})

    def kinds(self) -> list[str]:
        """The kinds of which there are documents."""
        return list(self._documents)

    @property
    def records(self) -> int:
        """How many e-mails and documents there are."""
        return len(self._rows) + sum(map(len, self._documents.values()))

    @property
    def is_bloated(self) -> bool:
        """Are there many more lines than records?"""
        return self.lines > max(2 * self.records, FEWEST_LINES)

    def remembered(self, key: str, now: datetime) -> Remembered | None:
        """What came of the request with this key, unless it may be forgotten by now."""
        found = self._keys.get(key)
        if found is None or key.startswith(FOR_EVER) or not found.may_go(now):
            return found
        rows = (self._rows.get(email_id) for email_id in found.email_ids)
        return found if any(row is not None and row.due is not None for row in rows) else None

    def ref(self, seq: int) -> Ref:
        """Where line *seq* is, from `first` to `seq`."""
        return self._refs[seq - self.first]

    def apply(self, ref: Ref, line: Line) -> None:
        """Take in the next line of the log."""
        seq = line["seq"]
        if seq != self.seq + 1:
            self.first = seq
            del self._refs[:]
        self._refs.append(ref)
        self.seq = seq
        self.lines += 1
        if line["type"] == SNAPSHOT:
            self.first = seq + 1
            del self._refs[:]
        elif line["type"] == COMPACTED:
            self.lines = line["data"]["lines"] + seq - line["data"]["seq"]
        data = line["data"]
        if "state" in data:
            self._apply_email(ref, line)
        elif "doc" in data:
            kind, name = documents.split(line["id"])
            named = self._documents.setdefault(kind, {})
            if data["doc"] is None:
                named.pop(name, None)
            else:
                named[name] = ref

    def _apply_email(self, ref: Ref, line: Line) -> None:
        data = line["data"]
        state = data["state"]
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
        if "key" in data:
            self._remember(data["key"][0], data["key"][1], line)

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

    def _remember(self, name: str, digest: str, line: Line) -> None:
        at = from_z(line["at"])
        before = self._keys.get(name)
        ids = before.email_ids if before is not None and (before.digest, before.at) == (digest, at) else ()
        self._keys[name] = Remembered(digest, at, (*ids, line["id"]))
