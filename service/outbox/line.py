"""The line to the queue, which may be away.

It is waited for a moment only, and not at all while it is known to be away: what it misses, the reconciler hands over
once it is back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

from service.email import jobs
from service.email.record import Email
from service.settings import PREFIX, Settings, SettingsError
from zqueue import InvalidJob, NewJob, Queue, Retry, ZQueueError, exponential

PATIENCE = timedelta(milliseconds=250)
"""How long a caller waits for the queue."""

_PAUSE = 1.0  # seconds between two tries of a queue that is away

_log = logging.getLogger("service.outbox")


def mail_queue(settings: Settings) -> Queue:
    """The queue that carries e-mails.

    Raises:
        SettingsError: The URL cannot be used.
    """
    return service_queue("mail", settings)


def service_queue(name: str, settings: Settings) -> Queue:
    """A queue of the service. A job that fails by a fault of its handler is tried again for ever.

    Raises:
        SettingsError: The URL cannot be used.
    """
    retry = Retry(attempts=None, backoff=exponential(1, cap=60, jitter=True))
    try:
        return Queue(name, settings.queue_url, retry=retry)
    except InvalidJob as error:
        raise SettingsError(f"{PREFIX}REDIS_URL cannot be used: {error}") from None


class Line:
    """Calls to a queue that may be away: each is made, none is waited for longer than `PATIENCE`."""

    def __init__(self, queue: Queue, store_id: str) -> None:
        self._queue = queue
        self._store_id = store_id
        self._down = False
        self._try_again_at = 0.0
        self._calls: set[asyncio.Task[None]] = set()

    async def enqueue(self, emails: Iterable[Email]) -> None:
        """Give each of *emails* its job."""
        fresh = [
            NewJob(
                jobs.payload(self._store_id),
                id=email.job_id,
                at=email.state.next_attempt_at,
                group=jobs.group_of(email),
            )
            for email in emails
        ]
        if fresh:
            await self.call(lambda: self._queue.enqueue_many(fresh))

    async def cancel(self, job_ids: Iterable[str]) -> None:
        """Take jobs back."""
        ids = list(job_ids)
        if ids:
            await self.call(lambda: asyncio.gather(*map(self._queue.cancel, ids)))

    async def call(self, make: Callable[[], Awaitable[object]]) -> None:
        """Make a call and wait a moment for it; while the queue is away, let one call a second find out."""
        if self._down:
            if time.monotonic() >= self._try_again_at:
                self._start(make)
            return
        await asyncio.wait({self._start(make)}, timeout=PATIENCE.total_seconds())

    async def close(self) -> None:
        """Give what is on its way to the queue a moment to get there."""
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=PATIENCE.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, make: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        self._try_again_at = time.monotonic() + _PAUSE
        task = asyncio.create_task(self._run(make))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def _run(self, make: Callable[[], Awaitable[object]]) -> None:
        late = asyncio.get_running_loop().call_later(PATIENCE.total_seconds(), self._found_down, "it does not answer")
        try:
            await make()
        except ZQueueError as error:
            self._found_down(str(error))
        else:
            if self._down:
                _log.info("the queue is back")
            self._down = False
        finally:
            late.cancel()

    def _found_down(self, why: str) -> None:
        if not self._down:
            _log.warning("the queue is away, e-mails are accepted nevertheless: %s", why)
        self._down = True
