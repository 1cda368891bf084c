"""Workers that are killed, frozen or murdered by their jobs: nothing is lost, nobody else pays."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta

import pytest

import zqueue
from tests.asking import lease_ends_us, server_time_us, until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from tests.worker_process import WorkerProcess, worker_process
from zqueue.commands import Settlement
from zqueue.connect import Link
from zqueue.embedded import Server
from zqueue.sending import ask
from zqueue.testing import FakeClock

LEASE_S = 1.0
ON_TIME_US = 500_000
"""How long after the end of its lease a job may start again."""


class Rescuer:
    """A worker's handler that notes each delivery with the server's time."""

    def __init__(self, queue: zqueue.Queue) -> None:
        self._queue = queue
        self.got: dict[str, tuple[int, int]] = {}
        self.at_us: dict[str, int] = {}

    async def __call__(self, job: zqueue.Job) -> None:
        """Note it."""
        assert job.id not in self.got
        self.got[job.id] = (job.deliveries, job.attempt)
        self.at_us[job.id] = await server_time_us(self._queue)


async def test_the_jobs_of_a_killed_worker_run_again_when_its_lease_ends(queue: zqueue.Queue, valkey: Server) -> None:
    """After kill -9 an idle worker starts each job within 0.5 s of the lease's end: delivery 2, attempt 1."""
    ids = [f"job{number}" for number in range(10)]
    rescuer = Rescuer(queue)
    async with worker_process(queue, valkey.url, lease=LEASE_S) as doomed:
        await queue.enqueue_many([zqueue.NewJob({"do": "hang"}, id=each) for each in ids])
        await doomed.says("start", 10)
        async with working(zqueue.Worker(queue, rescuer, lease=LEASE_S)):
            doomed.send(signal.SIGKILL)
            assert await doomed.ended() == -signal.SIGKILL
            ends = await lease_ends_us(queue)
            assert sorted(ends) == ids
            await wait_until(lambda: len(rescuer.at_us) == 10)

    assert rescuer.got == dict.fromkeys(ids, (2, 1))
    late_us = {each: rescuer.at_us[each] - ends[each] for each in ids}
    assert {each: late for each, late in late_us.items() if not 0 <= late < ON_TIME_US} == {}


async def test_a_frozen_worker_writes_nothing_once_it_has_lost_its_lease(queue: zqueue.Queue, valkey: Server) -> None:
    """A worker stopped past its lease and resumed: its handler is cancelled, its outcome refused, the job ran once."""
    rescuer = Rescuer(queue)
    async with worker_process(queue, valkey.url, lease=LEASE_S) as frozen:
        await queue.enqueue({"do": "hang"}, id="x")
        await frozen.says("start")
        frozen.send(signal.SIGSTOP)
        async with working(zqueue.Worker(queue, rescuer, lease=LEASE_S)):
            await wait_until(lambda: len(rescuer.at_us) == 1)
            await until(lambda: _is_gone(queue, "x"))
            frozen.send(signal.SIGCONT)
            await frozen.says("cancelled")
        frozen.send(signal.SIGTERM)
        assert await frozen.ended() == 0

    assert rescuer.got == {"x": (2, 1)}
    assert (frozen.ids("cancelled"), frozen.ids("end")) == (["x"], [])
    assert frozen.warnings == ["the lease on job 'x' is lost; nothing was written; its handler is cancelled (gone)"]
    stats = await queue.stats()
    assert (stats.scheduled, stats.leased, stats.dead) == (0, 0, 0)


async def _is_gone(queue: zqueue.Queue, job_id: str) -> bool:
    return await queue.get(job_id) is None


async def test_the_late_end_of_a_frozen_worker_does_not_touch_the_new_run(queue: zqueue.Queue, valkey: Server) -> None:
    """A handler that ends just as its worker resumes is too late: the job is the other worker's, and stays so."""
    go_on, started = asyncio.Event(), asyncio.Event()

    async def rescue(job: zqueue.Job) -> None:
        started.set()
        await go_on.wait()

    async with worker_process(queue, valkey.url, lease=LEASE_S) as frozen:
        await queue.enqueue({"do": "block", "seconds": 0.3}, id="x")
        await frozen.says("start")
        frozen.send(signal.SIGSTOP)
        async with working(zqueue.Worker(queue, rescue, lease=LEASE_S)):
            await asyncio.wait_for(started.wait(), 20)
            frozen.send(signal.SIGCONT)
            await frozen.says("end")
            await frozen.says("log")
            job = await queue.get("x")
            assert job is not None
            assert (job.state, job.deliveries, job.attempts) == (zqueue.JobState.LEASED, 2, 0)
            go_on.set()

    assert frozen.warnings[0].startswith("the lease on job 'x' is lost; nothing was written")
    assert frozen.warnings[0].endswith("(stolen)")
    assert await queue.get("x") is None


