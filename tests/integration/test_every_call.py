"""Every public call, on each kind of server, on a Cluster and behind sentinels, with one shard and with three."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import zqueue
from tests.conftest import Servers, unique_name
from tests.integration.working import working
from tests.queue_state import faults
from zqueue import (
    Bury,
    DuplicateJob,
    Job,
    JobFailed,
    JobNotFound,
    JobState,
    NewJob,
    Priority,
    Queue,
    Retry,
    RetryLater,
    Snooze,
    Stats,
    Worker,
    blocking,
    every,
    fixed,
)

pytestmark = pytest.mark.xdist_group("servers")

IDS = [f"j{n}" for n in range(30)]
"""Enough for each of three shards to have some."""


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
async def queue(request: pytest.FixtureRequest, any_topology: Servers) -> AsyncIterator[Queue]:
    """A queue of the test's own; its keys are checked when the test ends."""
    async with Queue(unique_name(), any_topology.url, shards=request.param, keep_done=60) as fresh:
        yield fresh
        for shard in fresh.shards:
            link = fresh.link(shard)
            try:
                assert await faults(link, shard.keys) == []
            finally:
                await link.close()


async def _fill(queue: Queue, **options: Any) -> None:
    """Enqueue a job for each of `IDS`."""
    jobs = await queue.enqueue_many(NewJob(n, each, **options) for n, each in enumerate(IDS))
    assert [job.id for job in jobs] == IDS


async def _ids(queue: Queue, state: JobState) -> set[str]:
    return {job.id for job in await queue.jobs(state)}


async def test_enqueue_and_conflicts(queue: Queue) -> None:
    """Jobs of every option; an id that is taken keeps its job, gives way, or is refused."""
    at = datetime(2040, 1, 1, tzinfo=UTC)
    await _fill(queue, at=at, priority=Priority.HIGH, retry=Retry(2, fixed(1)), timeout=9, name="n", group="g")
    assert (await queue.enqueue("other", id="j1")).created is False
    with pytest.raises(DuplicateJob):
        await queue.enqueue("other", id="j1", on_conflict="raise")
    assert (await queue.enqueue("new", id="j1", delay=3600, on_conflict="replace")).created
    replaced, kept = await queue.get("j1"), await queue.get("j2")
    assert replaced is not None
    assert kept is not None
    assert (replaced.payload, replaced.group, kept.payload, kept.group, kept.due_at) == ("new", None, 2, "g", at)
    assert await queue.missing(["none", *IDS]) == ["none"]


async def test_moving_and_cancelling(queue: Queue) -> None:
    """A waiting job is moved, and taken away; pages follow each other."""
    await _fill(queue, delay=3600)
    assert [await queue.reschedule(each, delay=7200) for each in (*IDS[:10], "none")] == [True] * 10 + [False]
    assert [await queue.cancel(each) for each in (*IDS[:5], "none")] == [True] * 5 + [False]
    first = await queue.jobs(JobState.SCHEDULED, limit=10)
    rest = await queue.jobs(JobState.SCHEDULED, limit=100, after=first[-1])
    dues = [job.due_us or 0 for job in first + rest]
    assert (len(first), len(rest), dues == sorted(dues)) == (10, 15, True)
    assert {job.id for job in first + rest} == set(IDS[5:])
    assert await queue.purge(JobState.SCHEDULED) == 25


async def test_running(queue: Queue) -> None:
    """Success, retry, snooze and burial; results, progress, and what is dead runs again."""
    runs: dict[str, int] = {}
    seen: list[tuple[JobState, Any]] = []

    async def handler(job: Job[Any]) -> Any:
        runs[job.id] = runs.get(job.id, 0) + 1
        if job.id == "j0":
            raise Bury("never")
        if job.id == "j1" and runs[job.id] == 1:
            raise RetryLater(timedelta(0))
        if job.id == "j2" and runs[job.id] == 1:
            raise Snooze(timedelta(0))
        await job.progress({"half": job.payload})
        record = await queue.get(job.id)
        assert record is not None
        seen.append((record.state, record.progress))
        return job.payload * 2

    await _fill(queue)
    async with working(Worker(queue, handler)):
        results = [await queue.result(each, timeout=20) for each in IDS[1:]]
        with pytest.raises(JobFailed, match="never"):
            await queue.result("j0", timeout=20)
    assert results == [2 * n for n in range(1, len(IDS))]
    assert runs == dict.fromkeys(IDS, 1) | {"j1": 2, "j2": 2}
    record = await queue.get("j9")
    assert record is not None
    assert (record.state, record.result) == (JobState.DONE, 18)
    assert (JobState.LEASED, {"half": 9}) in seen
    assert await _ids(queue, JobState.DEAD) == {"j0"}
    assert [await queue.requeue(each) for each in ("j0", "j1")] == [True, False]
    assert await Worker(queue, handler).tick() == 1
    assert await queue.purge(JobState.DEAD, older_than=60) == 0
    assert await queue.purge(JobState.DONE) == len(IDS) - 1
    with pytest.raises(JobNotFound):
        await queue.result("j9")


