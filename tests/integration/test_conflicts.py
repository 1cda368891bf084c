"""An id that is taken: the job that holds it stays, gives way, or the caller is told; in turn and at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Literal

import pytest

import zqueue
from tests.conftest import wait_until
from tests.integration.working import checked_queue, working
from zqueue import DuplicateJob, JobState, NewJob
from zqueue.embedded import Server

Kind = Literal["scheduled", "parked", "leased", "done", "dead"]
KINDS: tuple[Kind, ...] = ("scheduled", "parked", "leased", "done", "dead")


@pytest.fixture
async def queue(valkey: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue that keeps results; its keys are checked when the test ends."""
    async with checked_queue(valkey.url, keep_done=60) as fresh:
        yield fresh


class World:
    """A worker, and a job `x` that it may bring into a state."""

    def __init__(self, queue: zqueue.Queue) -> None:
        self.queue = queue
        self.go_on = asyncio.Event()
        self.ran: list[str] = []
        self.worker = zqueue.Worker(queue, self.handle)

    async def handle(self, job: zqueue.Job) -> str:
        """Do what the payload says."""
        if job.payload == "leased":
            await self.go_on.wait()
        if job.payload == "dead":
            raise zqueue.Bury("no")
        self.ran.append(job.payload)
        return str(job.payload)

    async def bring(self, kind: Kind) -> None:
        """A job `x` in this state; its payload says which."""
        delay = 3600 if kind == "scheduled" else 0
        if kind == "parked":
            await self.queue.set_limit("g", rate=1, per=3600)
            await self.queue.enqueue("first", group="g")
        await self.queue.enqueue(kind, id="x", delay=delay, group="g" if kind == "parked" else None)

    async def is_there(self, kind: Kind) -> None:
        """Wait until it is."""
        while True:
            job = await self.queue.get("x")
            assert job is not None
            if job.parked if kind == "parked" else job.state == kind:
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_keep(queue: zqueue.Queue, kind: Kind) -> None:
    """Whatever state it is in, the job that holds the id comes back as it is, and nothing is made."""
    world = World(queue)
    await world.bring(kind)
    async with working(world.worker):
        await world.is_there(kind)
        job = await queue.enqueue("other", id="x")
        record = await queue.get("x")
        assert record is not None
        assert (job.created, job.payload, job.state, job.parked) == (False, kind, record.state, kind == "parked")
        assert record.payload == kind
        world.go_on.set()
        if kind in ("leased", "done"):
            assert await job.result(timeout=10) == kind, "of the job that was kept"
    assert "other" not in world.ran


@pytest.mark.parametrize("kind", KINDS)
async def test_raise(queue: zqueue.Queue, kind: Kind) -> None:
    """Whatever state it is in, the caller is told, with the state, and nothing is made."""
    world = World(queue)
    await world.bring(kind)
    async with working(world.worker):
        await world.is_there(kind)
        with pytest.raises(DuplicateJob) as caught:
            await queue.enqueue("other", id="x", on_conflict="raise")
        shown = "scheduled" if kind == "parked" else kind
        assert (caught.value.job_id, str(caught.value)) == ("x", f"job 'x' exists already; it is {shown}")
        record = await queue.get("x")
        assert record is not None
        assert record.payload == kind
        world.go_on.set()


@pytest.mark.parametrize("kind", KINDS)
async def test_replace(queue: zqueue.Queue, kind: Kind) -> None:
    """A job that waits, is done or dead gives way to a fresh one; one that runs does not."""
    world = World(queue)
    await world.bring(kind)
    async with working(world.worker):
        await world.is_there(kind)
        if kind == "leased":
            with pytest.raises(DuplicateJob, match=r"^job 'x' exists already; it is leased$"):
                await queue.enqueue("other", id="x", on_conflict="replace")
            world.go_on.set()
            assert await queue.result("x", timeout=10) == "leased"
        else:
            job = await queue.enqueue("other", id="x", on_conflict="replace", priority=zqueue.Priority.LOW)
            assert job.created
            assert await job.result(timeout=10) == "other"
            record = await queue.get("x")
            assert record is not None
            assert (record.attempts, record.error, record.priority) == (0, None, zqueue.Priority.LOW)
    counts = Counter(world.ran)
    assert counts["other"] == (kind != "leased")
    assert counts[kind] == (kind in ("leased", "done"))


@pytest.mark.parametrize("how", ["keep", "replace", "raise"])
async def test_a_free_id(queue: zqueue.Queue, how: Literal["keep", "replace", "raise"]) -> None:
    """An id that is free, or free again, is taken, whatever is to be done otherwise."""
    for _ in range(2):
        assert (await queue.enqueue(1, id="x", delay=60, on_conflict=how)).created
        assert await queue.cancel("x")


