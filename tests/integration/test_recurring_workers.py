"""Schedules and many workers, or one that is restarted: one job for each slot."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

import zqueue
from tests.conftest import unique_name, wait_until
from tests.integration.one_per_slot import one_per_slot
from tests.integration.working import working
from zqueue.embedded import Server
from zqueue.recurring import plan
from zqueue.testing import FakeClock

NINE = datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.mark.parametrize("workers", [50])
async def test_many_workers_make_one_job_for_each_slot(valkey: Server, workers: int) -> None:
    """Fifty, each of which says the schedule when it starts; `python -m tests.integration.one_per_slot` runs longer."""
    outcome = await one_per_slot(valkey.url, workers, seconds=4)
    assert outcome.runs == Counter(outcome.expected)
    assert len(outcome.expected) == 4


async def test_a_restart_within_a_slot_fires_nothing(any_server: Server) -> None:
    """A program that is started ten times within a second, and each time says its schedule, has made one job."""
    clock, name = FakeClock(NINE), unique_name()
    ran: list[str] = []
    schedule = zqueue.every(60)
    async with zqueue.Queue(name, any_server.url, clock=clock) as first:
        await first.recur("x", schedule, 0, after=NINE - timedelta(seconds=1))
    for _restart in range(10):
        async with zqueue.Queue(name, any_server.url, clock=clock) as queue:
            await queue.recur("x", schedule, 0)
            await zqueue.Worker(queue, lambda job: ran.append(job.id)).run(burst=True)
        clock.advance(timedelta(milliseconds=100))
    assert ran == ["x@2026-11-24T09:00:00Z"]


async def test_a_worker_that_dies_between_slot_and_job_loses_nothing(any_server: Server) -> None:
    """A slot moves on and makes its job in one step: whoever claims it, and however late, there is one."""
    clock, name = FakeClock(NINE), unique_name()
    ran: list[str] = []
    async with zqueue.Queue(name, any_server.url, clock=clock) as queue:
        await queue.recur("x", zqueue.every(60), 0, after=NINE - timedelta(seconds=1))
        shard = queue.shards[0]
        claim = shard.commands.claim(1, 10_000_000, "ab", 5, solo_ok=True, worker="", kept=queue.kept)
        for _died in range(3):  # each saw that the schedule is due, and got no further
            assert [fire.name for fire in (await queue.ask(shard, claim)).fires] == [b"x"]
        await zqueue.Worker(queue, lambda job: ran.append(job.id)).run(burst=True)
    assert ran == ["x@2026-11-24T09:00:00Z"]


async def test_a_worker_that_comes_late_makes_no_job(any_server: Server) -> None:
    """It saw that the schedule was due, and stood still while another fired it and ran the job to its end."""
    clock, name = FakeClock(NINE), unique_name()
    ran: list[str] = []
    async with zqueue.Queue(name, any_server.url, clock=clock) as queue:
        await queue.recur("x", zqueue.every(60), 0, after=NINE - timedelta(seconds=1))
        shard = queue.shards[0]
        claim = shard.commands.claim(1, 10_000_000, "ab", 5, solo_ok=True, worker="", kept=queue.kept)
        (seen,) = (await queue.ask(shard, claim)).fires
        await zqueue.Worker(queue, lambda job: ran.append(job.id)).run(burst=True)

        fired = await queue.ask(shard, shard.commands.fire(seen.name, seen.slot, *plan(seen, clock.now_us())))
        await zqueue.Worker(queue, lambda job: ran.append(job.id)).run(burst=True)
        assert (fired, ran) == (0, ["x@2026-11-24T09:00:00Z"])
        assert [each.next_at for each in await queue.recurring()] == [NINE + timedelta(minutes=1)]


async def test_a_new_schedule_wakes_an_idle_worker(queue: zqueue.Queue) -> None:
    """A worker that has nothing to do for 5 s hears of a schedule whose slot is sooner, and of an earlier one."""
    started: list[datetime] = []
    worker = zqueue.Worker(queue, lambda job: started.append(queue.now()))
    await queue.recur("rare", zqueue.every(timedelta(days=365)), 0)
    async with working(worker):
        await wait_until(lambda: worker.last_claim is not None)
        slot = await queue.recur("soon", zqueue.every(0.2), 0)
        await wait_until(lambda: len(started) > 0)
        await queue.unrecur("soon")
    assert timedelta(0) <= started[0] - slot < timedelta(seconds=2)


async def test_a_worker_that_is_full_fires_when_a_slot_frees(any_server: Server) -> None:
    """With `misfire="all"` nothing is lost by it: each slot that passed meanwhile has its job."""
    clock = FakeClock(NINE)
    ran: list[str] = []

    def handle(job: zqueue.Job) -> None:
        ran.append(job.id)
        if job.id == "long":
            clock.advance(timedelta(minutes=3))

    async with zqueue.Queue(unique_name(), any_server.url, clock=clock) as queue:
        await queue.recur("x", zqueue.every(60), 0, misfire="all")
        await queue.enqueue(0, id="long")
        await zqueue.Worker(queue, handle, concurrency=1).run(burst=True)
    assert ran == ["long", *(f"x@2026-11-24T09:0{minute}:00Z" for minute in (1, 2, 3))]
