"""Workers: what a user configures, starts and stops. The work itself is in `crew` and `poller`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from zqueue.clock import Duration, duration_us
from zqueue.crew import Crew
from zqueue.errors import InvalidJob
from zqueue.handler import Handler, Middleware
from zqueue.job import JobState
from zqueue.queue import Queue
from zqueue.runs import Settings
from zqueue.tasks import Task

Taker = Handler | Task[..., Any]
"""Takes jobs, each as it is, or each with its payload as arguments."""


class Worker:
    """Runs the jobs of one queue.

    Args:
        queue: Where they come from.
        handler: Takes each job; or a mapping from job names to handlers, or tasks; None for the tasks of the queue. A
            job of a name that is not among them is given back for another worker.
        concurrency: Jobs at the same time.
        lease: How long after this worker's death its jobs are given to another one. Renewed every third of it.
        drain: How long a stopping worker lets its jobs run on before it cancels them and gives them back.
        max_deliveries: Claims of a job without a finished attempt after which it is buried: it kills its workers. With
            1, whatever a dying worker was running is buried with it.
        lifespan: Called with the worker, gives an asynchronous context manager, entered before the first claim and left
            after the last settlement; what it yields is each job's `state`.
        middleware: Wraps each run, the first one outermost: ``async def m(job, call): return await call(job)``.

    Raises:
        InvalidJob: An argument is not as described; the message names it.
    """

    def __init__(
        self,
        queue: Queue,
        handler: Taker | Mapping[str, Taker] | None = None,
        *,
        concurrency: int = 100,
        lease: Duration = timedelta(seconds=10),
        drain: Duration = timedelta(seconds=30),
        max_deliveries: int = 5,
        lifespan: Callable[[Worker], AbstractAsyncContextManager[Any]] | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        for what, count in (("concurrency", concurrency), ("max_deliveries", max_deliveries)):
            if type(count) is not int or count < 1:
                raise InvalidJob(f"{what} must be a whole number of at least 1, not {count!r}")
        known = handler.values() if isinstance(handler, Mapping) else [] if handler is None else [handler]
        functions = {"a handler": known, "a middleware": middleware, "lifespan": [lifespan] if lifespan else []}
        for what, each in ((what, each) for what, some in functions.items() for each in some if not callable(each)):
            raise InvalidJob(f"{what} must be callable, not {each!r}")
        lease_us = duration_us("lease", lease)
        if lease_us < 100_000:
            raise InvalidJob(f"a lease must be at least 0.1 s long, not {lease}")
        self.queue = queue
        self._handler = handler
        self._lifespan = lifespan
        self._settings = Settings(
            worker=secrets.token_hex(8),
            tasks={},
            handlers={name: _plain(each) for name, each in handler.items()} if isinstance(handler, Mapping) else {},
            handler=None if handler is None or isinstance(handler, Mapping) else _plain(handler),
            concurrency=concurrency,
            lease_us=lease_us,
            drain_s=duration_us("drain", drain) / 1e6,
            max_deliveries=max_deliveries,
            middleware=tuple(middleware),
        )
        self._crew: Crew | None = None
        self._stopped = 0

    @property
    def last_claim(self) -> float | None:
        """When the server last answered a claim, on the monotonic clock; None before the first and after `run`.

        A healthy worker with a free slot moves it at least every 5 s, however idle the queue.
        """
        return None if self._crew is None else self._crew.last_claim

    def stop(self) -> None:
        """Claim no more, and end `run` once its jobs are done or `drain` is over. Called again: end it at once.

        To be called in the worker's event loop, before or during `run`.
        """
        self._stopped += 1
        if self._crew is not None:
            self._crew.stop(at_once=self._stopped > 1)

    async def run(self, *, burst: bool = False) -> None:
        """Work until `stop`. A server that is away is waited for.

        Cancelling this is stopping at once: what runs is cancelled and given back, without costing it an attempt.

        Args:
            burst: Stop by itself when nothing is due and nothing runs.

        Raises:
            InvalidJob: The queue's keys are in another format, or its server may drop them; or there is no handler.
        """
        try:
            async with self._state() as state:
                if not self._stopped:
                    self._crew = Crew(self.queue, self._known(), state)
                    await self._crew.run(burst=burst)
        finally:
            self._crew = None
            self._stopped = 0

    async def tick(self) -> int:
        """One step: claim what is due (100 jobs at most, and those of schedules), run it to its end and settle it.

        Returns:
            How many jobs were claimed.

        Raises:
            QueueUnavailable: The server could not be reached.
        """
        async with self._state() as state:
            return await Crew(self.queue, self._known(), state).tick()

    @contextlib.asynccontextmanager
    async def _state(self) -> AsyncIterator[Any]:
        if self._lifespan is None:
            yield JobState.LEASED
        else:
            async with self._lifespan(self) as state:
                yield state

    def _known(self) -> Settings:
        """The settings, with the tasks that the queue has by now: without a handler, they are what takes jobs."""
        tasks = dict(self.queue.tasks)
        if self._handler is None:
            if not tasks:
                raise InvalidJob(f"the worker of queue {self.queue.name!r} has no handler, and the queue no tasks")
            return replace(self._settings, tasks=tasks, handlers={name: task.handler for name, task in tasks.items()})
        if isinstance(self._handler, Mapping):
            tasks |= {name: each for name, each in self._handler.items() if isinstance(each, Task)}
        return replace(self._settings, tasks=tasks)


def _plain(handler: Taker) -> Handler:
    """A task is called with its own arguments: what takes a job is its handler."""
    return handler.handler if isinstance(handler, Task) else handler


def run(*workers: Worker) -> None:
    """Be the program: run *workers* until SIGTERM or SIGINT, on uvloop where it is installed.

    The first signal stops them in order (see `Worker.stop`), the second at once. Blocks; then closes their queues.
    """
    main = _main(workers)
    try:
        import uvloop  # an optional extra
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


async def _main(workers: tuple[Worker, ...]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for worker in workers:
            worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        async with asyncio.TaskGroup() as group:
            runs: list[Coroutine[Any, Any, None]] = [worker.run() for worker in workers]
            for each in runs:
                group.create_task(each)
    finally:
        for worker in workers:
            await worker.queue.close()
