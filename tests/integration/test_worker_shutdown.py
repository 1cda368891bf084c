"""How a worker ends: in order, at once, cancelled, or with its whole loop; and what becomes of its jobs."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from typing import Any

import pytest

import zqueue
from tests.asking import ask_server, lease_ends_us, until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue.embedded import Server

FRESH = (zqueue.JobState.SCHEDULED, 0, 0, None)
"""A job that never ran: state, failed attempts, deliveries, error."""


async def seen(queue: zqueue.Queue, job_id: str) -> Any:
    """What matters about a job here; None when it is gone."""
    job = await queue.get(job_id)
    return None if job is None else (job.state, job.attempts, job.deliveries, job.error)


class Handler:
    """A handler that waits, and says when it started and how it ended."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.go_on = asyncio.Event()

    async def __call__(self, job: zqueue.Job) -> None:
        """Wait to be let go, or to be cancelled."""
        self.started.append(job.id)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.append(job.id)
            raise
        self.ended.append(job.id)

    async def has_started(self, count: int) -> None:
        """Wait until so many runs have started."""
        await wait_until(lambda: len(self.started) == count, what=f"{count} runs started")


def quiet(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged that should worry somebody."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_stop_lets_jobs_end_and_claims_no_more(queue: zqueue.Queue, caplog: pytest.LogCaptureFixture) -> None:
    """A stopped worker finishes what runs, renewing its lease meanwhile, and leaves what is due to others."""
    handler = Handler()
    await queue.enqueue("x", id="x")
    worker = zqueue.Worker(queue, handler, lease=0.3)
    task = asyncio.create_task(worker.run())
    await handler.has_started(1)

    worker.stop()
    await queue.enqueue("y", id="y")
    before = await lease_ends_us(queue)

    async def two_leases_later() -> bool:
        return (await lease_ends_us(queue))["x"] > before["x"] + 600_000

    await until(two_leases_later)
    assert not task.done()
    handler.go_on.set()
    await asyncio.wait_for(task, 10)

    assert (await seen(queue, "x"), await seen(queue, "y"), handler.ended) == (None, FRESH, ["x"])
    assert quiet(caplog) == []


async def test_runs_that_end_one_by_one_end_the_drain(queue: zqueue.Queue) -> None:
    """A drain ends with the last run, also when it ends while the one before it is being settled."""
    turns = [asyncio.Event() for _ in range(50)]
    started: list[int] = []

    async def handler(job: zqueue.Job) -> None:
        started.append(job.payload)
        await turns[job.payload].wait()

    await queue.enqueue_many([zqueue.NewJob(number) for number in range(50)])
    worker = zqueue.Worker(queue, handler, drain=60)
    task = asyncio.create_task(worker.run())
    await wait_until(lambda: len(started) == 50)
    worker.stop()
    for turn in turns:
        turn.set()
        await asyncio.sleep(0)

    await asyncio.wait_for(task, 10)

    assert (await queue.stats()).leased == 0


@pytest.mark.parametrize("end", ["drain is over", "stopped twice", "cancelled", "cancelled twice"])
async def test_what_does_not_end_is_given_back(queue: zqueue.Queue, end: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a leaving worker cannot finish is cancelled and given back, due as before, with nothing counted."""
    handler = Handler()
    jobs = await queue.enqueue_many([zqueue.NewJob(0, id="a"), zqueue.NewJob(0, id="b")])
    worker = zqueue.Worker(queue, handler, drain=0.1 if end == "drain is over" else 60)
    task = asyncio.create_task(worker.run())
    await handler.has_started(2)
    began = time.monotonic()

    if "cancelled" in end:
        task.cancel()
    else:
        worker.stop()
    if end == "stopped twice":
        worker.stop()
    if end == "cancelled twice":
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task], timeout=20)

    assert task.cancelled() == ("cancelled" in end)
    assert time.monotonic() - began < 10  # and not the drain of a minute
    assert (handler.ended, sorted(handler.cancelled)) == ([], ["a", "b"])
    assert [await seen(queue, "a"), await seen(queue, "b")] == [FRESH, FRESH]
    assert [job.due_us for job in await queue.jobs(zqueue.JobState.SCHEDULED)] == [job.due_us for job in jobs]
    assert quiet(caplog) == []
    assert "zqueue leases" not in [thread.name for thread in threading.enumerate()]


async def test_a_job_given_back_runs_elsewhere_as_if_new(queue: zqueue.Queue) -> None:
    """After many workers that left while running it, a job still is on its first delivery and attempt."""
    got: list[tuple[int, int]] = []

    async def handler(job: zqueue.Job) -> None:
        got.append((job.deliveries, job.attempt))
        await asyncio.Event().wait()

    await queue.enqueue("x", id="x")
    while len(got) < 7:  # more than a job may be delivered
        before = len(got)
        worker = zqueue.Worker(queue, handler, max_deliveries=5)
        task = asyncio.create_task(worker.run())
        await wait_until(functools.partial(lambda count: len(got) > count, before))
        worker.stop()
        worker.stop()
        await asyncio.wait_for(task, 10)

    assert got == [(1, 1)] * 7


@pytest.mark.parametrize("steps", range(0, 40, 2))
async def test_cancelling_at_any_moment_leaves_no_orphan(queue: zqueue.Queue, steps: int) -> None:
    """Wherever a cancellation hits a worker, be it with a claim in flight, no job stays leased."""
    handler = Handler()
    await queue.enqueue("x", id="x")
    task = asyncio.create_task(zqueue.Worker(queue, handler).run())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=20)

    assert task.cancelled()
    assert await seen(queue, "x") == FRESH


async def test_a_tick_that_is_cancelled_gives_back(queue: zqueue.Queue) -> None:
    """Cancelling a single step gives its job back too."""
    handler = Handler()
    await queue.enqueue("x", id="x")
    task = asyncio.create_task(zqueue.Worker(queue, handler).tick())
    await handler.has_started(1)
    task.cancel()
    await asyncio.wait([task], timeout=20)

    assert (task.cancelled(), handler.cancelled, await seen(queue, "x")) == (True, ["x"], FRESH)


def test_a_loop_that_is_taken_down_gives_back(valkey: Server, caplog: pytest.LogCaptureFixture) -> None:
    """When `asyncio.run` ends with a worker left in the background, what ran has failed nothing."""
    name = unique_name()

    async def program() -> None:
        queue = zqueue.Queue(name, valkey.url, retry=zqueue.Retry(1))
        handler = Handler()
        await queue.enqueue_many([zqueue.NewJob(0, id=job_id) for job_id in ids])
        left_behind.append(asyncio.create_task(zqueue.Worker(queue, handler).run()))
        await handler.has_started(len(ids))
        await queue.close()

    async def afterwards() -> Any:
        async with zqueue.Queue(name, valkey.url) as queue:
            return [await seen(queue, job_id) for job_id in ids]

    ids = [f"x{number}" for number in range(30)]  # some of them hear of it before the worker does
    left_behind: list[asyncio.Task[None]] = []
    asyncio.run(program())

    assert asyncio.run(afterwards()) == [FRESH] * 30
    assert quiet(caplog) == []


async def test_a_handler_may_shield_what_it_must_finish(queue: zqueue.Queue) -> None:
    """After the drain a run that does not heed its cancellation is waited for, and settled as it ends."""
    let_go, started = asyncio.Event(), asyncio.Event()

    async def handler(job: zqueue.Job) -> None:
        started.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                cancelled.append(job.id)

    cancelled: list[str] = []
    await queue.enqueue("x", id="x")
    worker = zqueue.Worker(queue, handler, drain=0)
    task = asyncio.create_task(worker.run())
    await started.wait()
    worker.stop()
    await wait_until(lambda: cancelled == ["x"])
    assert not task.done()
    let_go.set()
    await asyncio.wait_for(task, 10)

    assert await seen(queue, "x") is None


async def test_at_once_waits_for_nobody(queue: zqueue.Queue) -> None:
    """A second stop gives back even what does not heed its cancellation; its late end writes nothing."""
    let_go, started = asyncio.Event(), asyncio.Event()
    ended = asyncio.Event()

    async def handler(job: zqueue.Job) -> None:
        started.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        ended.set()

    await queue.enqueue("x", id="x")
    worker = zqueue.Worker(queue, handler)
    task = asyncio.create_task(worker.run())
    await started.wait()
    worker.stop()
    worker.stop()
    await asyncio.wait_for(task, 10)
    assert await seen(queue, "x") == FRESH
    let_go.set()
    await ended.wait()

    assert await seen(queue, "x") == FRESH


async def test_a_thread_is_given_back_while_it_runs(queue: zqueue.Queue) -> None:
    """A sync handler cannot be cancelled: stopping at once gives its job back and leaves the thread to itself."""
    let_go, started = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def handler(job: zqueue.Job) -> None:
        loop.call_soon_threadsafe(started.set)
        let_go.wait()

    await queue.enqueue("x", id="x")
    worker = zqueue.Worker(queue, handler)
    task = asyncio.create_task(worker.run())
    await started.wait()
    worker.stop()
    worker.stop()
    try:
        await asyncio.wait_for(task, 10)
        assert await seen(queue, "x") == FRESH
    finally:
        let_go.set()


async def test_a_worker_stopped_before_it_runs_does_not_run(queue: zqueue.Queue) -> None:
    """`stop` before `run` is heeded once; the worker may run again."""
    got: list[zqueue.Job] = []
    await queue.enqueue("x", id="x")
    worker = zqueue.Worker(queue, got.append)

    worker.stop()
    await worker.run()
    assert (got, await seen(queue, "x")) == ([], FRESH)
    assert "zqueue leases" not in [thread.name for thread in threading.enumerate()]

    await worker.run(burst=True)
    assert [job.id for job in got] == ["x"]


async def test_a_worker_leaves_no_connection_and_no_thread(queue: zqueue.Queue) -> None:
    """A worker that has ended has closed all it opened."""
    before = await _connections(queue)

    async def has_run() -> bool:
        return await queue.get("x") is None

    async def all_closed() -> bool:
        return await _connections(queue) == before

    async with working(zqueue.Worker(queue, lambda job: None)):
        await queue.enqueue("x", id="x")
        await until(has_run)
        assert await _connections(queue) > before
    await queue.close()
    await until(all_closed)

    names = [thread.name for thread in threading.enumerate()]
    assert [each for each in names if each.startswith("zqueue leases")] == []


async def _connections(queue: zqueue.Queue) -> int:
    """Connections to the server, the one that asks included."""
    return len((await ask_server(queue, "CLIENT", "LIST")).splitlines())


async def test_another_format_stops_a_worker(queue: zqueue.Queue) -> None:
    """A worker refuses keys in a format that it does not read, and leaves nothing running."""
    await ask_server(queue, "HSET", f"{queue.shards[0].keys.prefix}meta", "format", "99")

    with pytest.raises(zqueue.InvalidJob, match="format"):
        await zqueue.Worker(queue, lambda job: None).run()

    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "zqueue sleeper"] == []
