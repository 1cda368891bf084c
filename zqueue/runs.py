"""The runs of one worker: each claimed job in a task of its own, from its delivery to its ending."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from zqueue.commands import Settlement
from zqueue.errors import CorruptJob, LeaseLost
from zqueue.execute import Handler, Verdict, execute, failed, is_async
from zqueue.job import Job, JobState, decode_job
from zqueue.lease import Held, LeaseKeeper
from zqueue.queue import Queue
from zqueue.replies import Delivery, Settled, read_failures

_LOG: Final = logging.getLogger("zqueue")

_UNKNOWN_DELAY_US: Final = 5_000_000
"""How long a job whose name this worker does not know is left to others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a `Worker` was told; see there. `worker` is its random id."""

    worker: str
    handlers: Mapping[str, Handler]
    handler: Handler | None
    concurrency: int
    lease_us: int
    drain_s: float
    max_deliveries: int


@dataclass(slots=True)
class Ending:
    """A run that is over and not yet settled; `uncertain` once its settlement was sent and no reply came."""

    held: Held
    verdict: Verdict
    uncertain: bool = False

    @property
    def settlement(self) -> Settlement:
        """What the server is told."""
        verb, delay_us, error = self.verdict
        return Settlement(*self.held.key, verb, delay_us, error)


class Runs:
    """What a worker is running, and what has ended and waits to be settled.

    Args:
        on_end: Called whenever a slot was freed or an ending waits.

    Attributes:
        endings: Runs to settle, oldest first.
    """

    def __init__(self, queue: Queue, settings: Settings, on_end: Callable[[], None]) -> None:
        self._settings = settings
        self._retry = queue.retry
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._keeper = LeaseKeeper(queue.address, queue.commands, settings.lease_us, self._hear_of_loss)
        self._keeper.start()
        self._threads: ThreadPoolExecutor | None = None
        self._busy: set[Held] = set()
        self._is_async = {name: is_async(each) for name, each in settings.handlers.items()}
        if settings.handler is not None:
            self._is_async[""] = is_async(settings.handler)
        self._releasing = False
        owner = asyncio.current_task()
        assert owner is not None
        self._owner = owner
        self._cancelled_before = owner.cancelling()
        self.endings: deque[Ending] = deque()

    @property
    def busy(self) -> bool:
        """Whether any slot is taken."""
        return bool(self._busy)

    @property
    def free(self) -> int:
        """Slots that are not taken."""
        return self._settings.concurrency - len(self._busy)

    @property
    def solo(self) -> bool:
        """Whether a job on its last delivery is running."""
        return any(held.last for held in self._busy)

    def start(self, delivery: Delivery, fence: str, until: float) -> None:
        """Run a claimed job in a task of its own."""
        key = (delivery.id, fence)
        attempts, error = read_failures(delivery.failed)
        try:
            job = decode_job(
                delivery.id,
                delivery.envelope,
                state=JobState.LEASED,
                due_us=delivery.due_us,
                deliveries=delivery.deliveries,
                attempts=attempts,
                error=error,
            )
        except CorruptJob as corrupt:
            _LOG.error("%s; it is buried", corrupt)
            self.endings.append(Ending(Held(key, None, until), Verdict("bury", 0, str(corrupt))))
            return
        last = delivery.deliveries > 1 and delivery.deliveries >= self._settings.max_deliveries
        held = Held(key, job, until, last)
        handler = self._settings.handlers.get(job.name, self._settings.handler)
        if handler is None:
            _LOG.warning("job %s is for %r, which this worker does not know; it is given back", job.id, job.name)
            self.endings.append(Ending(held, Verdict("release", _UNKNOWN_DELAY_US)))
            return
        self._keeper.add(held)
        self._busy.add(held)
        held.task = self._loop.create_task(self._run(held, job, handler))
        # Not the last lines of _run: a task that is cancelled before its first step runs none of them.
        held.task.add_done_callback(lambda task: self._ended(held, job, task))

    def settled(self, endings: Sequence[Ending], answers: Sequence[Settled]) -> None:
        """Take the server's answers to settlements."""
        for ending, answer in zip(endings, answers, strict=True):
            held = ending.held
            self._keeper.remove(held)
            # After a lost reply, "gone" says that the settlement took effect; and so does "stolen" while the lease was
            # ours by the clock: somebody could claim the job only because we had given it back.
            took_effect = ending.uncertain and (answer == "gone" or time.monotonic() < held.until)
            if answer != "ok" and not took_effect:
                _LOG.warning("%s (%s)", LeaseLost(held.name), answer)

    def release_all(self) -> None:
        """Cancel every run; each is given back without costing it an attempt."""
        self._releasing = True
        for held in self._busy:
            if held.task is not None:
                held.task.cancel()

    def abandon(self) -> None:
        """Give back what does not heed its cancellation, whatever it may still be doing."""
        for held in self._busy:
            if not held.settling and not held.lost:
                self._end(held, Verdict("release"))
        self._busy.clear()

    async def close(self) -> None:
        """End the renewals and the threads."""
        self._keeper.stop()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._keeper.join)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="zqueue handler")
        return self._threads

    async def _run(self, held: Held, job: Job, handler: Handler) -> Verdict:
        threads = None if self._is_async.get(job.name, self._is_async.get("")) else self._pool()

        def started(thread: asyncio.Future[Any]) -> None:
            held.thread = thread

        return await execute(job, handler, job.retry or self._retry, threads, started)

    def _ended(self, held: Held, job: Job, task: asyncio.Task[Verdict]) -> None:
        """Free the slot and, if the outcome is still ours to tell, keep it to be settled."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._vacate(held)
        if held.lost or held.settling:
            return
        if error is None:
            self._end(held, task.result())
        elif task.cancelled() and self._is_giving_back:
            self._end(held, Verdict("release"))
        else:
            self._end(held, failed(job, job.retry or self._retry, error))

    @property
    def _is_giving_back(self) -> bool:
        """Whether a cancelled run is ours: we were told so, or the task of `Worker.run` was cancelled with all others.

        The latter is how `asyncio.run` ends what its main function left behind, handlers perhaps first.
        """
        return self._releasing or self._owner.cancelling() > self._cancelled_before

    def _end(self, held: Held, verdict: Verdict) -> None:
        held.settling = True
        self.endings.append(Ending(held, verdict))
        self._on_end()

    def _vacate(self, held: Held) -> None:
        """Free the slot: now, or when the thread that a timeout or a cancellation left behind ends."""
        if held.thread is not None and not held.thread.done():
            held.thread.add_done_callback(lambda thread: self._vacate(held))
            return
        if held.thread is not None and not held.thread.cancelled():
            held.thread.exception()  # seen: what a thread left behind says is nobody's business
        self._busy.discard(held)
        self._on_end()

    def _hear_of_loss(self, held: Held, answer: Settled) -> None:
        """In the keeper's thread: pass it on to the loop."""
        with contextlib.suppress(RuntimeError):  # the loop has just closed
            self._loop.call_soon_threadsafe(self._lose, held, answer)

    def _lose(self, held: Held, answer: Settled) -> None:
        if held.settling or held.lost or held.task is None:
            return
        held.lost = True
        self._keeper.remove(held)
        _LOG.warning("%s; its handler is cancelled (%s)", LeaseLost(held.name), answer)
        held.task.cancel()
