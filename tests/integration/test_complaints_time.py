"""What users of other queues complain of, about time: early, late, or again. See `docs/features.md`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

import zqueue
from tests.asking import server_time_us
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue.embedded import Server
from zqueue.recurring import plan
from zqueue.testing import FakeClock

NINE = datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue under test."""
    return FakeClock(NINE)


@pytest.fixture
async def timed(any_server: Server, clock: FakeClock) -> AsyncIterator[zqueue.Queue]:
    """A queue on each kind of server whose time the test moves; its failed jobs run again after a minute."""
    retry = zqueue.Retry(2, zqueue.fixed(60))
    async with zqueue.Queue(unique_name(), any_server.url, retry=retry, clock=clock) as fresh:
        yield fresh


async def test_a_far_due_time_outlasts_every_lease(timed: zqueue.Queue, clock: FakeClock) -> None:
    """A job that is due many leases from now is delivered to nobody before that, and then to one worker."""
    ran: list[tuple[datetime, int]] = []
    worker = zqueue.Worker(timed, lambda job: ran.append((clock.now(), job.deliveries)), lease=100)
    await timed.enqueue("x", id="x", delay=1000)
    for _look in range(20):
        assert await worker.tick() == 0
        job = await timed.get("x")
        assert job is not None
        assert (job.state, job.deliveries) == (zqueue.JobState.SCHEDULED, 0)
        clock.advance(timedelta(seconds=50))
    for _look in range(5):
        await worker.tick()
        clock.advance(timedelta(seconds=50))
    assert ran == [(NINE + timedelta(seconds=1000), 1)]


async def test_retries_do_not_hold_up_what_is_due(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Beside retries that all fall due at once, a job runs at its own place in the order of due times."""
    ran: list[str] = []

    def handle(job: zqueue.Job) -> None:
        ran.append(job.id)
        if job.payload == "fails" and job.attempt == 1:
            raise zqueue.RetryLater(timedelta(seconds=60))

    worker = zqueue.Worker(timed, handle, concurrency=1)
    await timed.enqueue_many(zqueue.NewJob("fails", id=f"retry{number:02}") for number in range(50))
    await worker.run(burst=True)
    retries = list(ran)
    ran.clear()
    await timed.enqueue("works", id="before", delay=59)
    await timed.enqueue("works", id="after", delay=61)
    await timed.enqueue("works", id="urgent", delay=61, priority=zqueue.Priority.HIGH)
    clock.advance(timedelta(seconds=62))
    await worker.run(burst=True)
    assert ran == ["urgent", "before", *retries, "after"]


async def test_a_slot_that_ran_is_not_made_again_by_a_slower_worker(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Two workers see a slot that is due; one makes its job, which runs and is gone before the other comes to it."""
    ran: list[str] = []
    await timed.recur("x", zqueue.every(60), 0, after=NINE - timedelta(seconds=1))
    shard = timed.shards[0]
    claim = shard.commands.claim(1, 10_000_000, "ab", 5, solo_ok=True, worker="", kept=timed.kept)
    (seen,) = (await timed.ask(shard, claim)).fires
    worker = zqueue.Worker(timed, lambda job: ran.append(job.id))
    await worker.run(burst=True)
    next_us, jobs = plan(seen, clock.now_us())
    assert await timed.ask(shard, shard.commands.fire(seen.name, seen.slot, next_us, jobs)) == 0
    await worker.run(burst=True)
    assert ran == ["x@2026-11-24T09:00:00Z"]


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_wrong_wall_clock_changes_nothing(valkey: Server, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """A client whose clock is an hour slow or fast schedules, fires and starts jobs by the server's time, once each."""
    right_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + hours * 3600 * 10**9)
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9)
    late_us: list[tuple[str, int]] = []

    async def handle(job: zqueue.Job) -> None:
        assert job.due_us is not None
        late_us.append((str(job.payload), await server_time_us(queue) - job.due_us))

    async with zqueue.Queue(unique_name(), valkey.url) as queue, working(zqueue.Worker(queue, handle)):
        before_us = await server_time_us(queue)
        job = await queue.enqueue("delayed", delay=0.3)
        slot = await queue.recur("slot", zqueue.every(timedelta(seconds=1)), "recurring")
        assert job.due_us is not None
        assert 0 <= job.due_us - before_us - 300_000 < 1_000_000
        assert 0 <= (slot - datetime.fromtimestamp(before_us / 1e6, UTC)).total_seconds() < 2.5
        assert abs(queue.now().timestamp() - before_us / 1e6) < 2.5
        await wait_until(lambda: len(late_us) >= 2)
        await queue.unrecur("slot")
    assert [each for each, _late in late_us].count("delayed") == 1
    assert [late for _each, late in late_us if not 0 <= late < 1_000_000] == []
