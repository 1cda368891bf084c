"""Accept, cancel and retry e-mails: the store first, for what it holds is a promise; then the queue.

The queue may be away. It is waited for a moment only, and not at all while it is known to be away: what it misses, the
reconciler hands over once it is back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from service.email import ids, jobs, life
from service.email.draft import Draft
from service.email.record import Content, Email, Status
from service.settings import PREFIX, Settings, SettingsError
from service.store.store import Store
from zqueue import InvalidJob, Queue, Retry, ZQueueError, exponential

PATIENCE = timedelta(milliseconds=250)
"""How long a caller waits for the queue."""

_PAUSE = 1.0  # seconds between two tries of a queue that is away

_log = logging.getLogger(__name__)


def mail_queue(settings: Settings) -> Queue:
    """The queue that carries e-mails. A job that fails by a fault of its handler is tried again for ever.

    Raises:
        SettingsError: The URL cannot be used.
    """
    retry = Retry(attempts=None, backoff=exponential(1, cap=60, jitter=True))
    try:
        return Queue("mail", settings.queue_url, retry=retry)
    except InvalidJob as error:
        raise SettingsError(f"{PREFIX}REDIS_URL cannot be used: {error}") from None


class Outbox:
    """What may be asked of e-mails from outside."""

    def __init__(self, store: Store, queue: Queue, settings: Settings) -> None:
        self._store = store
        self._queue = queue
        self._settings = settings
        self._backoff = settings.backoff
        self._line = _Line()

    def now(self) -> datetime:
        """The clock of everything: the queue server's."""
        return self._queue.now()

    async def accept(self, draft: Draft) -> Email:
        """Take an e-mail on. It is durable on return, and sent when it is due whatever happens next.

        Raises:
            StoreUnavailable: It was not taken; repeating is safe.
        """
        now = self.now()
        scheduled_at = draft.scheduled_at or now
        max_retries = self._settings.max_retries if draft.max_retries is None else draft.max_retries
        email_id = ids.new_email_id()
        email = life.accept(
            email_id,
            _content(draft, email_id),
            addresses=draft.addresses,
            now=now,
            scheduled_at=scheduled_at,
            max_retries=max_retries,
            retry_until=draft.retry_until or life.default_retry_until(scheduled_at, max_retries, self._backoff),
        )
        (accepted,) = await self._store.accept([email])
        await self._enqueue(accepted)
        return accepted

    async def cancel(self, email_id: str) -> Email:
        """Stop an e-mail that is not being sent; one that is cancelled stays so.

        Raises:
            EmailNotFound: There is no such e-mail.
            WrongState: It is too late.
            StoreUnavailable: Nothing was changed; repeating is safe.
        """
        email = await self._store.change(email_id, life.cancel)
        await self._line.call(lambda: self._queue.cancel(email.job_id))
        return email

    async def retry(self, email_id: str) -> Email:
        """Send a failed or held e-mail again; one that is on its way stays so.

        Raises:
            EmailNotFound: There is no such e-mail.
            WrongState: It is completed or cancelled.
            StoreUnavailable: Nothing was changed; repeating is safe.
        """
        email = await self._store.change(email_id, partial(life.requeue, now=self.now(), backoff=self._backoff))
        if email.state.status is Status.SCHEDULED:
            await self._enqueue(email)
        return email

    async def meet_queue(self) -> None:
        """Connect to the queue, so that its clock is known before the first e-mail; it need not be there."""
        await self._line.call(self._queue.stats)

    async def close(self) -> None:
        """Give what is on its way to the queue a moment to get there."""
        await self._line.close()

    async def _enqueue(self, email: Email) -> None:
        payload = jobs.payload(self._store.id)
        await self._line.call(lambda: self._queue.enqueue(payload, id=email.job_id, at=email.state.next_attempt_at))


class _Line:
    """Calls to a queue that may be away: each is made, none is waited for longer than `PATIENCE`."""

    def __init__(self) -> None:
        self._down = False
        self._try_again_at = 0.0
        self._calls: set[asyncio.Task[None]] = set()

    async def call(self, make: Callable[[], Awaitable[object]]) -> None:
        """Make a call and wait a moment for it; while the queue is away, let one call a second find out."""
        if self._down:
            if time.monotonic() >= self._try_again_at:
                self._start(make)
            return
        await asyncio.wait({self._start(make)}, timeout=PATIENCE.total_seconds())

    async def close(self) -> None:
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


def _content(draft: Draft, email_id: str) -> Content:
    return Content(
        sender=str(draft.sender),
        to=tuple(map(str, draft.to)),
        subject=draft.subject,
        message_id=ids.message_id(email_id, draft.sender.domain),
        cc=tuple(map(str, draft.cc)),
        bcc=tuple(map(str, draft.bcc)),
        reply_to=tuple(map(str, draft.reply_to)),
        text=draft.text,
        html=draft.html,
        headers=draft.headers,
        tags=draft.tags,
    )
