"""Group commit: the one thread of a process that writes, and the queue of requests before it.

While a write is being made durable, requests gather; the next write takes all of them. They are taken only once the
lock is held, so one that waited too long can still be answered "not written", truthfully.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import structlog

from service.store.errors import StoreDamaged, StoreError, StoreUnavailable
from service.store.log import Draft, Log
from service.store.transaction import Transaction

_MAX_BATCH = 1000
_LOOK_S = 1.0
"""Seconds without a request after which the log is looked at all the same."""

_FATAL = ("write_failed", "journal_cut")
_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Request:
    """Something to be decided and written, and who waits for it."""

    __slots__ = ("_error", "_result", "_trace", "_work", "answered", "since")

    def __init__(self, work: Callable[[Transaction], Any], answered: asyncio.Future[None], since: float) -> None:
        self.answered = answered
        self.since = since
        self._work = work
        self._result: Any = None
        self._error: Exception | None = None
        self._trace: TracebackType | None = None

    def run(self, transaction: Transaction) -> None:
        """Let the work add to *transaction*; what it raises is for the one who asked, and for nobody else."""
        self._error = None
        try:
            self._result = self._work(transaction)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Answer with *error*, which others may get too, unless there is an error already."""
        if self._error is None:
            self._error, self._trace = error, error.__traceback__

    def result(self) -> Any:
        """What the work returned, or raise what went wrong."""
        if self._error is not None:
            raise self._error.with_traceback(self._trace)
        return self._result

    def answer(self) -> None:
        """Wake who waits, if somebody still does; on the event loop."""
        if not self.answered.done():
            self.answered.set_result(None)


class Writer:
    """Owns the writer thread. Everything but the thread itself runs on the event loop that made it.

    Attributes:
        dead: Why this process can write no more; None as long as it can.
        stuck: Why nothing has been written lately, until something is; None when all is well.
    """

    def __init__(
        self,
        log: Log,
        begin: Callable[[], Transaction],
        written: Callable[[], None],
        *,
        lock_timeout: timedelta,
        on_dead: Callable[[StoreError], None] | None,
    ) -> None:
        self.dead: StoreError | None = None
        self.stuck: StoreUnavailable | None = None
        self._log = log
        self._begin = begin
        self._written = written
        self._timeout = lock_timeout.total_seconds()
        self._on_dead = on_dead
        self._loop = asyncio.get_running_loop()
        self._pending: deque[Request] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._watch: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Transaction], T]) -> T:
        """Have *work* run under the lock; what it returns, once what it added is durable.

        Raises:
            StoreUnavailable: Nothing was written.
            Exception: What *work* raised; nothing was written for it.
        """
        if self._closing:
            raise StoreUnavailable("closed", "the store is closed")
        request = Request(work, self._loop.create_future(), self._loop.time())
        with self._changed:
            self._pending.append(request)
            self._changed.notify()
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._expire)
        await request.answered
        result: T = request.result()
        return result

    async def close(self) -> bool:
        """Finish what is pending and end the thread; False if it is still stuck in the lock."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, self._timeout)
        self._expire(every=True)
        return not self._thread.is_alive()

    def _expire(self, *, every: bool = False) -> None:
        """Answer those who have waited too long for the lock; they are not written any more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        oldest = self._loop.time() - self._timeout
        expired = []
        with self._changed:
            while self._pending and (every or self._pending[0].since <= oldest):
                expired.append(self._pending.popleft())
            following = self._pending[0].since + self._timeout if self._pending else None
        if following is not None:
            self._watch = self._loop.call_at(following, self._expire)
        if expired:
            message = f"nothing could be written for {self._timeout:g} s: the store is locked by {self._log.holder()}"
            self.stuck = StoreUnavailable("store_locked", message)
            for request in expired:
                request.fail(self.stuck)
                request.answer()

    def _take(self) -> list[Request]:
        with self._changed:
            return [self._pending.popleft() for _ in range(min(len(self._pending), _MAX_BATCH))]

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing, _LOOK_S)
                pending, closing = bool(self._pending), self._closing
            if pending:
                self._write()
            elif closing:
                return
            else:
                self._look()

    def _look(self) -> None:
        """Take in what others wrote, so that the event loop finds little that is new, and no compaction is missed."""
        batch: list[Request] = []
        try:
            self._written()
        except StoreError as error:
            self._fail(batch, error)
        except Exception as error:  # the thread must outlive it: see `_write`
            _log.exception("the log cannot be read")
            self._fail(batch, error)
        if batch:
            self._give(batch)

    def _write(self) -> None:
        batch: list[Request] = []

        def decide() -> list[Draft]:
            batch.extend(self._take())
            transaction = self._begin()
            for request in batch:
                request.run(transaction)
            return transaction.drafts

        try:
            self._log.transact(decide)
            self._written()
        except StoreError as error:
            self._fail(batch, error)
        except Exception as error:  # the thread must outlive it: nobody else answers the requests to come
            _log.exception("the writer failed")
            self._fail(batch, error)
        self._give(batch)

    def _give(self, batch: list[Request]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._answer, batch)

    def _fail(self, batch: list[Request], error: Exception) -> None:
        if not batch:  # it failed before anything was taken: those who wait would meet the same
            batch.extend(self._take())
        for request in batch:
            request.fail(error)
        if self.dead is None and (
            isinstance(error, StoreDamaged) or (isinstance(error, StoreUnavailable) and error.reason in _FATAL)
        ):
            self.dead = error
            if self._on_dead is not None:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._on_dead, error)

    def _answer(self, batch: list[Request]) -> None:
        self.stuck = None
        for request in batch:
            request.answer()
