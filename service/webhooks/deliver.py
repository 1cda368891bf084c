"""The job of an endpoint: tells it what it has not been told, one message after the other, and writes down how far.

Its cursor is written after some messages, not after each: a worker that dies in between leaves some to be told twice,
under the same ids. Two workers that tell the same endpoint, because one lost its lease, cannot move it back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import zqueue
from service.dispatch import ForeignJob
from service.email import jobs
from service.events.feed import read_log
from service.store.errors import StoreUnavailable
from service.store.records import Events
from service.store.store import Store
from service.store.transaction import Transaction
from service.webhooks import endpoint as steps
from service.webhooks import message
from service.webhooks.endpoint import KIND, LADDER, Endpoint, from_document, to_data
from service.webhooks.message import Message
from service.webhooks.sender import Answer, Sender

BATCH = 100
"""Lines of the log between two writes of a cursor."""

LAST_WORDS = timedelta(seconds=3)
"""How long a worker that stops waits for an endpoint."""

_WRITE_EVERY_S = 5.0
_RUN_S = 10.0
"""After this the next endpoint has its turn."""
_AT_ONCE = timedelta(0)
_LOOK_AGAIN = timedelta(seconds=5)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far an endpoint was told.

    Attributes:
        taken: Whether it took a message.
        failure: What ended it before its time.
        is_all: Whether it was told all that there was when its turn began.
    """

    cursor: int
    taken: bool
    failure: Answer | None = None
    is_all: bool = False


class Deliverer:
    """Handles the jobs of one store's endpoints; see the module."""

    def __init__(
        self,
        store: Store,
        sender: Sender,
        *,
        now: Callable[[], datetime],
        backoff: zqueue.Backoff = LADDER,
        on_foreign: Callable[[ForeignJob], None] | None = None,
    ) -> None:
        """Handle with these.

        Args:
            store: Holds the endpoints and the log.
            sender: Sends the messages.
            now: The queue's time.
            backoff: The delays between attempts.
            on_foreign: Called before a job of another store is refused.
        """
        self._store = store
        self._sender = sender
        self._now = now
        self._backoff = backoff
        self._on_foreign = on_foreign
        self._stopping = False
        self._sending: set[asyncio.Timeout] = set()

    async def __call__(self, job: zqueue.Job) -> None:
        """Tell one endpoint what there is, or as much as fits into its turn.

        Raises:
            zqueue.Snooze: There is more, now or after a wait.
            ForeignJob: The job is not one of this store.
        """
        self._check(job)
        end, goal = time.monotonic() + _RUN_S, self._end()
        while True:
            endpoint = self._read(job.id)
            if endpoint is None or not endpoint.enabled or goal <= endpoint.cursor <= self._end():
                return
            now = self._now() if job.due_at is None else max(self._now(), job.due_at)
            if endpoint.next_at is not None and now < endpoint.next_at:
                raise zqueue.Snooze(endpoint.next_at - now)
            if self._stopping or time.monotonic() >= end:
                raise zqueue.Snooze(_AT_ONCE)
            progress = await self._tell(endpoint, goal)
            try:
                await self._record(endpoint, progress)
            except StoreUnavailable as trouble:
                _log.warning("webhook %s waits for the store: %s", endpoint.id, trouble)
                raise zqueue.Snooze(_LOOK_AGAIN) from trouble
            if progress.is_all:
                return

    def stop(self) -> None:
        """Begin no more messages, and give those on their way a moment."""
        self._stopping = True
        end = asyncio.get_running_loop().time() + LAST_WORDS.total_seconds()
        for sending in self._sending:
            if not sending.expired():
                sending.reschedule(end)

    def _end(self) -> int:
        self._store.catch_up()
        return self._store.seq

    def _check(self, job: zqueue.Job) -> None:
        store = jobs.store_of(job.payload)
        if store != self._store.id:
            foreign = ForeignJob(job.id, store, self._store.id)
            if self._on_foreign is not None:
                self._on_foreign(foreign)
            raise foreign

    def _read(self, webhook_id: str) -> Endpoint | None:
        document = self._store.document(KIND, webhook_id)
        return None if document is None else from_document(document)

    async def _tell(self, endpoint: Endpoint, goal: int) -> _Progress:
        """Send messages until one fails, all up to line *goal* are told, or it is time to write down how far."""
        write_at = time.monotonic() + _WRITE_EVERY_S
        cursor, taken = endpoint.cursor, False
        while True:
            found = await asyncio.to_thread(read_log, self._store, cursor, BATCH)
            for after, one in self._messages(endpoint, cursor, found):
                current = self._read(endpoint.id)  # its URL and its secrets may be new
                if current is None or current.gen != endpoint.gen or self._stopping or time.monotonic() >= write_at:
                    return _Progress(cursor, taken)
                answer = await self._send(current, one)
                if answer is None:
                    return _Progress(cursor, taken)
                if answer.error is not None:
                    return _Progress(cursor, taken, failure=answer)
                cursor, taken = after, True
            cursor = found.last
            if taken or cursor >= goal or time.monotonic() >= write_at:
                return _Progress(cursor, taken, is_all=cursor >= goal)

    async def _send(self, endpoint: Endpoint, one: Message) -> Answer | None:
        """Send a message; None if this worker stops meanwhile and the endpoint takes its time."""
        now = self._now()
        try:
            async with asyncio.timeout(None) as sending:
                self._sending.add(sending)
                try:
                    return await self._sender.send(endpoint.url, one, endpoint.keys(now), now)
                finally:
                    self._sending.discard(sending)
        except TimeoutError:
            return None

    def _messages(self, endpoint: Endpoint, cursor: int, found: Events) -> Iterator[tuple[int, Message]]:
        """What is to be sent, each with the cursor after it."""
        if found.reset:
            first = found.events[0] if found.events else None
            yield cursor, message.of_gap(cursor, first, self._now(), self._store.id)
        for event in endpoint.wanted.of(found.events):
            yield event.seq, message.of_event(event, self._store.id)

    async def _record(self, before: Endpoint, progress: _Progress) -> None:
        now = self._now()

        def work(transaction: Transaction) -> Endpoint | None:
            document = transaction.document(KIND, before.id)
            if document is None:
                return None
            endpoint = from_document(document)
            if (endpoint.gen, endpoint.cursor) != (before.gen, before.cursor):
                return None  # somebody moved it, and what was done here is void
            after, type_ = endpoint, "webhook.progress"
            if progress.taken or progress.cursor != endpoint.cursor:
                after = steps.told(after, progress.cursor, now, taken=progress.taken)
            if progress.failure is not None:
                after = steps.failed(after, progress.failure, now, self._backoff)
                type_ = "webhook.failing" if after.enabled else "webhook.disabled"
            if after != endpoint:
                transaction.put(KIND, before.id, to_data(after), type=type_)
            return after

        after = await self._store.write(work)
        if after is not None and progress.failure is not None:
            _complain(after)


def _complain(endpoint: Endpoint) -> None:
    if endpoint.enabled:
        what, error = f"failed {endpoint.failures} times in a row", endpoint.last_error
        _log.warning("webhook %s %s: %s; next at %s", endpoint.id, what, error, endpoint.next_at)
    else:
        _log.error("webhook %s is disabled (%s): %s", endpoint.id, endpoint.reason, endpoint.last_error)
