"""Sleeping and waking: an idle worker asks for nothing, and starts what falls due without delay."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

import zqueue
from tests.asking import ask_server, server_time_us, until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from tests.proxy import Fault, Proxy, at
from zqueue.embedded import Server

SOON_US = 1_000_000
"""Well under the 5 s after which a lost wake-up heals by itself; the benchmarks measure the real figure."""


class Clocked:
    """A handler that notes how late, by the server's clock, each job starts on which worker."""

    def __init__(self, queue: zqueue.Queue) -> None:
        self._queue = queue
        self.late_us: dict[str, int] = {}
        self.on: dict[str, str] = {}
        self.go_on = asyncio.Event()

    def on_worker(self, name: str) -> zqueue.Worker:
        """A worker with one slot; its jobs named `long` wait to be let go."""

        async def handler(job: zqueue.Job) -> None:
            now_us = await server_time_us(self._queue)
            assert job.due_us is not None
            self.on[job.id] = name
            self.late_us[job.id] = now_us - job.due_us
            if job.id.startswith("long"):
                await self.go_on.wait()

        return zqueue.Worker(self._queue, handler, concurrency=1)

    async def has_started(self, job_id: str) -> None:
        """Wait for its start, which must have been soon after its due time."""
        await wait_until(lambda: job_id in self.late_us, what=f"{job_id} started")
        assert 0 <= self.late_us[job_id] < SOON_US


async def _tokens(queue: zqueue.Queue) -> int:
    return int(await ask_server(queue, "LLEN", queue.shards[0].keys.wake))


async def _blocked(queue: zqueue.Queue) -> int:
    """Connections of the whole server that wait in a BLPOP."""
    lines = (await ask_server(queue, "CLIENT", "LIST")).decode().splitlines()
    return len([line for line in lines if "cmd=blpop" in line and "flags=b" in line])


async def asleep(queue: zqueue.Queue, workers: int = 1) -> None:
    """Wait until so many workers sleep; on a server of the test's own."""

    async def all_blocked() -> bool:
        return await _blocked(queue) == workers

    await until(all_blocked)


