"""What zqueue gives to the tests of its users: time travel until idle, seeded states, and the fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zqueue
import zqueue.testing
from tests.conftest import unique_name
from zqueue import JobState, NewJob
from zqueue.embedded import Server
from zqueue.testing import FakeClock, run_until_idle, seed

pytest_plugins = ["pytester"]

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue under test."""
    return FakeClock(START)


@pytest.fixture
async def timed(any_server: Server, clock: FakeClock) -> AsyncIterator[zqueue.Queue]:
    """A queue on each kind of server whose time the test moves, and whose failed jobs run again after 10 s."""
    retry = zqueue.Retry(attempts=3, backoff=zqueue.fixed(10))
    async with zqueue.Queue(unique_name(), any_server.url, retry=retry, clock=clock) as fresh:
        yield fresh


class Log:
    """A handler that notes when each job ran, in seconds since the start."""

    def __init__(self, clock: FakeClock) -> None:
        self.ran: list[tuple[str, float]] = []
        self._clock = clock

    async def __call__(self, job: zqueue.Job[Any]) -> None:
        """Note it."""
        self.ran.append((job.id, (self._clock.now() - START) / SECOND))


def test_a_clock_is_moved_by_hand() -> None:
    """It stands still, goes forward and back, and to a moment in any time zone; a naive one is refused."""
    clock = FakeClock(START)
    assert clock.now() == clock.now() == START
    clock.advance(HOUR)
    clock.advance(-MINUTE)
    assert clock.now() == START + 59 * MINUTE
    clock.travel_to(datetime.fromisoformat("2031-01-01T02:00:00+02:00"))
    assert (clock.now(), clock.now_us()) == (datetime(2031, 1, 1, tzinfo=UTC), 1_924_992_000_000_000)
    with pytest.raises(zqueue.InvalidJob, match="no time zone"):
        clock.travel_to(datetime(2031, 1, 1))  # noqa: DTZ001


