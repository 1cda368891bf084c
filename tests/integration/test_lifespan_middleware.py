"""What surrounds the runs of a worker: its lifespan, its middleware, and several workers as one program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import zqueue
from tests.asking import ask_server
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue import JobState
from zqueue.embedded import Server

pytestmark = pytest.mark.xdist_group("servers")


def fail(words: str) -> None:
    """Raise."""
    raise ValueError(words)


class Log:
    """What happened, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def lifespan(self, state: Any = None) -> Callable[[zqueue.Worker], contextlib.AbstractAsyncContextManager[Any]]:
        """A lifespan that says when it begins and ends, and yields *state*."""

        @contextlib.asynccontextmanager
        async def span(worker: zqueue.Worker) -> AsyncIterator[Any]:
            assert isinstance(worker, zqueue.Worker)
            self.events.append("begin")
            try:
                yield state
            finally:
                leased = (await worker.queue.stats()).leased
                self.events.append(f"end, {leased} leased")

        return span

    def middleware(self, name: str) -> Any:
        """A middleware that says when a run comes and goes."""

        async def around(job: zqueue.Job, call: Any) -> Any:
            self.events.append(f"{name}>")
            try:
                return await call(job)
            finally:
                self.events.append(f"<{name}")

        return around


async def test_a_lifespan_is_around_all_of_it(queue: zqueue.Queue) -> None:
    """It begins before the first claim and ends after the last settlement; what it yields is each job's state."""
    log, pool = Log(), object()

    async def handler(job: zqueue.Job) -> None:
        assert job.state is pool
        log.events.append(job.id)

    await queue.enqueue_many([zqueue.NewJob(0, id="a"), zqueue.NewJob(0, id="b")])
    worker = zqueue.Worker(queue, handler, concurrency=1, lifespan=log.lifespan(pool))
    await worker.run(burst=True)
    assert log.events == ["begin", "a", "b", "end, 0 leased"]
    await queue.enqueue(0, id="c")
    assert await worker.tick() == 1
    assert log.events[4:] == ["begin", "c", "end, 0 leased"], "each run has its own"


async def test_without_a_lifespan_the_state_is_leased(queue: zqueue.Queue) -> None:
    """A handler then sees the state that its job is in."""
    states: list[Any] = []
    await queue.enqueue(0)
    await zqueue.Worker(queue, lambda job: states.append(job.state)).run(burst=True)
    assert states == [JobState.LEASED]


async def test_a_lifespan_outlasts_a_stop_and_a_cancellation(queue: zqueue.Queue) -> None:
    """It ends when all is given back, also where the worker is cancelled."""
    for cancel in (False, True):
        log = Log()
        started = asyncio.Event()

        async def handler(job: zqueue.Job, started: asyncio.Event = started, log: Log = log) -> None:
            started.set()
            try:
                await asyncio.sleep(60)
            finally:
                log.events.append("cancelled")

        await queue.enqueue(0, id="x")
        worker = zqueue.Worker(queue, handler, drain=0, lifespan=log.lifespan())
        task = asyncio.create_task(worker.run())
        await asyncio.wait_for(started.wait(), 10)
        if cancel:
            task.cancel()
        else:
            worker.stop()
        await asyncio.wait([task], timeout=10)
        assert (task.done(), task.cancelled()) == (True, cancel)
        assert log.events == ["begin", "cancelled", "end, 0 leased"]
        record = await queue.get("x")
        assert record is not None
        assert (record.state, record.attempts, record.deliveries) == (JobState.SCHEDULED, 0, 0)
        await queue.cancel("x")


