"""A queue under load: producers, a worker and somebody who looks, with a record of what each of them was told."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from tests.asking import until
from zqueue import Job, JobState, NotReplicated, Queue, Worker, ZQueueError

_PRODUCERS: Final = 4
_WARM: Final = 200
"""So many jobs are under way before anything happens."""
_LEASE: Final = timedelta(seconds=3)
_LATER: Final = "later"


class Load:
    """Jobs are enqueued one after the other, run, and looked at, from the start of the block to `stop`.

    Attributes:
        acknowledged: The ids of the jobs that were enqueued, as safely as the queue asks for.
        unsafe: The ids of those that were enqueued less safely.
        failed: What else was raised by an enqueue.
        errors: What was raised by the other calls.
        runs: How often each job ran.
        longest_s: The longest time that one enqueue took.
    """

    def __init__(self, queue: Queue) -> None:
        self.acknowledged: set[str] = set()
        self.unsafe: set[str] = set()
        self.failed: list[Exception] = []
        self.errors: list[Exception] = []
        self.runs: Counter[str] = Counter()
        self.longest_s = 0.0
        self._queue = queue
        self._worker = Worker(queue, self._run, concurrency=20, lease=_LEASE)
        self._numbers = itertools.count()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(each) for each in (self._worker.run(), self._look())]
        self._tasks += [asyncio.create_task(self._produce()) for _ in range(_PRODUCERS)]
        await until(lambda: self._ran(_WARM))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._worker.stop()
        async with asyncio.timeout(30):
            await asyncio.gather(*self._tasks)

    async def ran_again(self) -> float:
        """Wait until a job runs that was enqueued from now on.

        Returns:
            How long that took, in seconds.
        """
        started = time.monotonic()
        number = next(self._numbers)
        await until(lambda: self._ran(number), timeout=30)
        return time.monotonic() - started

    async def stop(self) -> None:
        """Enqueue no more; returns when there is no job left."""
        self._stopping = True
        await asyncio.gather(*self._tasks[1:])
        await self._queue.cancel(_LATER)
        await until(self._is_empty, timeout=30)

    async def _ran(self, number: int) -> bool:
        return any(int(each) > number for each in self.runs)

    async def _is_empty(self) -> bool:
        stats = await self._queue.stats()
        return (stats.scheduled, stats.leased) == (0, 0)

    async def _run(self, job: Job[Any]) -> None:
        self.runs[job.id] += 1
        await asyncio.sleep(0.001)

    async def _produce(self) -> None:
        while not self._stopping:
            number = f"{next(self._numbers)}"
            started = time.monotonic()
            try:
                await self._queue.enqueue({"n": number}, id=number)
            except NotReplicated:
                self.unsafe.add(number)
            except ZQueueError as error:
                self.failed.append(error)
            else:
                self.acknowledged.add(number)
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            await asyncio.sleep(0.002)

    async def _look(self) -> None:
        """What an operator does: everything that reads, and a job that is put off, moved and cancelled."""
        while not self._stopping:
            try:
                await self._queue.stats()
                await self._queue.jobs(JobState.LEASED)
                await self._queue.enqueue("later", id=_LATER, delay=3600)
                await self._queue.reschedule(_LATER, delay=7200)
                await self._queue.get(_LATER)
                await self._queue.cancel(_LATER)
            except NotReplicated:
                self.unsafe.add(_LATER)
            except ZQueueError as error:
                self.errors.append(error)
            await asyncio.sleep(0.01)