async def test_years_pass_at_once(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Each job runs exactly when it is due, however far apart; the clock ends at the last of them."""
    log = Log(clock)
    for id, delay in (("far", 365 * DAY), ("near", MINUTE), ("now", timedelta(0))):
        await timed.enqueue({}, id=id, delay=delay)
    assert await run_until_idle(zqueue.Worker(timed, log), clock) == 3
    assert log.ran == [("now", 0.0), ("near", 60.0), ("far", 365 * 86_400.0)]
    assert clock.now() == START + 365 * DAY


async def test_without_a_clock_time_is_not_moved(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Only what is due runs, and what that makes due; the rest waits."""
    ran: list[str] = []

    async def handler(job: zqueue.Job[Any]) -> None:
        ran.append(job.id)
        if job.id == "first":
            await timed.enqueue({}, id="second")

    await timed.enqueue({}, id="first")
    await timed.enqueue({}, id="later", delay=SECOND)
    assert await run_until_idle(zqueue.Worker(timed, handler)) == 2
    assert (ran, clock.now()) == (["first", "second"], START)


async def test_retries_and_snoozes_are_followed(timed: zqueue.Queue, clock: FakeClock) -> None:
    """A job that fails runs again after its backoff until it is dead, one that snoozes until it does not."""
    ran: list[tuple[str, float]] = []

    async def handler(job: zqueue.Job[Any]) -> None:
        ran.append((job.id, (clock.now() - START) / SECOND))
        if job.id == "fails":
            raise ValueError("no")
        if len(ran) < 6:
            raise zqueue.Snooze(4 * SECOND)

    await timed.enqueue({}, id="fails")
    await timed.enqueue({}, id="snoozes")
    assert await run_until_idle(zqueue.Worker(timed, handler, concurrency=1), clock) == 7
    assert [when for id, when in ran if id == "fails"] == [0.0, 10.0, 20.0]
    assert [when for id, when in ran if id == "snoozes"] == [0.0, 4.0, 8.0, 12.0]


@pytest.mark.parametrize("group", ["g", None])
async def test_limits_are_followed(timed: zqueue.Queue, clock: FakeClock, group: str | None) -> None:
    """Jobs over a rate, of a group or of the queue, run at the slots of the limit, though hundreds are due at once."""
    log = Log(clock)
    await timed.set_limit(group, rate=1, per=HOUR)
    await timed.enqueue_many([NewJob(n, id=f"{n:03}", group="g") for n in range(400)])
    assert await run_until_idle(zqueue.Worker(timed, log), clock, limit=9 * HOUR) == 10
    assert log.ran == [(f"{n:03}", n * 3600.0) for n in range(10)]


async def test_a_limit_that_holds_nobody_up_moves_no_clock(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Time goes on to the last job, and not to when the limit would let another one start."""
    await timed.set_limit("g", rate=1, per=HOUR)
    await timed.enqueue_many([NewJob(n, group="g") for n in range(3)])
    assert await run_until_idle(zqueue.Worker(timed, Log(clock)), clock) == 3
    assert clock.now() == START + 2 * HOUR


async def test_a_cap_on_concurrency_is_no_obstacle(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Jobs of a capped group run one after the other, without the clock."""
    log = Log(clock)
    await timed.set_limit("g", concurrency=1)
    await timed.enqueue_many([NewJob(n, id=str(n), group="g") for n in range(5)])
    assert await run_until_idle(zqueue.Worker(timed, log), clock) == 5
    assert log.ran == [(str(n), 0.0) for n in range(5)]


async def test_schedules_are_followed_up_to_a_limit(timed: zqueue.Queue, clock: FakeClock) -> None:
    """A schedule fires at each slot as long as jobs wait; alone it is followed only as far as the test says."""
    log = Log(clock)
    await timed.recur("hourly", zqueue.every(HOUR), {})
    await timed.enqueue({}, id="once", delay=150 * MINUTE)
    worker = zqueue.Worker(timed, log)
    fired = [(f"hourly@2030-01-01T0{hour}:00:00Z", hour * 3600.0) for hour in range(6)]
    assert await run_until_idle(worker, clock) == 3
    assert log.ran == [fired[1], fired[2], ("once", 9000.0)]
    assert await run_until_idle(worker, clock) == 0
    assert await run_until_idle(worker, clock, limit=150 * MINUTE) == 3  # the slot at the very limit included
    assert log.ran[3:] == fired[3:6]


async def test_a_paused_queue_is_idle(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Nothing of a paused queue runs, nothing hangs, and time stands still."""
    await timed.enqueue({})
    await timed.enqueue({}, delay=HOUR)
    await timed.pause()
    assert await run_until_idle(zqueue.Worker(timed, Log(clock)), clock) == 0
    assert ((await timed.stats()).due, clock.now()) == (1, START)


async def test_what_never_ends_is_told(valkey: Server, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that the worker has no handler for would be given back for ever: the test fails with a reason."""
    monkeypatch.setattr(zqueue.testing, "_MOST_MOVES", 10)
    async with zqueue.Queue(unique_name(), valkey.url, clock=clock) as queue:
        await queue.enqueue({}, name="unknown")
        with pytest.raises(zqueue.ZQueueError, match="not idle after 10 moves of the clock: more to do at 2030-01-01"):
            await run_until_idle(zqueue.Worker(queue, {"known": Log(clock)}), clock)


async def test_more_jobs_than_slots(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Everything due runs, in order, whatever the concurrency."""
    log = Log(clock)
    await timed.enqueue_many([NewJob(n, id=f"{n:02}") for n in range(20)])
    assert await run_until_idle(zqueue.Worker(timed, log, concurrency=3)) == 20
    assert sorted(log.ran) == [(f"{n:02}", 0.0) for n in range(20)]


async def _states(queue: zqueue.Queue) -> dict[str, list[str]]:
    return {str(state): sorted(job.id for job in await queue.jobs(state, limit=1000)) for state in JobState}


def _named(*ids: str, **options: Any) -> list[NewJob]:
    return [NewJob({"id": id}, id=id, **options) for id in ids]


async def test_jobs_in_every_state(timed: zqueue.Queue, clock: FakeClock) -> None:
    """A test begins with jobs in the states it wants: real ones, that go on from there."""
    many = [f"l{n:03}" for n in range(150)]
    await seed(
        timed,
        scheduled=_named("later", delay=HOUR) + _named("due"),
        leased=_named(*many, at=START + DAY),
        done=_named("done", keep_done=DAY),
        dead=_named("dead-1", "dead-2"),
    )
    assert await _states(timed) == {
        "scheduled": ["due", "later"],
        "leased": many,
        "done": ["done"],
        "dead": ["dead-1", "dead-2"],
    }
    dead, done = await timed.get("dead-1"), await timed.get("done")
    assert dead is not None
    assert (dead.error, dead.ended_at) == ("seeded", START)
    assert done is not None
    assert (done.result, done.keep_done) == (None, DAY)

    log = Log(clock)
    assert await run_until_idle(zqueue.Worker(timed, log), clock) == 152
    assert sorted(log.ran) == [("due", 0.0), *((id, 10.0) for id in many), ("later", 3600.0)]


async def test_seeding_needs_a_quiet_queue(timed: zqueue.Queue) -> None:
    """Jobs that are due would be run by it, and done jobs that nobody keeps would vanish: both are refused."""
    with pytest.raises(zqueue.InvalidJob, match="keep_done"):
        await seed(timed, done=_named("x"))
    await timed.enqueue({}, id="due")
    with pytest.raises(zqueue.InvalidJob, match="jobs that are due"):
        await seed(timed, dead=_named("x"))
    assert await _states(timed) == {"scheduled": ["due"], "leased": [], "done": [], "dead": []}


async def test_seeding_a_sharded_queue(valkey: Server, clock: FakeClock) -> None:
    """Leases and all on every shard."""
    ids = [f"{n:03}" for n in range(300)]
    async with zqueue.Queue(unique_name(), valkey.url, shards=3, clock=clock) as queue:
        await seed(queue, leased=_named(*ids), dead=_named("a", "b", "c"), lease=MINUTE)
        assert await _states(queue) == {"scheduled": [], "leased": ids, "done": [], "dead": ["a", "b", "c"]}
        log = Log(clock)
        assert await run_until_idle(zqueue.Worker(queue, log), clock) == 300
    assert {when for _id, when in log.ran} == {60.0}


USERS_TEST = """
from datetime import timedelta
import pytest
import zqueue
from zqueue.testing import run_until_idle

names = set()

@pytest.mark.asyncio
async def test_first(zqueue_queue, zqueue_clock, zqueue_server):
    names.add(zqueue_queue.name)
    job = await zqueue_queue.enqueue({"n": 1}, delay=timedelta(days=365))
    before = zqueue_clock.now()
    assert await run_until_idle(zqueue.Worker(zqueue_queue, lambda job: job.payload["n"] + 1), zqueue_clock) == 1
    assert zqueue_clock.now() - before == timedelta(days=365)
    assert await job.result(timeout=5) == 2
    async with zqueue.Queue("other", zqueue_server.url) as other:
        assert (await other.enqueue({})).created

@pytest.mark.asyncio
async def test_second(zqueue_queue):
    assert (await zqueue_queue.stats()).done == 0
    names.add(zqueue_queue.name)
    assert len(names) == 2
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_fixtures_of_the_plugin(pytester: pytest.Pytester, mode: str) -> None:
    """A user's suite that names the plugin has a server, a clock, and a queue of each test's own, without a warning."""
    pytester.makeconftest('pytest_plugins = ["zqueue.pytest_plugin"]')
    pytester.makeini(
        f"""
        [pytest]
        asyncio_mode = {mode}
        asyncio_default_fixture_loop_scope = function
        filterwarnings = error
        """
    )
    pytester.makepyfile(USERS_TEST)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_the_plugin_without_pytest_asyncio(pytester: pytest.Pytester) -> None:
    """The server and the clock need no plugin for asynchronous tests: a blocking queue will do."""
    pytester.makeconftest(
        """
        import sys

        sys.modules["pytest_asyncio"] = None  # as if it were not installed
        pytest_plugins = ["zqueue.pytest_plugin"]
        """
    )
    pytester.makepyfile(
        """
        from zqueue.blocking import Queue

        def test_sync(zqueue_server, zqueue_clock):
            with Queue("sync", zqueue_server.url, clock=zqueue_clock) as queue:
                assert queue.enqueue({}, delay=5).due_at == zqueue_clock.now().replace(second=5)
        """
    )
    ended = pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:cacheprovider")
    ended.assert_outcomes(passed=1)
