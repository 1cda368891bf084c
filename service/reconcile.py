"""The reconciler: sees to it that every e-mail that waits has a job in the queue.

The store is what was promised; the queue is an index of it that can be lost. Every two seconds the reconciler looks at
what is due soon, and at everything that waits when it starts, when the server was away, restarted or emptied, and each
minute. What has no job gets one; what is among the queue's dead has killed too many workers and fails. One process does
this at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

import zqueue
from service.email import jobs, life
from service.email.record import FINAL, Status
from service.overdue import Overdue
from service.store.errors import StoreError
from service.store.store import Store, Unfinished
from service.throttle import Throttle

ROLE = "reconciler"
EVERY = timedelta(seconds=2)
SOON = timedelta(seconds=10)
"""How far ahead of its due time an e-mail must be in the queue."""
FULL_EVERY = timedelta(minutes=1)

_SOON_AT_MOST = 10_000
_CHUNK = 250
_PAGE = 100

_log = logging.getLogger(__name__)


class Reconciler:
    """Repairs the queue from the store; see the module.

    Args:
        store: Holds the records.
        queue: Carries them.
        now: The queue's time.
        overdue: Is shown what waits, and gives up what waited too long.
        throttle: Sets its limits in a queue that is new, or was emptied.
        also: What else is done when everything is looked at.
    """

    def __init__(
        self,
        store: Store,
        queue: zqueue.Queue,
        *,
        now: Callable[[], datetime],
        overdue: Overdue | None = None,
        throttle: Throttle | None = None,
        also: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._store = store
        self._queue = queue
        self._now = now
        self._overdue = overdue or Overdue(store)
        self._throttle = throttle
        self._also = also
        self._incarnation: str | None = None
        self._had: set[str] = set()  # jobs that were in the queue since everything was looked at
        self._full_at = 0.0
        self._away = False

    async def run(self) -> None:
        """Reconcile until cancelled. Neither a queue that is away nor a store in trouble ends it."""
        while True:
            if self._store.lead(ROLE):
                try:
                    await self.step()
                    self._away = False
                except zqueue.QueueUnavailable as error:
                    self._incarnation = None
                    if not self._away:
                        _log.warning("the queue is away: %s", error)
                    self._away = True
                except StoreError as error:
                    _log.error("the store is in trouble: %s", error)
            await asyncio.sleep(EVERY.total_seconds())

    async def step(self) -> int:
        """Look once: at what is due soon, or at everything where there is a reason to.

        Returns:
            How many e-mails got a job.

        Raises:
            zqueue.QueueUnavailable: The queue could not be reached.
        """
        incarnation = await self._queue.incarnation()
        if incarnation == self._incarnation and time.monotonic() < self._full_at:
            soon = self._store.due_before(self._now() + SOON, _SOON_AT_MOST)
            restored = await self._restore(soon, once=True)
            await self._overdue.give_up(self._now())
            return restored
        if self._throttle is not None and incarnation != self._incarnation:
            await self._throttle.apply()
        self._overdue.begin()
        self._had.clear()
        restored = await self._restore(self._store.unfinished())
        await self._fail_poison()
        await self._overdue.give_up(self._now())
        for each in self._also:
            await each()
        self._incarnation = incarnation
        self._full_at = time.monotonic() + FULL_EVERY.total_seconds()
        return restored

    async def _restore(self, waiting: Iterable[Unfinished], *, once: bool = False) -> int:
        """Give a job to those that have none; with *once*, ask for each that has one only the first time."""
        restored = 0
        each = iter(waiting)
        while chunk := list(islice(each, _CHUNK)):
            self._overdue.note(chunk, self._now())
            asked = [email.job_id for email in chunk if email.job_id not in self._had]
            missing = set(await self._queue.missing(asked)) if asked else set()
            if once:
                self._had.update(job_id for job_id in asked if job_id not in missing)
            lost = [email for email in chunk if email.job_id in missing and self._needs_job(email)]
            if lost:
                await self._queue.enqueue_many([self._job(email) for email in lost])
                _log.info("e-mails that the queue had lost are in it again: %d, the first is %s", len(lost), lost[0].id)
            restored += len(lost)
        return restored

    def _needs_job(self, email: Unfinished) -> bool:
        # One that is being sent has none where the queue was emptied; its process, if it lives, will write the outcome,
        # unless that has hung for so long that its run is over.
        if email.status is not Status.SENDING or email.by is None or not self._store.alive(email.by):
            return True
        return self._now() - email.due >= life.FROZEN

    def _job(self, email: Unfinished) -> zqueue.NewJob:
        at = None if email.status is Status.SENDING else email.due
        record = self._store.get(email.id)
        group = None if record is None else jobs.group_of(record)
        return zqueue.NewJob(jobs.payload(self._store.id), id=email.job_id, at=at, group=group)

    async def _fail_poison(self) -> None:
        """Fail the e-mails whose jobs are dead."""
        page = await self._queue.jobs(zqueue.JobState.DEAD, _PAGE)
        while page:
            for job in page:
                await self._fail(job)
            page = await self._queue.jobs(zqueue.JobState.DEAD, _PAGE, after=page[-1])

    async def _fail(self, job: zqueue.JobRecord) -> None:
        split = jobs.split(job.id)
        email = None if split is None else self._store.get(split[0])
        if split is None or email is None or email.state.gen != split[1] or email.state.status in FINAL:
            return
        _log.error("%s fails: its job is dead: %s", email.id, job.error)
        await self._store.change(email.id, partial(life.poison, gen=split[1], error=job.error or "its job is dead"))
