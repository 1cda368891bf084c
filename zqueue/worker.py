"""Workers: what a user configures, starts and stops. The loop itself is in `poller`."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any

from zqueue.clock import Duration, duration_us
from zqueue.errors import InvalidJob
from zqueue.execute import Handler
from zqueue.poller import Poller
from zqueue.queue import Queue
from zqueue.runs import Settings


class Worker:
    """Runs the jobs of one queue.

    Args:
        queue: Where they come from.
        handler: Takes each job; or a mapping from job names to handlers. A job of a name that is not in the mapping is
            given back for another worker.
        concurrency: Jobs at the same time.
        lease: How long after this worker's death its jobs are given to another one. Renewed every third of it.
        drain: How long a stopping worker lets its jobs run on before it cancels them and gives them back.
        max_deliveries: Claims of a job without a finished attempt after which it is buried: it kills its workers. With
            1, whatever a dying worker was running is buried with it.
    """

    def __init__(
        self,
        queue: Queue,
        handler: Handler | Mapping[str, Handler],
        *,
        concurrency: int = 100,
        lease: Duration = timedelta(seconds=10),
        drain: Duration = timedelta(seconds=30),
        max_deliveries: int = 5,
    ) -> None:
        if concurrency < 1 or max_deliveries < 1:
            raise InvalidJob("concurrency and max_deliveries must be at least 1")
        lease_us = duration_us("lease", lease)
        if lease_us < 100_000:
            raise InvalidJob(f"a lease must be at least 0.1 s long, not {lease}")
        self.queue = queue
        self._settings = Settings(
            worker=secrets.token_hex(8),
            handlers=handler if isinstance(handler, Mapping) else {},
            handler=None if isinstance(handler, Mapping) else handler,
            concurrency=concurrency,
            lease_us=lease_us,
            drain_s=duration_us("drain", drain) / 1e6,
            max_deliveries=max_deliveries,
        )
        self._poller: Poller | None = None
        self._stopped = 0

    @property
    def last_claim(self) -> float | None:
        """When the server last answered a claim, on the monotonic clock; None before the first and after `run`.

        A healthy worker with a free slot moves it at least every 5 s, however idle the queue.
        """
        return None if self._poller is None else self._poller.last_claim

    def stop(self) -> None:
        """Claim no more, and end `run` once its jobs are done or `drain` is over. Called again: end it at once.

        To be called in the worker's event loop, before or during `run`.
        """
        self._stopped += 1
        if self._poller is not None:
            self._poller.stop(at_once=self._stopped > 1)

    async def run(self, *, burst: bool = False) -> None:
        """Work until `stop`. A server that is away is waited for.

        Cancelling this is stopping at once: what runs is cancelled and given back, without costing it an attempt.

        Args:
            burst: Stop by itself when nothing is due and nothing runs.
        """
        try:
            if not self._stopped:
                self._poller = Poller(self.queue, self._settings)
                await self._poller.run(burst=burst)
        finally:
            self._poller = None
            self._stopped = 0

    async def tick(self) -> int:
        """One step: claim what is due (100 jobs at most), run it to its end and settle it.

        Returns:
            How many jobs were claimed.

        Raises:
            QueueUnavailable: The server could not be reached.
        """
        return await Poller(self.queue, self._settings).tick()


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
    async with asyncio.TaskGroup() as group:
        runs: list[Coroutine[Any, Any, None]] = [worker.run() for worker in workers]
        for each in runs:
            group.create_task(each)
    for worker in workers:
        await worker.queue.close()
