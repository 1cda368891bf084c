"""The runs of one worker: each claimed job in a task of its own, from its delivery to its ending."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from zqueue.commands import Settlement
from zqueue.connected import Connected
from zqueue.envelope import decode_job, dump_json
from zqueue.errors import CorruptJob, LeaseLost, PayloadTooLarge, UnknownTask
from zqueue.execute import Verdict, execute, failed
from zqueue.handler import Handler, Middleware, is_async
from zqueue.job import Job, JobState
from zqueue.lease import Held, LeaseKeeper
from zqueue.replies import Delivery, Settled, read_failures
from zqueue.shards import Shard
from zqueue.slots import Slots
from zqueue.tasks import Task

_LOG: Final = logging.getLogger("zqueue")

_UNKNOWN_DELAY_US: Final = 5_000_000
"""How long a job whose name this worker does not know is left to others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a `Worker` was told; see there. `worker` is its random id, `tasks` what the handlers' options come from."""

    worker: str
    tasks: Mapping[str, Task[..., Any]]
    handlers: Mapping[str, Handler]
    handler: Handler | None
    concurrency: int
    lease_us: int
    drain_s: float
    max_deliveries: int
    middleware: tuple[Middleware, ...]


@dataclass(slots=True)
class Ending:
    """A run that is over and not yet settled; `uncertain` once its settlement was sent and no reply came."""

    held: Held
    verdict: Verdict
    uncertain: bool = False

    @property
    def settlement(self) -> Settlement:
        """What the server is told."""
        verb, time_us, text = self.verdict
        return Settlement(*self.held.key, verb, time_us, text)


class Place:
    """One shard's share of a worker's runs.

    Attributes:
        endings: Runs to settle, oldest first.
        signal: Set when a slot was freed, or an ending waits.
        busy: How many of its jobs run.
    """

    def __init__(self) -> None:
        self.endings: deque[Ending] = deque()
        self.signal = asyncio.Event()
        self.busy = 0


class Runs:
    """What a worker is running, and what has ended and waits to be settled.

    Args:
        state: What a handler finds as its job's `state`.

    Attributes:
        slots: What they have room in.
        places: By the index of the shard.
    """

    def __init__(self, queue: Connected, settings: Settings, state: Any = JobState.LEASED) -> None:
        self._settings = settings
        self._queue = queue
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._keeper = LeaseKeeper(queue.address, queue.shards, settings.lease_us, self._hear_of_loss)
        self._keeper.start()
        self._threads: ThreadPoolExecutor | None = None
        self.slots = Slots(settings.concurrency)
        self._is_async = {name: is_async(each) for name, each in settings.handlers.items()}
        if settings.handler is not None:
            self._is_async[""] = is_async(settings.handler)
        self._releasing = False
        owner = asyncio.current_task()
        assert owner is not None
        self._owner = owner
        self._cancelled_before = owner.cancelling()
        self.places = [Place() for _ in queue.shards]

    @property
    def busy(self) -> bool:
        """Whether anything runs."""
        return bool(self.slots.busy)

    def start(self, shard: Shard, delivery: Delivery, fence: str, until: float) -> None:
        """Run a claimed job in a task of its own."""
        key = (delivery.id, fence)
        attempts, error = read_failures(delivery.failed)
        try:
            job: Job[Any] = decode_job(
                Job,
                delivery.id,
                delivery.envelope,
                state=self._state,
                due_us=delivery.due_us,
                deliveries=delivery.deliveries,
                attempts=attempts,
                error=error,
            )
        except CorruptJob as corrupt:
            _LOG.error("%s; it is buried", corrupt)
            self._end(Held(key, shard, None, until), Verdict("bury", 0, str(corrupt)))
            return
        last = delivery.deliveries > 1 and delivery.deliveries >= self._settings.max_deliveries
        held = Held(key, shard, job, until, last)
        handler = self._settings.handlers.get(job.name, self._settings.handler)
        if handler is None:
            _LOG.warning("%s", UnknownTask(job.id, job.name))
            self._end(held, Verdict("release", _UNKNOWN_DELAY_US))
            return
        task = self._settings.tasks.get(job.name)
        if task is not None:
            job.timeout = job.timeout or task.timeout
        job.retry = job.retry or (task and task.retry) or self._queue.retry
        job.report = functools.partial(self._report, held)
        self._keeper.add(held)
        self.slots.busy.add(held)
        self.places[shard.index].busy += 1
        held.task = self._loop.create_task(self._run(held, job, handler))
        # Not the last lines of _run: a task that is cancelled before its first step runs none of them.
        held.task.add_done_callback(lambda ended: self._ended(held, job, ended))

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
        for held in self.slots.busy:
            if held.task is not None:
                held.task.cancel()

    def abandon(self) -> None:
        """Give back what does not heed its cancellation, whatever it may still be doing."""
        for held in self.slots.busy:
            if not held.settling and not held.lost:
                self._end(held, Verdict("release"))
        self.slots.busy.clear()
        for place in self.places:
            place.busy = 0

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

    async def _run(self, held: Held, job: Job[Any], handler: Handler) -> Verdict:
        threads = None if self._is_async.get(job.name, self._is_async.get("")) else self._pool()

        def started(thread: asyncio.Future[Any]) -> None:
            held.thread = thread

        assert job.retry is not None
        return await execute(
            job,
            handler,
            job.retry,
            threads,
            started,
            middleware=self._settings.middleware,
            max_result=self._queue.max_payload,
        )

    async def _report(self, held: Held, value: Any) -> None:
        """A handler's progress; it is called in this loop, or in a loop that a handler in a thread runs."""
        encoded = dump_json("progress", value)
        if len(encoded) > self._queue.max_payload:
            raise PayloadTooLarge(len(encoded), self._queue.max_payload)
        answer = await self._queue.ask(held.shard, held.shard.commands.progress(held.key, encoded))
        if answer != "ok":
            raise LeaseLost(held.name)

    def _ended(self, held: Held, job: Job[Any], task: asyncio.Task[Verdict]) -> None:
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
            self._end(held, failed(job, job.retry or self._queue.retry, error))

    @property
    def _is_giving_back(self) -> bool:
        """Whether a cancelled run is ours: we were told so, or the task of `Worker.run` was cancelled with all others.

        The latter is how `asyncio.run` ends what its main function left behind, handlers perhaps first.
        """
        return self._releasing or self._owner.cancelling() > self._cancelled_before

    def _end(self, held: Held, verdict: Verdict) -> None:
        held.settling = True
        place = self.places[held.shard.index]
        place.endings.append(Ending(held, verdict))
        place.signal.set()

    def _vacate(self, held: Held) -> None:
        """Free the slot: now, or when the thread that a timeout or a cancellation left behind ends."""
        if held.thread is not None and not held.thread.done():
            held.thread.add_done_callback(lambda thread: self._vacate(held))
            return
        if held.thread is not None and not held.thread.cancelled():
            held.thread.exception()  # seen: what a thread left behind says is nobody's business
        place = self.places[held.shard.index]
        if held in self.slots.busy:
            self.slots.busy.discard(held)
            place.busy -= 1
        place.signal.set()
        self.slots.call_next()

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
