"""Limits as users meet them: rates, caps, groups and whole queues, under workers at work."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import zqueue
from tests.asking import calls, until
from tests.conftest import unique_name, wait_until
from tests.integration.limited_starts import limited_starts
from tests.integration.working import checked_queue, working
from zqueue.embedded import Server

pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture
async def queue(valkey: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue of the test's own; its keys are checked when the test ends."""
    async with checked_queue(valkey.url) as fresh:
        yield fresh


class Busy:
    """A handler that counts who is at work; its jobs end after what their payload says, or when let go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.at: dict[str, float] = {}
        self.at_work: Counter[str | None] = Counter()
        self.most: Counter[str | None] = Counter()
        self.go_on = asyncio.Event()

    async def __call__(self, job: zqueue.Job) -> None:
        """Work."""
        self.started.append(job.id)
        self.at[job.id] = time.monotonic()
        for key in (job.group, "all"):
            self.at_work[key] += 1
            self.most[key] = max(self.most[key], self.at_work[key])
        try:
            if job.payload == "wait":
                await self.go_on.wait()
            else:
                await asyncio.sleep(job.payload)
        finally:
            for key in (job.group, "all"):
                self.at_work[key] -= 1


async def empty(queue: zqueue.Queue, timeout: float = 30) -> None:
    """Wait until no job is left."""

    async def is_empty() -> bool:
        stats = await queue.stats()
        return (stats.scheduled, stats.leased) == (0, 0)

    await until(is_empty, timeout)


@pytest.mark.parametrize(("jobs", "rate"), [(25, 25), pytest.param(100, 10, marks=pytest.mark.slow)])
async def test_a_rate_spaces_jobs_and_touches_no_other(tmp_path: Path, jobs: int, rate: float) -> None:
    """A group's jobs start one by one at its rate, in order, each put aside once; free jobs behind them do not wait."""
    with Server(tmp_path / "valkey") as alone:
        seen = await limited_starts(alone.url, jobs, rate)

    assert seen.ids == [f"limited{n:05}" for n in range(jobs)]
    assert seen.limited[-1] - seen.limited[0] >= (jobs - 1) / rate - 0.05, "faster than the rate"
    assert seen.limited[-1] - seen.limited[0] < (jobs - 1) / rate + 1
    assert len(seen.free_late_s) == jobs
    assert max(seen.free_late_s) < (jobs - 1) / rate, "free jobs waited for limited ones"
    assert seen.parked == jobs - 1
    assert seen.put_back == 2 * -(-jobs // 100), "only the calls of enqueue put jobs into a lane"
    assert seen.scripts <= 4 * jobs + 20, "a claim at each slot, a settlement, and some at the beginning"


async def test_a_group_over_its_limit_costs_nothing_while_it_waits(tmp_path: Path) -> None:
    """10,000 parked jobs: until the next slot an idle worker asks for nothing."""
    with Server(tmp_path / "valkey") as alone:
        async with zqueue.Queue(unique_name(), alone.url) as queue:
            busy = Busy()
            await queue.set_limit("slow", rate=1, per=60)
            async with working(zqueue.Worker(queue, busy)):
                await queue.enqueue_many([zqueue.NewJob(0, group="slow") for _ in range(10_000)])

                async def all_parked() -> bool:
                    return (await queue.stats()).parked == 9_999

                await until(all_parked, 20)
                before = (await calls(queue)).get("evalsha", 0)
                await asyncio.sleep(1.5)
                assert (await calls(queue))["evalsha"] - before <= 2
                await queue.enqueue(0, id="free")
                await wait_until(lambda: "free" in busy.at, 1)
                assert await queue.purge(zqueue.JobState.SCHEDULED) == 9_999
            assert len(busy.started) == 2


async def test_a_high_job_of_a_limited_group_goes_first(queue: zqueue.Queue) -> None:
    """It runs at its group's next slot, before those of its group that waited longer."""
    busy = Busy()
    await queue.set_limit("g", rate=4)
    async with working(zqueue.Worker(queue, busy)):
        await queue.enqueue_many([zqueue.NewJob(0, id=f"n{n}", group="g") for n in range(4)])
        await wait_until(lambda: busy.started == ["n0"])
        await queue.enqueue(0, id="low", group="g", priority=zqueue.Priority.LOW)
        await queue.enqueue(0, id="high", group="g", priority=zqueue.Priority.HIGH)
        await empty(queue)
    assert busy.started == ["n0", "high", "n1", "n2", "n3", "low"]


async def test_a_burst_and_its_recovery(queue: zqueue.Queue) -> None:
    """So many start at once, the rest at the rate."""
    busy = Busy()
    await queue.set_limit("g", rate=20, burst=5)
    await queue.enqueue_many([zqueue.NewJob(0, id=f"{n}", group="g") for n in range(10)])
    async with working(zqueue.Worker(queue, busy)):
        await empty(queue)
    began = busy.at["0"]
    assert [busy.at[f"{n}"] - began < 0.05 for n in range(5)] == [True] * 5
    assert busy.at["9"] - began >= 5 / 20 - 0.02
    assert busy.started == [f"{n}" for n in range(10)]


@pytest.mark.parametrize("workers", [1, 3])
async def test_concurrency_of_a_group(queue: zqueue.Queue, workers: int) -> None:
    """However many workers and slots, no more of a group run at once; other jobs do not wait; slots are refilled."""
    busy = Busy()
    await queue.set_limit("g", concurrency=3)
    await queue.enqueue_many([zqueue.NewJob(0.01, group="g") for _ in range(40)])
    await queue.enqueue_many([zqueue.NewJob(0.05, id=f"free{n}") for n in range(20)])
    began = time.monotonic()
    async with working(*(zqueue.Worker(queue, busy, concurrency=50) for _ in range(workers))):
        await empty(queue)
        took = time.monotonic() - began
    assert busy.most["g"] == 3
    assert busy.most[None] > 10
    assert len(busy.started) == 60
    assert took < 3, "each end lets the next one start at once"


async def test_every_way_a_run_ends_frees_its_place(queue: zqueue.Queue) -> None:
    """Failure, snooze, burial, timeout, cancel and release: the next job of a group of one starts each time."""
    started: list[str] = []
    hang = asyncio.Event()

    async def handler(job: zqueue.Job) -> None:
        started.append(job.id)
        if job.payload == "fail":
            raise ValueError("no")
        if job.payload == "snooze" and len(started) < 7:
            raise zqueue.Snooze(zqueue.every(3600).interval)
        if job.payload == "bury":
            raise zqueue.Bury("no")
        if job.payload == "hang":
            await hang.wait()

    await queue.set_limit("g", concurrency=1)
    worker = zqueue.Worker(queue, handler, lease=0.5, drain=0)
    kinds = ["fail", "snooze", "bury", "hang", "hang", "hang", "end"]
    timeouts = [None, None, None, 0.05, None, None, None]
    jobs = [
        zqueue.NewJob(kind, id=f"{n}", group="g", retry=zqueue.Retry(1), timeout=timeout)
        for n, (kind, timeout) in enumerate(zip(kinds, timeouts, strict=True))
    ]
    await queue.enqueue_many(jobs)
    async with working(worker):
        await wait_until(lambda: started[-1:] == ["4"])
        await queue.cancel("4")
        await wait_until(lambda: started[-1:] == ["5"])
    assert started == [f"{n}" for n in range(6)], "given back at the stop: the sixth"
    hang.set()
    async with working(zqueue.Worker(queue, handler)):
        await wait_until(lambda: len(started) == 8)
    assert sorted(started[6:]) == ["5", "6"]


async def test_a_cap_on_the_whole_queue(queue: zqueue.Queue) -> None:
    """No more run at once in all the queue's workers, and each end lets the next one start at once."""
    busy = Busy()
    await queue.set_limit(None, concurrency=2)
    await queue.enqueue_many([zqueue.NewJob(0.01, group=("a", "b", None)[n % 3]) for n in range(30)])
    began = time.monotonic()
    async with working(*(zqueue.Worker(queue, busy, concurrency=10) for _ in range(3))):
        await empty(queue)
        took = time.monotonic() - began
    assert (busy.most["all"], len(busy.started)) == (2, 30)
    assert took < 3


async def test_a_rate_of_the_whole_queue(queue: zqueue.Queue) -> None:
    """All jobs share it, in the order of the queue, and nothing is parked."""
    busy = Busy()
    await queue.set_limit(None, rate=20)
    await queue.enqueue_many([zqueue.NewJob(0, id=f"{n}") for n in range(10)])
    await queue.enqueue(0, id="high", priority=zqueue.Priority.HIGH)
    parked = []
    async with working(zqueue.Worker(queue, busy)):
        await wait_until(lambda: len(busy.started) >= 3)
        parked.append((await queue.stats()).parked)
        await empty(queue)
    assert busy.started == ["high", *(f"{n}" for n in range(10))]
    assert busy.at["9"] - busy.at["high"] >= 10 / 20 - 0.02
    assert parked == [0]


async def test_a_limit_lifted_or_changed_takes_effect_at_once(queue: zqueue.Queue) -> None:
    """Jobs that wait for a slot an hour away start as soon as their limit is lifted, or is a quicker one."""
    busy = Busy()
    await queue.set_limit("g", rate=1, per=3600)
    await queue.set_limit(None, concurrency=1)
    async with working(zqueue.Worker(queue, busy)):
        await queue.enqueue("wait", id="first", group="g")
        await wait_until(lambda: busy.started == ["first"])
        await queue.enqueue_many([zqueue.NewJob(0, id=f"{n}", group="g") for n in range(3)])
        await queue.enqueue(0, id="other")
        await asyncio.sleep(0.1)  # nothing may start
        assert busy.started == ["first"]
        await queue.set_limit(None)
        await wait_until(lambda: busy.started == ["first", "other"], 2)
        await queue.set_limit("g", rate=100)
        await wait_until(lambda: busy.started == ["first", "other", "0", "1", "2"], 2)
        await queue.set_limit("g", concurrency=1)
        await queue.enqueue_many([zqueue.NewJob("wait", id=f"w{n}", group="g") for n in range(3)])
        await wait_until(lambda: busy.started[-1] == "w0", 2)
        await queue.set_limit("g")
        await wait_until(lambda: busy.started[-2:] == ["w1", "w2"], 2)
        busy.go_on.set()
        await empty(queue)


async def test_a_parked_job_can_be_cancelled_and_rescheduled(queue: zqueue.Queue) -> None:
    """No slot is kept for a job that has gone; a rescheduled one comes when it says."""
    busy = Busy()
    await queue.set_limit("g", rate=5)
    async with working(zqueue.Worker(queue, busy)):
        await queue.enqueue_many([zqueue.NewJob(0, id=f"{n}", group="g") for n in range(100)])
        await wait_until(lambda: busy.started == ["0"])

        async def all_parked() -> bool:
            return (await queue.stats()).parked >= 90

        await until(all_parked)
        assert await queue.reschedule("98", delay=3600)
        cancelled = [await queue.cancel(f"{n}") for n in range(5, 98)]
        assert cancelled == [True] * 93
        await wait_until(lambda: "99" in busy.at, 5)
    assert busy.started == ["0", "1", "2", "3", "4", "99"]
    job = await queue.get("98")
    assert job is not None
    assert (job.state, job.parked) == (zqueue.JobState.SCHEDULED, False)


async def test_a_killed_workers_job_keeps_its_place_until_it_runs_again(queue: zqueue.Queue) -> None:
    """A run of a group of one whose worker died is taken over at the end of its lease, and then the next one starts."""
    busy = Busy()
    await queue.set_limit("g", concurrency=1)
    await queue.enqueue_many([zqueue.NewJob(0, id=f"{n}", group="g") for n in range(2)])
    shard = queue.shards[0]
    claim = shard.commands.claim(100, 500_000, "ab", 5, solo_ok=True, worker="", kept=queue.kept)
    assert [each.id for each in (await queue.ask(shard, claim)).deliveries] == [b"0"]
    async with working(zqueue.Worker(queue, busy)):
        await empty(queue)
    assert (busy.started, busy.most["g"]) == (["0", "1"], 1)


async def test_one_limit_for_each_group(queue: zqueue.Queue) -> None:
    """It counts for each group by itself, but not for one with a limit of its own, nor for jobs without a group."""
    busy = Busy()
    await queue.set_limit("*", concurrency=2)
    await queue.set_limit("own", concurrency=3)
    groups = ("a", "b", "own", None)
    async with working(zqueue.Worker(queue, busy)):
        await queue.enqueue_many([zqueue.NewJob("wait", id=f"{g}{n}", group=g) for g in groups for n in range(5)])
        await wait_until(lambda: busy.at_work["all"] == 2 + 2 + 3 + 5)
        assert dict(busy.most) == {"a": 2, "b": 2, "own": 3, None: 5, "all": 12}
        await queue.set_limit("own")
        busy.go_on.set()
        await empty(queue)
    assert {group: busy.most[group] for group in groups} == {"a": 2, "b": 2, "own": 3, None: 5}
    await queue.set_limit("*")
