"""What cannot be a schedule, among the schedules: told, dropped or left alone; it neither spins nor stops a worker."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zqueue
from tests.asking import ask_server, calls, until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue.embedded import Server
from zqueue.testing import FakeClock

NINE = datetime(2026, 11, 24, 9, tzinfo=UTC)
HOURLY = zqueue.cron("0 * * * *")
ENVELOPE = b'1{"payload":0}'
GOOD = b'["every",3600000000]\nonce ' + ENVELOPE

UNREADABLE = {
    "nothing": b"",
    "no second line": b'["every",3600000000]',
    "no JSON": b"x\nonce " + ENVELOPE,
    "not UTF-8": b"\xff\nonce \xff",
    "an unknown kind": b'["moon","full"]\nonce ' + ENVELOPE,
    "an unknown zone": b'["cron","* * * * *","Mars/Olympus"]\nonce ' + ENVELOPE,
    "never": b'["cron","0 0 30 2 *","UTC"]\nonce ' + ENVELOPE,
    "an unknown policy": b'["every",3600000000]\nmaybe ' + ENVELOPE,
}


async def put(queue: zqueue.Queue, name: bytes, spec: bytes | None, score: Any) -> None:
    """Write a schedule as no script would."""
    prefix = queue.shards[0].keys.prefix
    if spec is not None:
        await ask_server(queue, "HSET", f"{prefix}recurring", name, spec)
    await ask_server(queue, "ZADD", f"{prefix}fires", score, name)


async def fires(queue: zqueue.Queue) -> dict[bytes, float]:
    """The names that have a slot, and when, us."""
    flat = iter(await ask_server(queue, "ZRANGE", f"{queue.shards[0].keys.prefix}fires", 0, -1, "WITHSCORES"))
    return {name: float(score) for name, score in zip(flat, flat, strict=True)}


@pytest.mark.parametrize("spec", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_schedule_that_does_not_decode_is_left_alone(
    any_server: Server, spec: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once a minute and kept: a newer program may know it. The others beside it fire."""
    clock, ran = FakeClock(NINE), list[str]()
    async with zqueue.Queue(unique_name(), any_server.url, clock=clock) as queue:
        await queue.recur("good", HOURLY, 0, after=NINE - timedelta(hours=1))
        await put(queue, b"bad\xff", spec, 5)
        worker = zqueue.Worker(queue, lambda job: ran.append(job.id))
        for second in (0, 59, 62):
            clock.travel_to(NINE + timedelta(seconds=second))
            await worker.run(burst=True)

        told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert ran == ["good@2026-11-24T09:00:00Z"]
        assert [each.partition(" does not decode")[0] for each in told] == [r"schedule 'bad\\xff'"] * 2
        assert [each.name for each in await queue.recurring()] == ["good"]
        assert set(await fires(queue)) == {b"good", b"bad\xff"}


async def test_a_slot_of_an_unknown_name_is_dropped(any_server: Server) -> None:
    """A name in `fires` with nothing behind it goes, also many of them, and the others fire."""
    clock, ran = FakeClock(NINE), list[str]()
    async with zqueue.Queue(unique_name(), any_server.url, clock=clock) as queue:
        await queue.recur("good", HOURLY, 0, after=NINE - timedelta(hours=1))
        for number in range(35):
            await put(queue, b"gone%d" % number, None, number)
        await zqueue.Worker(queue, lambda job: ran.append(job.id)).run(burst=True)
        assert (ran, set(await fires(queue))) == (["good@2026-11-24T09:00:00Z"], {b"good"})


@pytest.mark.parametrize("score", ["-inf", "-1e300", "-1", "0", "5.5"])
async def test_a_slot_at_no_time_of_ours_moves_on(any_server: Server, score: str) -> None:
    """A score that nobody here writes counts as a slot that was missed."""
    clock, ran = FakeClock(NINE), list[str]()
    async with zqueue.Queue(unique_name(), any_server.url, clock=clock) as queue:
        await put(queue, b"x", GOOD, score)
        await zqueue.Worker(queue, lambda job: ran.append(job.id)).run(burst=True)
        assert ran == ["x@2026-11-24T09:00:00Z"]
        assert [each.next_at for each in await queue.recurring()] == [NINE + timedelta(hours=1)]


