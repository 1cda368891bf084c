"""The store: every e-mail as a state machine over a log, written once, whatever keeps the log.

Threads. These touch the index: the writer thread, which catches up under the log's lock and applies what it wrote, the
event loop, which catches up before it reads, and threads that do what would keep the event loop (`page`, `events`). All
do it under one mutex, held only for lines that are new and for short looks at the index itself; what the log holds is
fetched outside of it. While the writer decides, nothing new can appear, for it holds the log's lock.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from service.email.record import Change, Email, Status
from service.email.times import from_z, to_z
from service.store import listing, records
from service.store.errors import EmailNotFound, StoreError
from service.store.filelog import FileLog
from service.store.index import Index, Row
from service.store.listing import Filter, Page
from service.store.log import Log, Ref
from service.store.records import Event
from service.store.transaction import Transaction
from service.store.writer import Writer

MIN_FREE = 64 * 1024 * 1024
"""Bytes of disk that accepting e-mails leaves free, for the outcomes of those that were accepted."""

LOCK_TIMEOUT = timedelta(seconds=5)


class Unfinished(NamedTuple):
    """An e-mail that is not final: when it wants attention, and the process that is sending it, if one is.

    While it is being sent, `due` is when that began.
    """

    id: str
    job_id: str
    status: Status
    due: datetime
    by: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an accept would be durable now.

    Attributes:
        free: Bytes of disk that are left.
        reason: Why not, as in `StoreUnavailable.reason` or ``damaged``; None if it would.
        detail: The same in a sentence.
    """

    free: int
    reason: str | None = None
    detail: str | None = None

    @property
    def durable(self) -> bool:
        """Would an accept be durable?"""
        return self.reason is None