async def test_a_lifespan_that_fails_ends_the_worker(queue: zqueue.Queue) -> None:
    """Before: nothing is claimed. After: the error comes out of `run`, and all is settled."""

    @contextlib.asynccontextmanager
    async def fails_before(worker: zqueue.Worker) -> AsyncIterator[None]:
        fail("before")
        yield

    @contextlib.asynccontextmanager
    async def fails_after(worker: zqueue.Worker) -> AsyncIterator[None]:
        yield
        raise ValueError("after")

    ran: list[str] = []
    await queue.enqueue(0, id="x")
    with pytest.raises(ValueError, match="before"):
        await zqueue.Worker(queue, lambda job: ran.append(job.id), lifespan=fails_before).run(burst=True)
    record = await queue.get("x")
    assert record is not None
    assert (ran, record.state, record.deliveries) == ([], JobState.SCHEDULED, 0)
    with pytest.raises(ValueError, match="after"):
        await zqueue.Worker(queue, lambda job: ran.append(job.id), lifespan=fails_after).run(burst=True)
    assert (ran, await queue.get("x")) == (["x"], None)
    assert [each for each in threading.enumerate() if each.name == "zqueue leases"] == []


async def test_a_worker_stopped_while_it_begins_claims_nothing(queue: zqueue.Queue) -> None:
    """A stop that comes while the lifespan begins is heeded, and the lifespan ends in order."""
    log = Log()
    await queue.enqueue(0, id="x")

    @contextlib.asynccontextmanager
    async def span(worker: zqueue.Worker) -> AsyncIterator[None]:
        worker.stop()
        log.events.append("begin")
        yield
        log.events.append("end")

    ran: list[str] = []
    await asyncio.wait_for(zqueue.Worker(queue, lambda job: ran.append(job.id), lifespan=span).run(), 10)
    assert (ran, log.events) == ([], ["begin", "end"])


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_middleware_wraps_each_run_the_first_outermost(queue: zqueue.Queue, kind: str) -> None:
    """In the order they were given, around handlers in the loop and in threads alike; the result goes through them."""
    log = Log()

    async def doubled(job: zqueue.Job, call: Any) -> Any:
        return 2 * await call(job)

    async def handler(job: zqueue.Job) -> int:
        log.events.append("run")
        assert zqueue.current_job() is job
        return 21

    def in_thread(job: zqueue.Job) -> int:
        log.events.append("run")
        return 21

    (job,) = await queue.enqueue_many([zqueue.NewJob(0, keep_done=60)])
    middleware = [log.middleware("a"), doubled, log.middleware("b")]
    worker = zqueue.Worker(queue, handler if kind == "async" else in_thread, middleware=middleware)
    await worker.run(burst=True)
    assert log.events == ["a>", "b>", "run", "<b", "<a"]
    assert await job.result(timeout=5) == 42


async def test_what_a_middleware_raises_ends_the_run(queue: zqueue.Queue) -> None:
    """An error, a snooze, a burial: as if the handler had raised it; one that swallows an error has done the job."""
    ran: list[str] = []

    async def around(job: zqueue.Job, call: Any) -> Any:
        if job.payload == "snooze":
            raise zqueue.Snooze(zqueue.every(60).interval)
        if job.payload == "bury":
            raise zqueue.Bury("not ours")
        if job.payload == "swallow":
            with contextlib.suppress(ValueError):
                await call(job)
            return None
        return await call(job)

    async def handler(job: zqueue.Job) -> None:
        ran.append(job.id)
        raise ValueError("no")

    kinds = ("snooze", "bury", "swallow", "fail")
    await queue.enqueue_many([zqueue.NewJob(kind, id=kind, retry=zqueue.Retry(1)) for kind in kinds])
    await zqueue.Worker(queue, handler, middleware=[around]).run(burst=True)
    records = {kind: await queue.get(kind) for kind in kinds}
    seen = {kind: record and (record.state, record.attempts, record.error) for kind, record in records.items()}
    assert seen == {
        "snooze": (JobState.SCHEDULED, 0, None),
        "bury": (JobState.DEAD, 1, "not ours"),
        "swallow": None,
        "fail": (JobState.DEAD, 1, "ValueError: no"),
    }
    assert sorted(ran) == ["fail", "swallow"]