async def test_a_schedule_without_a_further_slot_is_left_alone(
    any_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """In the last hour of the year 9999, say: it is told, and the worker lives."""
    clock, ran = FakeClock(datetime.max.replace(tzinfo=UTC)), list[str]()
    async with zqueue.Queue(unique_name(), any_server.url, clock=clock) as queue:
        await put(queue, b"x", GOOD, 0)
        await queue.enqueue(0, id="beside")
        await zqueue.Worker(queue, lambda job: ran.append(job.id)).run(burst=True)
    assert ran == ["beside"]
    assert "every 1:00:00 has no slot after 9999-12-31" in caplog.text


async def test_a_slot_that_never_comes_is_shown(any_server: Server) -> None:
    """Infinity is the last moment there is; to say the schedule with other times gives it one that comes."""
    clock = FakeClock(NINE)
    async with zqueue.Queue(unique_name(), any_server.url, clock=clock) as queue:
        await put(queue, b"x", GOOD, "+inf")
        await zqueue.Worker(queue, lambda job: None).run(burst=True)
        assert [each.next_at.year for each in await queue.recurring()] == [9999]
        assert await queue.recur("x", HOURLY, 0) == NINE + timedelta(hours=1)


async def test_an_envelope_that_does_not_decode_is_buried_at_each_slot(any_server: Server) -> None:
    """The schedule goes on; each of its jobs is dead with the reason, and the worker lives."""
    clock = FakeClock(NINE)
    async with zqueue.Queue(unique_name(), any_server.url, clock=clock) as queue:
        await put(queue, b"x", b'["every",3600000000]\nonce 1{', 0)
        for _slot in range(2):
            await zqueue.Worker(queue, lambda job: None).run(burst=True)
            clock.advance(timedelta(hours=1))
        dead = await queue.jobs(zqueue.JobState.DEAD)
        assert [job.id for job in dead] == [f"x@2026-11-24T{hour}:00:00Z" for hour in ("09", "10")]
        assert "envelope that does not decode" in str(dead[0].error)
        assert await queue.recurring() == []


async def test_a_spec_without_a_slot_is_no_schedule(any_server: Server) -> None:
    """Half of one is not listed and never fires; to say it makes it whole."""
    clock = FakeClock(NINE)
    async with zqueue.Queue(unique_name(), any_server.url, clock=clock) as queue:
        await ask_server(queue, "HSET", f"{queue.shards[0].keys.prefix}recurring", "x", GOOD)
        assert await queue.recurring() == []
        assert await queue.recur("x", zqueue.every(3600), 0) == NINE + timedelta(hours=1)


async def test_garbage_does_not_keep_a_worker_busy(start_server: Any) -> None:
    """A worker beside schedules that do not decode sleeps as it does without them, and hears of a job at once."""
    ran: list[str] = []
    async with zqueue.Queue(unique_name(), start_server().url) as queue:
        for number in range(25):
            await put(queue, b"bad%d" % number, b"x", number)
        async with working(zqueue.Worker(queue, lambda job: ran.append(job.id))):

            async def left_alone() -> bool:
                return min((await fires(queue)).values()) > 25

            await until(left_alone)
            before = (await calls(queue))["evalsha"]
            await queue.enqueue(0, id="x", delay=1)
            await wait_until(lambda: ran == ["x"])
            assert (await calls(queue))["evalsha"] - before < 20


async def test_a_full_server_is_not_pestered(start_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It refuses the slot's job: the worker says so and tries again with pauses; there is room, and the slot fires."""
    ran: list[str] = []
    async with zqueue.Queue(unique_name(), start_server().url) as queue:
        worker = zqueue.Worker(queue, lambda job: ran.append(job.id))
        async with working(worker):
            await wait_until(lambda: worker.last_claim is not None)
            slot = await queue.recur("x", zqueue.every(1), 0)
            await ask_server(queue, "CONFIG", "SET", "maxmemory", "1")
            await until(lambda: _has_passed(queue, slot))
            before = (await calls(queue))["evalsha"]
            await until(lambda: _has_passed(queue, slot + timedelta(seconds=1)))
            spent = (await calls(queue))["evalsha"] - before
            fired = list(ran)
            await ask_server(queue, "CONFIG", "SET", "maxmemory", "0")
            await wait_until(lambda: len(ran) > 0)
    assert fired == []
    assert spent < 60
    assert "used memory > 'maxmemory'" in caplog.text


async def _has_passed(queue: zqueue.Queue, moment: datetime) -> bool:
    seconds, _us = await ask_server(queue, "TIME")
    return int(seconds) > moment.timestamp()