async def test_a_handler_that_blocks_its_loop_keeps_its_job(queue: zqueue.Queue, valkey: Server) -> None:
    """A handler that blocks the event loop for three leases runs once, however eager the others are."""
    rescuer = Rescuer(queue)
    async with worker_process(queue, valkey.url, lease=LEASE_S) as blocked:
        await queue.enqueue({"do": "block", "seconds": 3 * LEASE_S}, id="x")
        await blocked.says("start")
        async with working(zqueue.Worker(queue, rescuer, lease=LEASE_S)):
            await blocked.says("end")
            await until(lambda: _is_gone(queue, "x"))

    assert (rescuer.got, blocked.warnings) == ({}, [])


async def test_a_poison_job_is_buried_alone(queue: zqueue.Queue, valkey: Server) -> None:
    """A job that kills each worker it meets is dead after its last delivery; its twenty neighbours all end well."""
    neighbours = sorted(f"neighbour{number}" for number in range(20))
    jobs = [zqueue.NewJob({"do": "hang at first"}, id=each) for each in neighbours]
    jobs.insert(10, zqueue.NewJob({"do": "die", "seconds": 0.3}, id="poison"))
    await queue.enqueue_many(jobs)
    ended: list[str] = []
    codes: list[int] = []

    while 0 not in codes:  # as a supervisor does: a worker that died is started again
        async with worker_process(queue, valkey.url, lease=0.5, max_deliveries=3) as worker:

            async def over(worker: WorkerProcess = worker) -> bool:
                stats = await queue.stats()
                return worker.process.returncode is not None or (stats.scheduled, stats.leased) == (0, 0)

            await until(over, 30)
            if worker.process.returncode is None:
                await worker.says("up")
                worker.send(signal.SIGTERM)
            codes.append(await worker.ended())
            ended += worker.ids("end")

    assert codes == [-signal.SIGKILL] * 3 + [0]
    assert sorted(set(ended)) == neighbours
    assert await _dead(queue) == [
        ("poison", 0, "poison: its worker died or lost its lease on each of 3 deliveries"),
    ]
    assert await queue.missing([*neighbours, "poison"]) == neighbours


async def _dead(queue: zqueue.Queue) -> list[tuple[str, int, str | None]]:
    return [(job.id, job.attempts, job.error) for job in await queue.jobs(zqueue.JobState.DEAD)]


@pytest.mark.parametrize("max_deliveries", [2, 3, 5])
async def test_poison_among_slow_neighbours_is_buried_alone(valkey: Server, max_deliveries: int) -> None:
    """Though neighbours always still run when the poison kills, the last delivery of each is its own: none is buried.

    The dying workers are played: each claims all it may and, if the poison is among that, is never heard of again.
    """
    clock = FakeClock()
    neighbours = sorted(f"neighbour{number}" for number in range(99))
    async with zqueue.Queue(unique_name(), valkey.url, clock=clock) as queue:
        link = Link(queue.address)
        await queue.enqueue_many([zqueue.NewJob(0, id=each) for each in [*neighbours[:50], "poison", *neighbours[50:]]])
        ended: list[str] = []
        deaths = 0
        for turn in range(300):
            token = f"{turn:016x}"
            claim = queue.shards[0].commands.claim(
                100, 1_000_000, token, max_deliveries, solo_ok=True, worker="", kept=queue.kept
            )
            taken = [each.id for each in (await ask(link, claim)).deliveries]
            if b"poison" in taken:
                deaths += 1
            elif taken:
                await ask(
                    link,
                    queue.shards[0].commands.settle([Settlement(each, token, "ack") for each in taken], queue.kept),
                )
                ended += [each.decode() for each in taken]
            clock.advance(timedelta(seconds=5))
        await link.close()
        dead = await _dead(queue)

    assert (sorted(ended), deaths) == (neighbours, max_deliveries)
    words = f"poison: its worker died or lost its lease on each of {max_deliveries} deliveries"
    assert dead == [("poison", 0, words)]
