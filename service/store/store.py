"""The store: every e-mail as a state machine over a log, written once, whatever keeps the log."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from service.email.record import Change, Email
from service.store import records
from service.store.errors import StoreError
from service.store.filelog import FileLog
from service.store.idempotency import Accepted, Key
from service.store.index import Index
from service.store.log import Log
from service.store.reader import Reader, Unfinished
from service.store.transaction import Transaction
from service.store.writer import Writer

__all__ = ["MIN_FREE", "Health", "Store", "Unfinished"]

T = TypeVar("T")

MIN_FREE = 64 * 1024 * 1024
"""Bytes of disk that accepting e-mails leaves free, for the outcomes of those that were accepted."""

LOCK_TIMEOUT = timedelta(seconds=5)


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


class Store(Reader):
    """All e-mails and documents.

    Made by `open`; used from the event loop that made it, but for what says that any thread may.
    """

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
        super().__init__(log, index)
        self._now = now
        self._min_free = min_free
        self._writer = Writer(log, self._begin, self.catch_up, lock_timeout=lock_timeout, on_dead=on_dead)

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

    def tell(self, told: dict[str, Any]) -> None:
        """Let other processes know this of this one, in place of what it told before; it is not kept."""
        self._log.tell(told)

    def told(self) -> list[dict[str, Any]]:
        """What the living processes have told, each its last word."""
        return self._log.told()

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

    async def accept_once(self, emails: Sequence[Email], key: Key, extra: dict[str, Any] | None = None) -> Accepted:
        """`accept`, unless a request with *key* did so before: then what that made, as it was accepted.

        Args:
            emails: At least one.
            key: What the client calls this request.
            extra: What there is to say beside the e-mails; a replay says it too.

        Raises:
            KeyReused: An earlier request with this key was another one.
            EmailExists: One of the ids is taken.
            StoreUnavailable: Nothing was written.
        """
        drafts = [records.accepted(email, key=key, extra=None if n else extra) for n, email in enumerate(emails)]
        return await self._writer.submit(lambda transaction: transaction.accept_once(emails, drafts, key, extra))

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Do several things as one write; durable on return, and nothing of it if it raises.

        Args:
            work: Adds to the transaction it is given. It is called in the writer thread, perhaps more than once, and
                must be pure and quick.

        Raises:
            StoreUnavailable: Nothing was written.
            Exception: What *work* raised; nothing was written.
        """

        def whole(transaction: Transaction) -> T:
            with transaction.undone_by_error():
                return work(transaction)

        return await self._writer.submit(whole)

    async def changed(self, after: int, timeout: float) -> bool:
        """Wait until there are lines after *after*; False if there are none *timeout* seconds later."""
        return await asyncio.to_thread(self._log.wait, after, timeout)

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

    def put_blob(self, data: bytes) -> str:
        """Keep *data* under its SHA-256 (hex); durable on return. For any thread.

        Raises:
            StoreUnavailable: It was not kept.
        """
        return self._log.blobs.put(data)

    def touch_blob(self, sha256: str) -> None:
        """Keep what is under *sha256* for a while, though nothing names it yet. For any thread.

        Raises:
            KeyError: There is nothing.
            StoreUnavailable: It cannot be done.
        """
        self._log.blobs.touch(sha256)

    def blob(self, sha256: str) -> bytes:
        """What was kept under *sha256*; for any thread.

        Raises:
            KeyError: Nothing was.
            StoreDamaged: It is not what was kept.
        """
        return self._log.blobs.read(sha256)

    def blob_size(self, sha256: str) -> int | None:
        """How many bytes are kept under *sha256*; None if none are. For any thread."""
        return self._log.blobs.size(sha256)

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
        self.catch_up()
        return Transaction(_Written(self), self._now(), self._log.free, self._min_free)


class _Written:
    """What a transaction sees of the store: nothing newer can appear while it lasts."""

    def __init__(self, reader: Reader) -> None:
        self.email = reader.email
        self.has_left = reader.has_left
        self.document = reader.written_document
        self.remembered = reader.remembered
        self.first = reader.first


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
