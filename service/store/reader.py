"""What the store can be asked without writing.

Threads. These touch the index: the writer thread, which catches up under the log's lock and applies what it wrote, the
event loop, which catches up before it reads, and threads that do what would keep the event loop (`page`, `events`). All
do it under one mutex, held only for lines that are new and for short looks at the index itself; what the log holds is
fetched outside of it. While the writer decides, nothing new can appear, for it holds the log's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from service.email.record import Email, Status
from service.email.times import from_z, to_z
from service.store import documents, listing, records
from service.store.documents import Document
from service.store.errors import EmailNotFound
from service.store.idempotency import Remembered
from service.store.index import Index
from service.store.listing import Filter, Page, Upcoming
from service.store.log import Line, Log, Ref
from service.store.records import Event, Events
from service.store.rows import Row

_AHEAD = 1_000
"""E-mails looked at under the mutex at a time."""


class Unfinished(NamedTuple):
    """An e-mail that is not final: when it wants attention, and the process that is sending it, if one is.

    While it is being sent, `due` is when that began.
    """

    id: str
    job_id: str
    status: Status
    due: datetime
    by: str | None


class Reader:
    """Reads a log through an index; see the module."""

    def __init__(self, log: Log, index: Index) -> None:
        self._log = log
        self._index = index
        self._mutex = threading.RLock()

    @property
    def seq(self) -> int:
        """The number of the last line that was looked at."""
        return self._index.seq

    @property
    def lines(self) -> int:
        """How many lines there are to read for who opens the log now."""
        self.catch_up()
        return self._index.lines

    def wants_compaction(self) -> bool:
        """Are there many more lines than records?"""
        self.catch_up()
        return self._index.is_bloated

    def get(self, email_id: str) -> Email | None:
        """The e-mail as it is now, or None."""
        self.catch_up()
        return self.email(email_id)

    def document(self, kind: str, name: str) -> Document | None:
        """A document as it is now, or None; for any thread."""
        self.catch_up()
        return self.written_document(kind, name)

    def documents(self, kind: str, *, after: str | None = None, limit: int | None = None) -> list[Document]:
        """The documents of a kind in the order of their names. Takes a while where there are many: for any thread.

        Args:
            kind: Which ones.
            after: Only those whose names come after it.
            limit: Most of them; None for all.
        """
        with self._mutex:
            self.catch_up()
            named = list(self._index.documents(kind).items())
        chosen = sorted(one for one in named if after is None or one[0] > after)[:limit]
        return [documents.read(self._log.fetch(ref)) for _, ref in chosen]

    def has(self, kind: str, name: str) -> bool:
        """Is there such a document? Answered from memory."""
        with self._mutex:
            self.catch_up()
            return self._index.document(kind, name) is not None

    def count(self, kind: str) -> int:
        """How many documents of a kind there are."""
        with self._mutex:
            self.catch_up()
            return len(self._index.documents(kind))

    def key(self, name: str, now: datetime) -> Remembered | None:
        """What came of the request with this idempotency key, if it is remembered."""
        with self._mutex:
            self.catch_up()
            return self._index.remembered(name, now)

    def page(self, where: Filter, limit: int, *, after: int | None = None, before: int | None = None) -> Page:
        """Some of the e-mails, newest accepted first. Takes a while where there are many: for any thread.

        Args:
            where: What they have to be like.
            limit: At least 1.
            after: A cursor: only what comes after it in the list, that is, older ones.
            before: A cursor: the page that ends before it, that is, newer ones. Not both.
        """
        with self._mutex:
            self.catch_up()
            # Their end is settled here: of a row that is being added only some numbers are there.
            candidates = listing.candidates(self._index, where, after=after, before=before)
        # Without the mutex, for which the event loop would wait: what is accepted now comes after all candidates.
        rows, has_more = listing.choose(candidates, where, limit, self._index.words)
        if before is not None:
            rows.reverse()
        first, last = (rows[0].seq, rows[-1].seq) if rows else (None, None)
        with self._mutex:
            places = [self._where(row) for row in rows]
        return Page([self._fetch(where) for where in places], first, last, has_more)

    def upcoming(self, where: Filter, limit: int, *, after: tuple[str, str] | None = None) -> Upcoming:
        """Some of the e-mails that are not final, those due first. Takes a while where there are many: for any thread.

        Args:
            where: What they have to be like.
            limit: At least 1.
            after: A cursor: only what comes after it.
        """
        cursor = after or ("", "")
        found: list[tuple[tuple[str, str], _Where]] = []
        while len(found) <= limit:
            with self._mutex:
                self.catch_up()
                entries = self._index.agenda.following(*cursor, _AHEAD)
                rows = [row for _, email_id in entries if (row := self._index.row(email_id)) is not None]
            if not entries:
                break
            chosen, _ = listing.choose(iter(rows), where, limit + 1 - len(found), self._index.words)
            times = {email_id: (due, email_id) for due, email_id in entries}
            with self._mutex:
                found += [(times[row.id], self._where(row)) for row in chosen]
            cursor = entries[-1]
        page = found[:limit]
        last = page[-1][0] if page else None
        return Upcoming([self._fetch(place) for _, place in page], last, len(found) > limit)

    def events(self, email_id: str) -> list[Event]:
        """What happened to an e-mail, oldest first. Takes a while where much did: for any thread.

        Raises:
            EmailNotFound: There is no such e-mail.
        """
        with self._mutex:
            self.catch_up()
            row = self._index.row(email_id)
            if row is None:
                raise EmailNotFound(email_id)
            refs = self._index.lines_of(row)
        return records.read_history(self._log.fetch(ref) for ref in refs)

    def read_events(self, after: int, limit: int) -> Events:
        """Up to *limit* events that came after line *after*, of whatever kind; for any thread."""
        with self._mutex:
            self.catch_up()
            first, last = self._index.first, self._index.seq
            begin = max(after + 1, first)
            end = min(last, begin + limit - 1)
            places = [(self._index.ref(seq)) for seq in range(begin, end + 1)]
        found = [self._event(self._log.fetch(place)) for place in places]
        reset = after + 1 < first or after > last
        return Events([event for event in found if event is not None], max(end, begin - 1), reset)

    def due_before(self, moment: datetime, limit: int) -> list[Unfinished]:
        """Up to *limit* e-mails that are not final and want attention before *moment*, the earliest second first."""
        with self._mutex:
            self.catch_up()
            found = islice(self._index.agenda.before(to_z(moment)), limit)
            return [self._unfinished(email_id) for email_id in found]

    def unfinished(self) -> Iterator[Unfinished]:
        """Every e-mail that is not final when it is looked at, without holding others up."""
        with self._mutex:
            self.catch_up()
            ids = self._index.agenda.ids()
        for email_id in ids:
            with self._mutex:
                row = self._index.row(email_id)
                found = None if row is None or row.due is None else self._unfinished(email_id)
            if found is not None:
                yield found

    def catch_up(self) -> None:
        """Take in what others wrote."""
        with self._mutex:
            for ref, line in self._log.read(self._index.seq):
                self._index.apply(ref, line)

    def email(self, email_id: str) -> Email | None:
        """The e-mail as it was when the log was last looked at."""
        with self._mutex:
            row = self._index.row(email_id)
            where = None if row is None else self._where(row)
        return None if where is None else self._fetch(where)

    def has_left(self, email_id: str) -> bool:
        """Is this an e-mail that leaves the log, though it is known here? It must not change any more."""
        with self._mutex:
            row = self._index.row(email_id)
            newest = self._index.newest_of(row) if row is not None and self._index.may_have_left(row) else None
        if row is None or newest is None:
            return False
        last_change = records.last_change(self._log.fetch(newest))
        with self._mutex:
            return self._index.has_left(row, last_change)

    def written_document(self, kind: str, name: str) -> Document | None:
        """The document as it was when the log was last looked at."""
        with self._mutex:
            ref = self._index.document(kind, name)
        return None if ref is None else documents.read(self._log.fetch(ref))

    def first(self, email_id: str) -> tuple[Email, dict[str, Any] | None]:
        """An e-mail as it was accepted, and what was said beside it then."""
        with self._mutex:
            row = self._index.row(email_id)
            assert row is not None
            place, created_at = self._index.lines_of(row)[0], row.created_at
        line = self._log.fetch(place)
        return records.read_first(line, created_at), line["data"].get("extra")

    def remembered(self, key: str, now: datetime) -> Remembered | None:
        """`key`, without looking at the log first."""
        with self._mutex:
            return self._index.remembered(key, now)

    def _event(self, line: Line) -> Event | None:
        if line["type"] == records.RECORD:  # an import brought it: it happened elsewhere, and its events are in it
            return None
        if "state" not in line["data"]:
            return records.read_other(line)
        with self._mutex:
            row = self._index.row(line["id"])
            assert row is not None
            before = self._index.line_before(row, line["seq"])
        return records.read_event(line, None if before is None else self._log.fetch(before))

    def _where(self, row: Row) -> _Where:
        return _Where(row.content, self._index.newest_of(row), row.created_at)

    def _fetch(self, where: _Where) -> Email:
        newest = self._log.fetch(where.newest)
        content = newest if where.content == where.newest else self._log.fetch(where.content)
        return records.read_email(content, newest, where.created_at)

    def _unfinished(self, email_id: str) -> Unfinished:
        row = self._index.row(email_id)
        assert row is not None
        assert row.due is not None
        return Unfinished(row.id, row.job_id, row.status, from_z(row.due), row.by)


class _Where(NamedTuple):
    """Where the log has a record."""

    content: Ref
    newest: Ref
    created_at: str