async def test_waiting_for_a_result(queue: Queue) -> None:
    """Who awaits a result hears of it when the job ends, and of a timeout before."""
    job = await queue.enqueue(20, delay=0.2)
    with pytest.raises(TimeoutError):
        await job.result(timeout=0.05)

    async def double(job: Job[Any]) -> int:
        return int(job.payload) * 2

    async with working(Worker(queue, double)):
        assert await job.result(timeout=20) == 40


async def test_pausing_and_counting(queue: Queue) -> None:
    """A paused queue keeps its jobs; its sizes are those of all shards."""
    done = asyncio.Event()

    async def handler(job: Job[Any]) -> None:
        if job.id == IDS[-1]:
            done.set()

    await queue.pause()
    await _fill(queue, keep_done=0)
    assert await Worker(queue, handler).tick() == 0
    stats = await queue.stats()
    assert (stats.scheduled, stats.due, stats.paused) == (len(IDS), len(IDS), True)
    await queue.resume()
    async with working(Worker(queue, handler)):
        await asyncio.wait_for(done.wait(), 20)
        assert (await queue.stats()).workers == 1
    stats = await queue.stats()
    sizes = (stats.scheduled, stats.due, stats.parked, stats.leased, stats.done, stats.dead, stats.paused)
    assert isinstance(stats, Stats)
    assert sizes == (0, 0, 0, 0, 0, 0, False)
    assert abs(queue.now() - datetime.now(UTC)) < timedelta(minutes=5)


async def test_recurring(queue: Queue) -> None:
    """A schedule makes its jobs, says so, and ends."""
    fired = asyncio.Event()
    got = []

    async def handler(job: Job[Any]) -> None:
        got.append((job.payload, job.name, job.id))
        fired.set()

    slot = await queue.recur("daily", every(timedelta(days=1)), "tick", after=queue.now() - timedelta(days=2), task="t")
    assert [(each.name, each.next_at, each.payload, each.task) for each in await queue.recurring()] == [
        ("daily", slot, "tick", "t")
    ]
    async with working(Worker(queue, {"t": handler})):
        await asyncio.wait_for(fired.wait(), 20)
    ((payload, name, job_id),) = got
    assert (payload, name, job_id.startswith("daily@")) == ("tick", "t", True)
    (after,) = await queue.recurring()
    assert after.next_at > queue.now()
    assert [await queue.unrecur("daily"), await queue.unrecur("daily")] == [True, False]
    assert await queue.recurring() == []


async def test_limits(queue: Queue) -> None:
    """A group with a cap, and then without; of a queue with shards it is refused."""
    if len(queue.shards) > 1:
        with pytest.raises(zqueue.InvalidJob, match="limits are for queues of one shard"):
            await queue.set_limit("g", concurrency=2)
        return
    running, most = 0, 0

    async def handler(job: Job[Any]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    await queue.set_limit("g", concurrency=2, rate=1000, burst=1000)
    await queue.set_limit(None, rate=1000, burst=100)
    await _fill(queue, group="g")
    async with working(Worker(queue, handler)):
        for each in IDS:
            await queue.result(each, timeout=20)
    assert most == 2
    await queue.set_limit("g")
    await queue.set_limit(None)


async def test_tasks(queue: Queue) -> None:
    """A function is enqueued, run by its name, and answers."""

    @queue.task(retry=Retry(1))
    async def add(a: int, b: int) -> int:
        return a + b

    jobs = [await add.enqueue(n, b=1) for n in range(10)]
    async with working(Worker(queue)):
        assert [await job.result(timeout=20) for job in jobs] == [n + 1 for n in range(10)]


async def test_a_cancelled_run(queue: Queue) -> None:
    """The handler of a job that is cancelled hears of it at the next renewal."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(job: Job[Any]) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await queue.enqueue("x", id="a")
    async with working(Worker(queue, handler, lease=0.3)):
        await asyncio.wait_for(started.wait(), 20)
        assert await queue.cancel("a")
        await asyncio.wait_for(cancelled.wait(), 20)
    assert await queue.get("a") is None


async def test_the_blocking_twin(queue: Queue, any_topology: Servers) -> None:
    """The same calls without an event loop."""

    def calls() -> list[str]:
        with blocking.Queue(queue.name, any_topology.url, shards=len(queue.shards), keep_done=60) as twin:
            twin.enqueue_many([NewJob(n, each, delay=60) for n, each in enumerate(IDS)])
            twin.cancel("j0")
            return twin.missing(IDS)

    assert await asyncio.to_thread(calls) == ["j0"]


async def test_the_servers_life(queue: Queue) -> None:
    """Its name stays as long as its servers and its keys."""
    assert await queue.incarnation() == await queue.incarnation()
    await queue.close()
    assert (await queue.enqueue("x", delay=60)).created, "a closed queue may be used again"


def test_no_call_is_left_out() -> None:
    """Each public method of a queue is called in this file."""
    text = Path(__file__).read_text()
    inner = {"address", "ask", "ask_all", "check", "connections", "link", "shard", "tasks"}
    bound_later = {"bind"}  # does no I/O
    public = {name for name in dir(Queue) if not name.startswith("_")} - inner - bound_later
    assert [name for name in sorted(public) if f"queue.{name}" not in text] == []
