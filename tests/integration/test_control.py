"""Operating a queue that is at work: pause and resume, purge, requeue, other due times, pages of jobs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import zqueue
from tests.asking import ask_server, calls, until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue import JobState, NewJob, Priority
from zqueue.embedded import Server

pytestmark = pytest.mark.xdist_group("servers")

AT = datetime(2040, 1, 1, tzinfo=UTC)
SOON_S = 1.0
"""Well under the 5 s after which a lost wake-up heals by itself."""


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
async def queue(request: pytest.FixtureRequest, valkey: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue of the test's own."""
    async with zqueue.Queue(unique_name(), valkey.url, shards=request.param, keep_done=60) as fresh:
        yield fresh


class Noting:
    """A handler that notes when each job started; one whose payload is an event waits for it."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.go_on = asyncio.Event()

    async def __call__(self, job: zqueue.Job) -> None:
        """Note it."""
        self.at[job.id] = time.monotonic()
        if job.payload == "wait":
            await self.go_on.wait()
        if job.payload == "bury":
            raise zqueue.Bury("no")

    async def has_started(self, *ids: str, within: float = 10.0) -> None:
        """Wait until these have started, and no others."""
        await wait_until(lambda: self.at.keys() == set(ids), within, f"{ids} started, not {list(self.at)}")


async def idle(queue: zqueue.Queue, worker: zqueue.Worker) -> None:
    """Wait until a worker sleeps on every shard."""
    await wait_until(lambda: worker.last_claim is not None)
    await asyncio.sleep(0.1)  # its sleepers are connecting


async def test_pause_and_resume(queue: zqueue.Queue) -> None:
    """Paused, nothing new starts, on no worker, and what runs runs on; resumed, all that is due starts at once."""
    noting = Noting()
    workers = [zqueue.Worker(queue, noting) for _ in range(2)]
    ids = [f"j{n}" for n in range(10)]
    async with working(*workers):
        await queue.enqueue("wait", id="running")
        await noting.has_started("running")
        await queue.pause()
        await queue.pause()
        await queue.enqueue_many([NewJob(0, id=each, delay=0.05) for each in ids])
        await asyncio.sleep(0.3)  # nothing may start
        assert noting.at.keys() == {"running"}
        stats = await queue.stats()
        assert (stats.paused, stats.due, stats.leased) == (True, 10, 1)
        noting.go_on.set()
        assert await queue.result("running", timeout=10) is None
        assert (await queue.stats()).paused
        began = time.monotonic()
        await queue.resume()
        await noting.has_started("running", *ids)
        assert max(noting.at.values()) - began < SOON_S
    assert not (await queue.stats()).paused


async def test_a_paused_queue_is_idle(tmp_path: Path) -> None:
    """Workers of a paused queue with work to do ask for nothing, and schedules make no jobs; a burst ends."""
    with Server(tmp_path / "valkey") as alone:
        async with zqueue.Queue(unique_name(), alone.url) as queue:
            noting = Noting()
            await queue.recur("tick", zqueue.every(0.1), 0)
            await queue.pause()
            await queue.enqueue_many([NewJob(0) for _ in range(300)])
            await zqueue.Worker(queue, noting).run(burst=True)
            async with working(worker := zqueue.Worker(queue, noting)):
                await idle(queue, worker)
                before = (await calls(queue))["evalsha"]
                await asyncio.sleep(1.5)
                assert (await calls(queue))["evalsha"] - before <= 2
            assert (noting.at, (await queue.stats()).scheduled) == ({}, 300)
            await queue.unrecur("tick")


async def test_a_job_moved_nearer_wakes_an_idle_worker_at_once(queue: zqueue.Queue) -> None:
    """Workers that sleep until tomorrow start a job as soon as it is moved to now, or to a moment that comes soon."""
    noting = Noting()
    await queue.enqueue_many([NewJob(0, id=f"j{n}", delay=86_400) for n in range(6)])
    async with working(worker := zqueue.Worker(queue, noting, concurrency=1)):
        await idle(queue, worker)
        for n in range(6):
            delay = 0.2 * (n % 2)
            began = time.monotonic()
            assert await queue.reschedule(f"j{n}", delay=delay)
            await noting.has_started(*(f"j{m}" for m in range(n + 1)), within=delay + SOON_S)
            assert noting.at[f"j{n}"] - began >= delay


async def test_a_job_moved_away_does_not_start(queue: zqueue.Queue) -> None:
    """A worker that waits for it lets it go, and starts it at its new time; one that has none is left alone."""
    noting = Noting()
    async with working(zqueue.Worker(queue, noting)):
        await queue.enqueue(0, id="x", delay=0.3)
        await queue.enqueue(0, id="never", delay=0.3)
        assert await queue.reschedule("x", delay=0.8)
        assert await queue.reschedule("never", at=AT)
        began = time.monotonic()
        await noting.has_started("x")
        assert noting.at["x"] - began > 0.7
    job = await queue.get("never")
    assert job is not None
    assert job.due_at == AT


async def test_what_can_be_rescheduled(queue: zqueue.Queue) -> None:
    """Waiting jobs alone: not one that runs, is done or dead, or is not there. One that failed keeps its attempts."""
    noting = Noting()
    jobs = [NewJob("wait", id="runs"), NewJob(0, id="done"), NewJob("bury", id="dead")]
    await queue.enqueue_many(jobs)
    async with working(zqueue.Worker(queue, noting)):
        await until(lambda: _counts(queue, leased=1, done=1, dead=1))
        for job_id in ("runs", "done", "dead", "none"):
            assert not await queue.reschedule(job_id, delay=0)
        noting.go_on.set()


async def _counts(queue: zqueue.Queue, *, leased: int, done: int, dead: int) -> bool:
    stats = await queue.stats()
    return (stats.leased, stats.done, stats.dead) == (leased, done, dead)


async def test_requeue(queue: zqueue.Queue) -> None:
    """A dead job runs again, at once, with all its attempts; another one, and the same once more, are no dead ones."""
    runs: list[tuple[str, int]] = []

    async def handler(job: zqueue.Job) -> None:
        runs.append((job.id, job.attempt))
        if len(runs) <= 2:
            raise ValueError("not yet")

    async with working(worker := zqueue.Worker(queue, handler)):
        await queue.enqueue(0, id="x", retry=zqueue.Retry(2, zqueue.fixed(0)))
        await until(lambda: _counts(queue, leased=0, done=0, dead=1))
        await idle(queue, worker)
        dead = await queue.get("x")
        assert dead is not None
        assert (dead.attempts, dead.error) == (2, "ValueError: not yet")
        began = time.monotonic()
        assert await queue.requeue("x")
        await until(lambda: _counts(queue, leased=0, done=1, dead=0))
        assert time.monotonic() - began < SOON_S
        assert [await queue.requeue("x"), await queue.requeue("none")] == [False, False]
    assert runs == [("x", 1), ("x", 2), ("x", 1)]


async def test_purge(queue: zqueue.Queue) -> None:
    """All jobs of one state, in steps, and none of another; or those that are old enough; not those that run."""
    noting = Noting()
    await queue.enqueue_many([NewJob(0, id=f"done{n}") for n in range(150)])
    await queue.enqueue_many([NewJob("bury", id=f"dead{n}") for n in range(250)])
    await zqueue.Worker(queue, noting).run(burst=True)
    await queue.enqueue_many([NewJob(0, id=f"late{n}", at=datetime(2020, 1, 1, tzinfo=UTC)) for n in range(5)])
    await queue.enqueue_many([NewJob(0, id=f"later{n}", at=AT, priority=Priority(n % 3)) for n in range(350)])

    assert await queue.purge(JobState.DEAD, older_than=timedelta(days=1)) == 0
    assert await queue.purge(JobState.SCHEDULED, older_than=timedelta(days=1)) == 5
    assert await _counts(queue, leased=0, done=150, dead=250)
    assert await queue.purge(JobState.DEAD, older_than=0) == 250
    assert await queue.purge(JobState.SCHEDULED) == 350
    assert await queue.purge(JobState.DONE) == 150
    assert await queue.purge(JobState.DONE) == 0
    with pytest.raises(zqueue.InvalidJob, match=r"^state must be one of scheduled, done, dead, not "):
        await queue.purge(JobState.LEASED)
    for shard in queue.shards:
        keys = await ask_server(queue, "KEYS", f"{shard.keys.prefix}*")
        left = {key.decode().removeprefix(shard.keys.prefix).partition(":")[0] for key in keys}
        assert left <= {"meta", "call", "workers", "wake"}


async def test_pages_over_shards(queue: zqueue.Queue) -> None:
    """Page by page, each job of a state once, in the order of the whole queue, whatever the size of a page."""
    noting = Noting()
    await queue.enqueue_many([NewJob("bury", id=f"dead{n:03}") for n in range(30)])
    await queue.enqueue_many([NewJob(0, id=f"done{n:03}") for n in range(30)])
    await zqueue.Worker(queue, noting).run(burst=True)
    waiting = [NewJob(n, id=f"x{n:03}", at=AT + timedelta(seconds=n % 7), priority=Priority(n % 3)) for n in range(300)]
    await queue.enqueue_many(waiting)
    expected = sorted(waiting, key=lambda job: (job.priority, job.at, job.id))

    for size in (1, 7, 100, 1000):
        seen: list[zqueue.JobRecord] = []
        while page := await queue.jobs(JobState.SCHEDULED, size, seen[-1] if seen else None):
            assert len(page) <= size
            seen += page
        assert [job.id for job in seen] == [job.id for job in expected]
    for state in (JobState.DEAD, JobState.DONE):
        whole = await queue.jobs(state)
        assert [job.ended_at for job in whole] == sorted(job.ended_at for job in whole if job.ended_at is not None)
        seen = []
        while page := await queue.jobs(state, 4, seen[-1] if seen else None):
            seen += page
        assert (seen, len(seen)) == (whole, 30)


async def test_pages_end_with_the_parked_jobs(valkey: Server) -> None:
    """Jobs that wait for the limit of their group come last, by group and then as they will run, page by page."""
    async with zqueue.Queue(unique_name(), valkey.url) as queue:
        for group in ("b", "a"):
            await queue.set_limit(group, rate=1, per=3600)
            jobs = [NewJob(n, id=f"{group}{n:03}", group=group, priority=Priority((n + 1) % 3)) for n in range(60)]
            await queue.enqueue_many(jobs)
        await zqueue.Worker(queue, Noting()).run(burst=True)
        await queue.enqueue_many([NewJob(0, id=f"free{n}", at=AT) for n in range(3)])
        stats = await queue.stats()
        assert (stats.scheduled, stats.parked, stats.due) == (121, 118, 118)

        whole = await queue.jobs(JobState.SCHEDULED, 1000)
        assert [(job.id, job.parked) for job in whole[:3]] == [(f"free{n}", False) for n in range(3)]
        rest = [(job.group or "", job.priority, job.due_us or 0, job.id) for job in whole[3:]]
        assert (rest, len(rest)) == (sorted(rest), 118)
        assert all(job.parked and job.state is JobState.SCHEDULED for job in whole[3:])
        for size in (1, 50):
            seen: list[zqueue.JobRecord] = []
            while page := await queue.jobs(JobState.SCHEDULED, size, seen[-1] if seen else None):
                seen += page
            assert seen == whole
        assert await queue.purge(JobState.SCHEDULED, older_than=0) == 0, "parked jobs are left alone"
        assert await queue.purge(JobState.SCHEDULED) == 121


async def test_jobs_due_at_one_instant_run_in_the_order_they_were_enqueued(valkey: Server) -> None:
    """Thousands for the same microsecond, enqueued before it, run one by one in their order, each once.

    ``ZQUEUE_TEST_ORDER=20000`` makes them as many as that; it takes 20 s on a quiet machine.
    """
    count = int(os.environ.get("ZQUEUE_TEST_ORDER", "2000"))
    ran: list[int] = []

    async def handler(job: zqueue.Job) -> None:
        ran.append(job.payload)

    async with (
        zqueue.Queue(unique_name(), valkey.url) as queue,
        working(zqueue.Worker(queue, handler, concurrency=1)),
    ):
        await queue.enqueue(-1)
        await wait_until(lambda: ran == [-1])
        at = queue.now() + timedelta(seconds=1 + count / 10_000)
        for first in range(0, count, 1000):  # several calls, as from a program's life
            await queue.enqueue_many([NewJob(n, at=at) for n in range(first, first + 1000)])
        await wait_until(lambda: len(ran) == count + 1, 100)
    assert ran == list(range(-1, count))