class Store:
    """All e-mails. Made by `open`; used from the event loop that made it, but for what says that any thread may."""

    def __init__(
        self,
        log: Log,
        index: Index,
        *,
        now: Callable[[], datetime],
        min_free: int = MIN_FREE,
        lock_timeout: timedelta = LOCK_TIMEOUT,
        on_dead: Callable[[StoreError], None] | None = None,
    ) -> None:
        self._log = log
        self._index = index
        self._now = now
        self._min_free = min_free
        self._mutex = threading.RLock()
        self._writer = Writer(log, self._begin, self._catch_up, lock_timeout=lock_timeout, on_dead=on_dead)

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        now: Callable[[], datetime],
        min_free: int = MIN_FREE,
        lock_timeout: timedelta = LOCK_TIMEOUT,
        on_dead: Callable[[StoreError], None] | None = None,
    ) -> Store:
        """Open the store in *directory*, making it if there is none.

        Args:
            directory: The data directory, on a local disk.
            now: The clock that says when a change happened; called in the writer thread.
            min_free: Bytes of disk that accepts leave free.
            lock_timeout: How long a write waits for another process before it is given up.
            on_dead: Called once, on the event loop, when this process can write no more and should be replaced.

        Raises:
            StoreDamaged: A file does not hold what was written; names file and line.
            StoreUnavailable: The directory cannot be written, is locked, or lies on a network file system.
        """
        log, index = await asyncio.to_thread(_load, directory, now, lock_timeout)
        return cls(log, index, now=now, min_free=min_free, lock_timeout=lock_timeout, on_dead=on_dead)

    async def close(self) -> None:
        """Finish the writes that are pending and close the log."""
        if await self._writer.close():
            self._log.close()

    @property
    def id(self) -> str:
        """The id of this store, the same in every process."""
        return self._log.id

    @property
    def by(self) -> str:
        """The id of this process, for as long as the store is open."""
        return self._log.by

    def alive(self, by: str) -> bool:
        """Does the process live that has the store open as *by*?"""
        return self._log.alive(by)

    def lead(self, role: str) -> bool:
        """Has this process the *role*? One at a time has it, as long as its store is open; a free one is taken."""
        return self._log.lead(role)

    async def accept(self, emails: Sequence[Email]) -> list[Email]:
        """Add new e-mails (``email.scheduled``), all of them or none; durable on return.

        Raises:
            EmailExists: One of the ids is taken.
            StoreUnavailable: Nothing was written.
        """
        drafts = [records.accepted(email) for email in emails]
        return await self._writer.submit(lambda transaction: transaction.accept(emails, drafts))

    async def change(self, email_id: str, decide: Callable[[Email], Change | None]) -> Email:
        """Change one e-mail under the lock; durable on return.

        Args:
            email_id: Which one.
            decide: Answers the change for the record as it is, or None when there is nothing to do, or raises. It is
                called in the writer thread, perhaps more than once, and must be pure and quick.

        Returns:
            The record after the change.

        Raises:
            EmailNotFound: There is no such e-mail.
            StoreUnavailable: Nothing was written.
            Exception: What *decide* raised; nothing was written.
        """
        return await self._writer.submit(lambda transaction: transaction.change(email_id, decide))

    def get(self, email_id: str) -> Email | None:
        """The e-mail as it is now, or None."""
        self._catch_up()
        return self._read(email_id)

    def page(self, where: Filter, limit: int, *, after: int | None = None, before: int | None = None) -> Page:
        """Some of the e-mails, newest accepted first. Takes a while where there are many: for any thread.

        Args:
            where: What they have to be like.
            limit: At least 1.
            after: A cursor: only what comes after it in the list, that is, older ones.
            before: A cursor: the page that ends before it, that is, newer ones. Not both.
        """
        with self._mutex:
            self._catch_up()
            candidates = self._index.newest_first(after) if before is None else self._index.oldest_first(before)
        # Without the mutex, for which the event loop would wait: what is accepted now comes after all candidates.
        rows, has_more = listing.choose(candidates, where, limit)
        if before is not None:
            rows.reverse()
        first, last = (rows[0].seq, rows[-1].seq) if rows else (None, None)
        with self._mutex:
            places = [_where(row) for row in rows]
        return Page([self._fetch(where) for where in places], first, last, has_more)

    def events(self, email_id: str) -> list[Event]:
        """What happened to an e-mail, oldest first. Takes a while where much did: for any thread.

        Raises:
            EmailNotFound: There is no such e-mail.
        """
        with self._mutex:
            self._catch_up()
            row = self._index.row(email_id)
            if row is None:
                raise EmailNotFound(email_id)
            refs = list(row.lines)
        return records.read_events(self._log.fetch(ref) for ref in refs)

    def due_before(self, moment: datetime, limit: int) -> list[Unfinished]:
        """Up to *limit* e-mails that are not final and want attention before *moment*, the earliest second first."""
        with self._mutex:
            self._catch_up()
            found = islice(self._index.agenda.before(to_z(moment)), limit)
            return [self._unfinished(email_id) for email_id in found]

    def unfinished(self) -> Iterator[Unfinished]:
        """Every e-mail that is not final when it is looked at, without holding others up."""
        with self._mutex:
            self._catch_up()
            ids = self._index.agenda.ids()
        for email_id in ids:
            with self._mutex:
                row = self._index.row(email_id)
                found = None if row is None or row.due is None else self._unfinished(email_id)
            if found is not None:
                yield found

    def health(self) -> Health:
        """Whether an accept would be durable now, and why not."""
        free = self._log.free()
        trouble = self._writer.dead or self._writer.stuck
        if trouble is not None:
            return Health(free, getattr(trouble, "reason", "damaged"), str(trouble))
        if free < self._min_free:
            return Health(free, "no_space", f"{free:,} bytes of disk are left, fewer than {self._min_free:,}")
        return Health(free)

    def _begin(self) -> Transaction:
        """A transaction on everything that is written; in the writer thread, under the log's lock."""
        self._catch_up()
        return Transaction(self._read, self._now, self._log.free, self._min_free)

    def _catch_up(self) -> None:
        with self._mutex:
            for ref, line in self._log.read(self._index.seq):
                self._index.apply(ref, line)

    def _read(self, email_id: str) -> Email | None:
        with self._mutex:
            row = self._index.row(email_id)
            where = None if row is None else _where(row)
        return None if where is None else self._fetch(where)

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


def _where(row: Row) -> _Where:
    return _Where(row.content, row.lines[-1], row.created_at)


def _load(directory: Path, now: Callable[[], datetime], lock_timeout: timedelta) -> tuple[FileLog, Index]:
    log = FileLog.open(directory, now=now, lock_timeout=lock_timeout)
    index = Index()
    # Nothing of what is loaded is garbage, and collections that walk through it cost a third of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for ref, line in log.load():
            index.apply(ref, line)
    except BaseException:
        log.close()
        raise
    finally:
        if collecting:
            gc.enable()
    gc.freeze()
    return log, index