@pytest.fixture
async def alone(tmp_path: Path) -> Server:  # type: ignore[misc]
    """A server that nobody else uses."""
    with Server(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
async def queue(alone: Server) -> zqueue.Queue:  # type: ignore[misc]
    """A queue on it."""
    async with zqueue.Queue(unique_name(), alone.url) as fresh:
        yield fresh


@pytest.mark.slow
async def test_an_idle_worker_sleeps_whatever_is_added_for_later(alone: Server) -> None:
    """An idle worker sends less than a command a second, while 100,000 jobs of the far future are added."""
    later = timedelta(days=1)
    loop = asyncio.get_running_loop()
    async with (
        Proxy(alone) as proxy,
        zqueue.Queue(unique_name(), proxy.url) as far,
        zqueue.Queue(far.name, alone.url) as near,
        working(zqueue.Worker(far, lambda job: None)),
    ):
        await asleep(near)
        before, began = len(proxy.requests), loop.time()
        for _ in range(10):
            await near.enqueue_many([zqueue.NewJob(0, delay=later) for _ in range(10_000)])
        await asyncio.sleep(max(0.0, began + 11 - loop.time()))  # two turns of an idle worker
        seconds = loop.time() - began
        names = [name for request, _fault in proxy.requests[before:] for name in request.names]
        assert (await near.stats()).scheduled == 100_000

    assert len(names) < seconds
    assert names.count("claim") <= seconds / 5 + 1, "a job of the far future woke it"


async def test_a_job_starts_when_it_is_due(queue: zqueue.Queue) -> None:
    """A sleeping worker starts a job neither before its time nor long after."""
    clocked = Clocked(queue)
    async with working(clocked.on_worker("a")):
        await asleep(queue)
        await queue.enqueue(0, id="x", delay=0.3)
        await clocked.has_started("x")


async def test_a_nearer_job_wakes_a_worker_that_waits_for_a_later_one(queue: zqueue.Queue) -> None:
    """The head moves nearer while a worker sleeps: it starts the new head in time."""
    clocked = Clocked(queue)
    await queue.enqueue(0, id="later", delay=3600)
    await queue.enqueue(0, id="third", delay=4)
    async with working(clocked.on_worker("a")):
        await asleep(queue)
        for job_id, delay in (("second", 0.6), ("first", 0.3), ("now", 0)):
            await queue.enqueue(0, id=job_id, delay=delay)
        for job_id in ("now", "first", "second"):
            await clocked.has_started(job_id)


@pytest.mark.parametrize("order", ["long first", "short first", "at once"])
async def test_what_falls_due_while_the_woken_worker_is_busy_starts_on_the_other(
    queue: zqueue.Queue, order: str
) -> None:
    """Two workers of one slot: the one that took the token is busy, and the next job starts on the other in time."""
    clocked = Clocked(queue)
    async with working(clocked.on_worker("a"), clocked.on_worker("b")):
        for turn in range(3):
            await asleep(queue, 2)
            long, short = f"long{turn}", f"short{turn}"
            jobs = [zqueue.NewJob(0, id=long), zqueue.NewJob(0, id=short, delay=0.2)]
            if order == "at once":
                await queue.enqueue_many(jobs)
            else:
                for job in jobs if order == "long first" else reversed(jobs):
                    await queue.enqueue_many([job])
            await clocked.has_started(long)
            await clocked.has_started(short)
            assert {clocked.on[long], clocked.on[short]} == {"a", "b"}
            clocked.go_on.set()
            clocked.go_on = asyncio.Event()


async def test_a_full_worker_hands_its_token_on(queue: zqueue.Queue) -> None:
    """A token that reaches a worker without a free slot goes back for others, and a new worker runs the job."""
    clocked = Clocked(queue)
    async with working(clocked.on_worker("full")):
        await asleep(queue)
        await queue.enqueue(0, id="long", delay=0.2)  # taken by its own timer, its BLPOP still out
        await clocked.has_started("long")
        await queue.enqueue(0, id="short", delay=0.5)

        async def handed_on() -> bool:
            return await _blocked(queue) == 0 and await _tokens(queue) == 1

        await until(handed_on)
        async with working(clocked.on_worker("free")):
            await clocked.has_started("short")
        assert clocked.on == {"long": "full", "short": "free"}
        clocked.go_on.set()


async def test_a_full_worker_hands_its_token_on_though_the_line_breaks(alone: Server) -> None:
    """A token that could not be passed on at first is passed on as soon as the server can be reached."""
    async with (
        Proxy(alone) as proxy,
        zqueue.Queue(unique_name(), proxy.url) as far,
        zqueue.Queue(far.name, alone.url) as near,
    ):
        let_go = asyncio.Event()

        async def handler(job: zqueue.Job) -> None:
            await let_go.wait()

        async with working(zqueue.Worker(far, handler, concurrency=1)):
            await asleep(near)
            await near.enqueue(0, id="taken", delay=0.2)
            await until(lambda: _is_leased(near, "taken"))
            proxy.plan = at("nudge", range(1, 7), Fault.CUT_REQUEST)  # more often than a call is repeated
            await near.enqueue(0, id="short")
            await wait_until(lambda: proxy.faults == 6)
            await until(lambda: _one_token(near))
            let_go.set()


async def _is_leased(queue: zqueue.Queue, job_id: str) -> bool:
    job = await queue.get(job_id)
    return job is not None and job.state is zqueue.JobState.LEASED


async def _one_token(queue: zqueue.Queue) -> bool:
    return await _tokens(queue) == 1


async def test_a_worker_that_leaves_hands_its_token_on(queue: zqueue.Queue) -> None:
    """However a worker ends, a token is left for others if something is due soon."""
    for turn in range(10):
        clocked = Clocked(queue)
        worker = clocked.on_worker("a")
        task = asyncio.create_task(worker.run())
        await asleep(queue)
        await queue.enqueue(0, id="first", delay=0.02)
        await clocked.has_started("first")
        await queue.enqueue(0, id=f"next{turn}", delay=2)
        if turn % 2:
            task.cancel()
        else:
            worker.stop()
        await asyncio.wait([task], timeout=20)
        assert task.done()
        assert await _tokens(queue) == 1
        assert await _blocked(queue) == 0
        await queue.cancel(f"next{turn}")
        await ask_server(queue, "DEL", queue.shards[0].keys.wake)


async def test_a_token_lost_with_its_connection_costs_nothing(alone: Server) -> None:
    """The server gave the token to a connection that broke: the worker claims at once all the same."""
    async with (
        Proxy(alone) as proxy,
        zqueue.Queue(unique_name(), proxy.url) as far,
        zqueue.Queue(far.name, alone.url) as near,
    ):
        clocked = Clocked(far)
        proxy.plan = at("BLPOP", [1, 3], Fault.CUT_REPLY)
        async with working(clocked.on_worker("a")):
            for turn in range(4):
                await asleep(near)
                await near.enqueue(0, id=f"x{turn}")
                await clocked.has_started(f"x{turn}")
    assert proxy.faults == 2


async def test_a_token_that_vanishes_costs_at_most_the_worker_s_longest_sleep(alone: Server) -> None:
    """A sleeper whose connection went silent: the worker's own timer, half a lease here, finds the job."""
    async with (
        Proxy(alone) as proxy,
        zqueue.Queue(unique_name(), proxy.url) as far,
        zqueue.Queue(far.name, alone.url) as near,
    ):
        proxy.plan = at("BLPOP", [1], Fault.BLACKHOLE)
        got: list[str] = []
        async with working(zqueue.Worker(far, lambda job: got.append(job.id), lease=2)):
            await wait_until(lambda: proxy.faults == 1)
            await near.enqueue(0, id="x")
            await wait_until(lambda: got == ["x"], 1 + SOON_US / 1e6)


async def test_a_freed_slot_takes_what_waits(queue: zqueue.Queue) -> None:
    """A full worker claims the next due job as soon as one of its own ends."""
    clocked = Clocked(queue)
    async with working(clocked.on_worker("a")):
        await queue.enqueue(0, id="long")
        await clocked.has_started("long")
        await queue.enqueue(0, id="next")
        clocked.go_on.set()
        await clocked.has_started("next")


async def test_a_healthy_worker_claims_now_and_then(queue: zqueue.Queue) -> None:
    """`last_claim` moves on an idle worker too, and says nothing before and after."""
    worker = zqueue.Worker(queue, lambda job: None, lease=0.4)
    assert worker.last_claim is None
    async with working(worker):
        await wait_until(lambda: worker.last_claim is not None)
        first = worker.last_claim
        await wait_until(lambda: worker.last_claim != first)
    assert worker.last_claim is None