async def test_one_of_many_in_a_call(queue: zqueue.Queue) -> None:
    """Of a call whose jobs disagree with what is there, the others are enqueued, and the first trouble is told."""
    await queue.enqueue("old", id="b", delay=60)
    await queue.enqueue("old", id="c", delay=60)
    jobs = [
        NewJob("new", id="a", delay=60),
        NewJob("new", id="b", delay=60, on_conflict="raise"),
        NewJob("new", id="c", delay=60, on_conflict="replace"),
        NewJob("new", id="d", delay=60, on_conflict="raise"),
    ]
    with pytest.raises(DuplicateJob) as caught:
        await queue.enqueue_many(jobs)
    assert caught.value.job_id == "b"
    assert {job.id: job.payload for job in await queue.jobs(JobState.SCHEDULED)} == {
        "a": "new",
        "b": "old",
        "c": "new",
        "d": "new",
    }


async def test_the_same_id_twice_in_a_call(queue: zqueue.Queue) -> None:
    """Within one call too, the first one holds the id, unless the later one replaces it."""
    kept = await queue.enqueue_many([NewJob(n, id="kept", delay=60) for n in range(3)])
    assert [(job.created, job.payload) for job in kept] == [(True, 0), (False, 0), (False, 0)]
    await queue.enqueue_many([NewJob(n, id="last", delay=60, on_conflict="replace") for n in range(3)])
    record = await queue.get("last")
    assert record is not None
    assert record.payload == 2
    assert (await queue.stats()).scheduled == 2


async def test_raise_at_once(queue: zqueue.Queue, valkey: Server) -> None:
    """Of many callers in several programs exactly one makes the job; all others are told."""
    queues = [zqueue.Queue(queue.name, valkey.url, keep_done=60) for _ in range(5)]

    async def attempt(number: int) -> bool:
        try:
            job = await queues[number % 5].enqueue(number, id="x", delay=60, on_conflict="raise")
        except DuplicateJob:
            return False
        return job.created

    outcomes = await asyncio.gather(*(attempt(n) for n in range(100)))
    assert Counter(outcomes) == {True: 1, False: 99}
    record = await queue.get("x")
    assert record is not None
    assert record.payload == outcomes.index(True)
    for each in queues:
        await each.close()


async def test_debounce(queue: zqueue.Queue) -> None:
    """Each new call puts the job off: it runs once, with the last payload, so long after the last call."""
    ran: list[tuple[int, float]] = []
    loop = asyncio.get_running_loop()

    async def handler(job: zqueue.Job) -> None:
        ran.append((job.payload, loop.time()))

    async with working(zqueue.Worker(queue, handler)):
        for n in range(10):
            last = loop.time()
            assert (await queue.enqueue(n, id="x", delay=0.4, on_conflict="replace")).created
            await asyncio.sleep(0.03)
        await wait_until(lambda: len(ran) == 1)
        await asyncio.sleep(0.5)  # nothing may come after it
    ((payload, at),) = ran
    assert payload == 9
    assert at - last >= 0.4


async def test_debounce_at_once(queue: zqueue.Queue, valkey: Server) -> None:
    """Replaced by many programs while workers claim it: whatever was replaced did not run; the last one does."""
    queues = [zqueue.Queue(queue.name, valkey.url, keep_done=0) for _ in range(4)]
    ran: list[int] = []
    made: list[int] = []

    async def handler(job: zqueue.Job) -> None:
        ran.append(job.payload)

    async def producer(each: zqueue.Queue, first: int) -> None:
        for number in range(first, first + 50):
            try:
                await each.enqueue(number, id="x", delay=0.002, on_conflict="replace")
                made.append(number)
            except DuplicateJob:
                continue  # it was running just now

    async with working(*(zqueue.Worker(each, handler, concurrency=2) for each in queues[:2])):
        await asyncio.gather(*(producer(each, 1000 * n) for n, each in enumerate(queues)))
        final = await _enqueue_final(queue)
        await wait_until(lambda: final in ran)
    assert set(ran) <= {*made, final}
    assert max(Counter(ran).values()) == 1
    assert ran[-1] == final
    for each in queues:
        await each.close()


async def _enqueue_final(queue: zqueue.Queue) -> int:
    async with asyncio.timeout(10):
        while True:
            try:
                await queue.enqueue(-1, id="x", delay=0.01, on_conflict="replace")
            except DuplicateJob:
                await asyncio.sleep(0.005)
            else:
                return -1