async def test_middleware_hears_of_timeouts_and_cancellations(queue: zqueue.Queue) -> None:
    """A timeout counts the middleware in, and whatever ends a run early passes through it."""
    log = Log()

    async def handler(job: zqueue.Job) -> None:
        log.events.append(f"run {job.id}")
        await asyncio.sleep(60)

    worker = zqueue.Worker(queue, handler, lease=0.3, middleware=[log.middleware("m")])
    async with working(worker):
        await queue.enqueue(0, id="late", timeout=0.05, retry=zqueue.Retry(1))
        await wait_until(lambda: log.events == ["m>", "run late", "<m"])
        await queue.enqueue(0, id="gone")
        await wait_until(lambda: log.events[3:] == ["m>", "run gone"])
        await queue.cancel("gone")
        await wait_until(lambda: log.events[3:] == ["m>", "run gone", "<m"])


async def test_a_job_of_an_unknown_name_waits_for_a_newer_worker(
    queue: zqueue.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """An older program gives it back, again and again, at no cost; as soon as a newer one runs, it takes it."""
    got: list[tuple[str, int, int]] = []

    async def handler(job: zqueue.Job) -> None:
        got.append((job.id, job.attempt, job.deliveries))

    await queue.enqueue(0, id="x", name="new")
    async with working(zqueue.Worker(queue, {"old": handler})):
        await wait_until(lambda: "'x' is for 'new', which this worker does not know" in caplog.text)
        await wait_until(lambda: queue_is_quiet(caplog))
        async with working(zqueue.Worker(queue, {"old": handler, "new": handler})):
            await wait_until(lambda: got == [("x", 1, 1)], 20)
    assert await queue.get("x") is None


def queue_is_quiet(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether what was said of the unknown name was said once: the job does not go in circles."""
    return len([record for record in caplog.records if "does not know" in record.getMessage()]) == 1


def test_several_workers_are_one_program(valkey: Server) -> None:
    """`run` works on several queues until a signal, ends all in order, and leaves no connection and no thread."""
    log = Log()
    queues = [zqueue.Queue(unique_name(), valkey.url) for _ in range(3)]

    async def handler(job: zqueue.Job) -> None:
        log.events.append(job.payload)
        if len([each for each in log.events if each not in ("begin", "end, 0 leased")]) == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    async def enqueue() -> None:
        for n, queue in enumerate(queues):
            async with queue:
                await queue.enqueue_many([zqueue.NewJob(f"{n}{letter}") for letter in "ab"])

    async def clients() -> int:
        text = (await ask_server(zqueue.Queue(unique_name(), valkey.url), "CLIENT", "LIST")).decode()
        return len([line for line in text.splitlines() if "name=zqueue" in line])

    asyncio.run(enqueue())
    before = asyncio.run(clients())
    zqueue.run(*(zqueue.Worker(queue, handler, lifespan=log.lifespan()) for queue in queues))
    assert sorted(log.events) == ["0a", "0b", "1a", "1b", "2a", "2b", *["begin"] * 3, *["end, 0 leased"] * 3]
    assert [each for each in threading.enumerate() if each.name.startswith("zqueue leases")] == []
    assert asyncio.run(clients()) == before


def test_a_worker_that_cannot_work_ends_the_program(valkey: Server) -> None:
    """One of several workers cannot start: the others give back what they have, and the error comes out of `run`."""
    good, bad = zqueue.Queue(unique_name(), valkey.url), zqueue.Queue(unique_name(), valkey.url)
    cancelled: list[str] = []

    async def handler(job: zqueue.Job) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(job.id)
            raise

    @contextlib.asynccontextmanager
    async def fails(worker: zqueue.Worker) -> AsyncIterator[None]:
        await asyncio.sleep(0.3)
        fail("no database")
        yield

    async def look() -> Any:
        async with good:
            return await good.get("x")

    async def enqueue() -> None:
        async with good:
            await good.enqueue(0, id="x")

    asyncio.run(enqueue())
    with pytest.raises(ExceptionGroup) as caught:
        zqueue.run(zqueue.Worker(good, handler), zqueue.Worker(bad, print, lifespan=fails))
    assert [str(each) for each in caught.value.exceptions] == ["no database"]
    record = asyncio.run(look())
    assert (cancelled, record.state, record.attempts, record.deliveries) == (["x"], JobState.SCHEDULED, 0, 0)
