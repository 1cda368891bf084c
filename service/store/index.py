"""What is kept in memory: of every e-mail enough to find, filter and order them; of other lines where they are."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime

from service.email.times import from_z
from service.store import documents
from service.store.agenda import Agenda
from service.store.idempotency import FOR_EVER, Remembered
from service.store.log import COMPACTED, LEAVING, SNAPSHOT, Line, Ref
from service.store.rows import Row, Rows
from service.store.words import Words

FEWEST_LINES = 100_000
"""Lines below which a log is left as it is."""

_MANY_KEYS = 10_000
"""Idempotency keys among which those are looked for that may be forgotten."""


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
        self._rows = Rows()
        self._refs = array("Q")
        self._before = array("Q")
        self._documents: dict[str, dict[str, Ref]] = {}
        self._keys: dict[str, Remembered] = {}
        self._many_keys = _MANY_KEYS
        self._leaving: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._rows.names)

    def row(self, email_id: str) -> Row | None:
        """The e-mail *email_id*, or None."""
        number = self._rows.names.number(email_id)
        return None if number is None else Row(self._rows, number)

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
        return len(self) + sum(map(len, self._documents.values()))

    @property
    def is_bloated(self) -> bool:
        """Are there many more lines than records?"""
        return self.lines > max(2 * self.records, FEWEST_LINES)

    def remembered(self, key: str, now: datetime) -> Remembered | None:
        """What came of the request with this key, unless it may be forgotten by now."""
        found = self._keys.get(key)
        if found is None or key.startswith(FOR_EVER) or not found.may_go(now):
            return found
        return found if self._is_under_way(found) else None

    def ref(self, seq: int) -> Ref:
        """Where line *seq* is, from `first` to `seq`."""
        return self._refs[seq - self.first]

    def lines_of(self, row: Row) -> list[Ref]:
        """Where all lines of an e-mail are, oldest first."""
        found = []
        seq = self._rows.newest[row.number]
        while seq >= self.first:
            found.append(self.ref(seq))
            seq = self._before[seq - self.first]
        if seq:
            found.append(self._rows.base[row.number])
        found.reverse()
        return found

    def newest_of(self, row: Row) -> Ref:
        """Where the newest line of an e-mail is."""
        seq = self._rows.newest[row.number]
        return self.ref(seq) if seq >= self.first else self._rows.base[row.number]

    def line_before(self, row: Row, seq: int) -> Ref | None:
        """Where the line of an e-mail is that came before its line *seq*, which is one of those that are there."""
        before = self._before[seq - self.first]
        if not before:
            return None
        return self.ref(before) if before >= self.first else self._rows.base[row.number]

    def may_have_left(self, row: Row) -> bool:
        """Could `has_left` be true of this e-mail?"""
        newest = self._rows.newest[row.number]
        return row.due is None and any(newest <= seq for seq, _ in self._leaving)

    def has_left(self, row: Row, last_change: str) -> bool:
        """Did a compaction take this e-mail out of the log, or is it about to? *last_change* is its own."""
        newest = self._rows.newest[row.number]
        return row.due is None and any(newest <= seq and last_change < moment for seq, moment in self._leaving)

    def apply(self, ref: Ref, line: Line) -> None:
        """Take in the next line of the log."""
        seq = line["seq"]
        if seq != self.seq + 1:
            self._start_at(seq)
        self._refs.append(ref)
        self._before.append(0)
        self.seq = seq
        self.lines += 1
        if line["type"] == SNAPSHOT:
            self._start_at(seq + 1)
        elif line["type"] == COMPACTED:
            self.lines = line["data"]["lines"] + seq - line["data"]["seq"]
        data = line["data"]
        if LEAVING in data:
            moment = data[LEAVING]
            self._leaving = [one for one in self._leaving if one[1] > moment] + [(seq, moment)]
        if "state" in data:
            self._apply_email(ref, line)
        elif "doc" in data:
            kind, name = documents.split(line["id"])
            named = self._documents.setdefault(kind, {})
            if data["doc"] is None:
                named.pop(name, None)
            else:
                named[name] = ref

    def newest_first(self, below: int | None = None) -> Iterator[Row]:
        """The e-mails accepted before line *below*, newest first; all of them without it."""
        return (Row(self._rows, n) for n in range(self._end(below) - 1, -1, -1))

    def oldest_first(self, above: int) -> Iterator[Row]:
        """The e-mails accepted after line *above*, oldest first."""
        seqs = self._rows.seq
        return (Row(self._rows, n) for n in range(bisect_right(seqs, above), len(seqs)))

    def found_newest_first(self, needle: bytes, below: int | None = None) -> Iterator[Row]:
        """Those of `newest_first` that have *needle* among their words."""
        return (Row(self._rows, n) for n in self.words.newest_first(needle, self._end(below)))

    def found_oldest_first(self, needle: bytes, above: int) -> Iterator[Row]:
        """Those of `oldest_first` that have *needle* among their words."""
        start = bisect_right(self._rows.seq, above)
        return (Row(self._rows, n) for n in self.words.oldest_first(needle, start - 1))

    @property
    def words(self) -> Words:
        """What e-mails are found by."""
        return self._rows.words

    def _end(self, below: int | None) -> int:
        return len(self._rows.seq) if below is None else bisect_left(self._rows.seq, below)

    def _start_at(self, seq: int) -> None:
        """What came before line *seq* is there merged, or not at all."""
        self.first = seq
        del self._refs[:]
        del self._before[:]

    def _apply_email(self, ref: Ref, line: Line) -> None:
        rows, seq = self._rows, line["seq"]
        number = rows.names.number(line["id"])
        if number is None:
            number = rows.add(ref, line)
        else:
            self._before[seq - self.first] = rows.newest[number]
            row = Row(rows, number)
            if (due := row.due) is not None:
                self.agenda.remove(line["id"], due)
        due = rows.set_state(number, line)
        if due is not None:
            self.agenda.add(line["id"], due)
        if "content" in line["data"]:
            rows.set_content(number, ref, line)
        if "key" in line["data"]:
            self._remember(line["data"]["key"][0], line["data"]["key"][1], line)

    def _remember(self, name: str, digest: str, line: Line) -> None:
        at = from_z(line["at"])
        before = self._keys.get(name)
        ids = before.email_ids if before is not None and (before.digest, before.at) == (digest, at) else ()
        self._keys[name] = Remembered(digest, at, (*ids, line["id"]))
        if len(self._keys) > self._many_keys:
            self._keys = {
                name: kept
                for name, kept in self._keys.items()
                if name.startswith(FOR_EVER) or not kept.may_go(at) or self._is_under_way(kept)
            }
            self._many_keys = max(_MANY_KEYS, 2 * len(self._keys))

    def _is_under_way(self, remembered: Remembered) -> bool:
        """Is one of its e-mails not final?"""
        rows = map(self.row, remembered.email_ids)
        return any(row is not None and row.due is not None for row in rows)
