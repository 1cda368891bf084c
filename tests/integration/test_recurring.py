"""Schedules on a server: what a name holds, and the jobs that its slots make. Time travels by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zqueue
from tests.conftest import unique_name
from tests.integration.working import checked_queue
from zqueue.clock import instant_us
from zqueue.embedded import Server
from zqueue.recurring import Recurring
from zqueue.schedule import Misfire
from zqueue.testing import FakeClock, run_until_idle

EIGHT = datetime(2026, 11, 24, 8, tzinfo=UTC)
NINE = EIGHT + timedelta(hours=1)
HOUR = timedelta(hours=1)
HOURLY = zqueue.cron("0 * * * *")


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue under test: half past eight."""
    return FakeClock(EIGHT + HOUR / 2)


@pytest.fixture
async def timed(any_server: Server, clock: FakeClock) -> AsyncIterator[zqueue.Queue]:
    """A queue on each kind of server whose time the test moves; its keys are checked when the test ends."""
    async with checked_queue(any_server.url, clock=clock) as fresh:
        yield fresh


class Ran:
    """A handler that notes the slots for which its jobs were made."""

    def __init__(self) -> None:
        self.jobs: list[zqueue.Job[Any]] = []

    def __call__(self, job: zqueue.Job[Any]) -> None:
        """Note it."""
        self.jobs.append(job)

    @property
    def slots(self) -> list[datetime | None]:
        """Their due times, in order."""
        return [job.due_at for job in self.jobs]


async def test_a_slot_makes_a_job_of_its_name(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Called NAME@SLOT and due at its slot, with all that the schedule says of its jobs; and not a moment earlier."""
    retry = zqueue.Retry(2, zqueue.fixed(5))
    options: dict[str, Any] = {"group": "reports", "retry": retry, "timeout": timedelta(seconds=30)}
    slot = await timed.recur("nightly", HOURLY, {"n": 1}, task="report", priority=zqueue.Priority.HIGH, **options)
    ran = Ran()
    worker = zqueue.Worker(timed, {"report": ran})

    clock.travel_to(NINE - timedelta(microseconds=1))
    assert (slot, await worker.tick(), ran.jobs) == (NINE, 0, [])
    clock.travel_to(NINE)
    assert await worker.tick() == 1

    (job,) = ran.jobs
    found = (job.id, job.due_at, job.payload, job.name, job.group, job.priority, job.retry, job.timeout, job.attempt)
    expected = ("nightly@2026-11-24T09:00:00Z", NINE, {"n": 1}, "report", "reports", zqueue.Priority.HIGH, retry)
    assert found == (*expected, timedelta(seconds=30), 1)
    assert await timed.recurring() == [
        Recurring("nightly", HOURLY, NINE + HOUR, {"n": 1}, "once", "report", zqueue.Priority.HIGH, **options)
    ]


async def test_saying_it_again_changes_nothing(timed: zqueue.Queue, clock: FakeClock) -> None:
    """The slot stays, also when it has passed and no worker has come yet: no restart skips it or fires it anew."""
    assert await timed.recur("x", HOURLY, 0) == NINE
    clock.travel_to(NINE + timedelta(minutes=20))
    assert await timed.recur("x", HOURLY, 0) == NINE
    ran = Ran()

    assert await zqueue.Worker(timed, ran).tick() == 1
    assert await timed.recur("x", HOURLY, 0) == NINE + HOUR
    assert await zqueue.Worker(timed, ran).tick() == 0

    assert ran.slots == [NINE]


async def test_other_jobs_at_the_same_times_keep_the_slot(timed: zqueue.Queue, clock: FakeClock) -> None:
    """A new payload is for the slot that is next, which does not move."""
    await timed.recur("x", HOURLY, "old")
    clock.travel_to(NINE + timedelta(minutes=20))
    assert await timed.recur("x", HOURLY, "new", misfire="all", task="t") == NINE
    assert await timed.recurring() == [Recurring("x", HOURLY, NINE, "new", "all", "t")]


async def test_other_times_make_another_slot(timed: zqueue.Queue, clock: FakeClock) -> None:
    """A changed schedule starts from now: later or earlier than before, and what the old one missed is gone."""
    await timed.recur("x", HOURLY, 0)
    assert await timed.recur("x", zqueue.every(60), 0) == EIGHT + timedelta(minutes=31)
    clock.travel_to(NINE + timedelta(minutes=20))
    assert await timed.recur("x", zqueue.cron("0 12 * * *", tz="Europe/Berlin"), 0) == NINE + 2 * HOUR
    assert await zqueue.Worker(timed, Ran()).tick() == 0


async def test_a_shorter_schedule_of_the_same_beginning_is_another(timed: zqueue.Queue) -> None:
    """What is compared is all of a schedule's times, not how they begin."""
    await timed.recur("x", zqueue.every(36_000), 0)
    assert await timed.recur("x", zqueue.every(3600), 0) == NINE


async def test_after_a_slot(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Slots start after a given moment, in the past too; the same times said again only ever move forward."""
    assert await timed.recur("x", HOURLY, 0, after=NINE) == NINE + HOUR
    assert await timed.recur("x", HOURLY, 0, after=EIGHT) == NINE + HOUR
    assert await timed.recur("x", HOURLY, 0, after=NINE + 3 * HOUR) == NINE + 4 * HOUR
    assert await timed.recur("x", HOURLY, 0) == NINE + 4 * HOUR
    past = EIGHT - 4 * HOUR
    assert await timed.recur("past", HOURLY, 0, after=past, misfire="all") == past + HOUR

    ran = Ran()
    await zqueue.Worker(timed, ran).tick()
    assert ran.slots == [EIGHT - 3 * HOUR, EIGHT - 2 * HOUR, EIGHT - HOUR, EIGHT]


async def test_the_end_of_a_schedule(timed: zqueue.Queue, clock: FakeClock) -> None:
    """It fires no more; the jobs it has made stay; and it can begin anew."""
    await timed.recur("x", HOURLY, 0, task="later")
    clock.travel_to(NINE)
    await zqueue.Worker(timed, {}).tick()  # of a worker that does not know the task

    assert (await timed.unrecur("x"), await timed.unrecur("x"), await timed.recurring()) == (True, False, [])
    clock.advance(5 * HOUR)
    ran = Ran()
    await run_until_idle(zqueue.Worker(timed, ran))
    assert [job.id for job in ran.jobs] == ["x@2026-11-24T09:00:00Z"]
    assert await timed.recur("x", HOURLY, 0) == NINE + 6 * HOUR
    assert await timed.unrecur("x")


async def test_many_clients_say_it_at_once(any_server: Server, clock: FakeClock) -> None:
    """Twenty programs that start together leave one schedule, and its slot makes one job."""
    name = unique_name()
    clients = [zqueue.Queue(name, any_server.url, clock=clock) for _ in range(20)]
    slots = await asyncio.gather(*(client.recur("x", HOURLY, number) for number, client in enumerate(clients)))
    clock.travel_to(NINE)
    ran = Ran()
    claimed = await asyncio.gather(*(zqueue.Worker(client, ran).tick() for client in clients))

    assert (set(slots), len(await clients[0].recurring()), sum(claimed), ran.slots) == ({NINE}, 1, 1, [NINE])
    for client in clients:
        await client.close()


async def test_schedules_are_listed_by_name(timed: zqueue.Queue) -> None:
    """With their next slots."""
    for name in ("b", "a", "ü"):
        await timed.recur(name, HOURLY, name)
    assert [(each.name, each.next_at, each.payload) for each in await timed.recurring()] == [
        (name, NINE, name) for name in ("a", "b", "ü")
    ]


@pytest.mark.parametrize(
    ("misfire", "late", "fired"),
    [
        ("skip", 300 * HOUR + timedelta(seconds=61), []),
        ("skip", 300 * HOUR + timedelta(seconds=50), [300]),
        ("once", 300 * HOUR + timedelta(minutes=59), [300]),
        ("all", 300 * HOUR + timedelta(minutes=59), [*range(301)]),
    ],
)
async def test_slots_that_were_missed(
    timed: zqueue.Queue, clock: FakeClock, misfire: Misfire, late: timedelta, fired: list[int]
) -> None:
    """When no worker has run for days: none, one, or a job for each slot; then the schedule goes on as ever."""
    await timed.recur("x", HOURLY, 0, misfire=misfire)
    clock.travel_to(NINE + late)
    ran = Ran()
    worker = zqueue.Worker(timed, ran)

    await run_until_idle(worker)
    assert sorted(filter(None, ran.slots)) == [NINE + HOUR * count for count in fired]
    clock.travel_to(NINE + 301 * HOUR)
    await run_until_idle(worker)
    assert ran.slots[len(fired) :] == [NINE + 301 * HOUR]


async def test_years_that_were_missed_cost_one_job(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Of a schedule each second, too; the worker is not held up by the slots between."""
    await timed.recur("x", zqueue.every(1), 0)
    clock.travel_to(NINE + timedelta(days=3650))
    ran = Ran()
    async with asyncio.timeout(10):
        assert await zqueue.Worker(timed, ran).tick() == 1
    assert ran.slots == [NINE + timedelta(days=3650)]


async def test_the_test_s_clock_alone_says_what_is_due(
    timed: zqueue.Queue, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time stands still until it is moved, however long the worker takes between finding a slot and firing it."""
    await timed.recur("x", HOURLY, 0)
    clock.travel_to(NINE)
    monkeypatch.setattr(timed.server_clock, "now_us", lambda: instant_us("later", NINE + 2 * HOUR))
    ran = Ran()
    assert await zqueue.Worker(timed, ran).tick() == 1
    assert ran.slots == [NINE]


async def test_a_paused_queue_makes_no_jobs(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Nothing fires until it goes on; then the slots in between were missed."""
    await timed.recur("x", HOURLY, 0)
    await timed.pause()
    clock.travel_to(NINE + 3 * HOUR)
    ran = Ran()
    worker = zqueue.Worker(timed, ran)

    await run_until_idle(worker)
    assert (ran.slots, [each.next_at for each in await timed.recurring()]) == ([], [NINE])
    await timed.resume()
    await run_until_idle(worker)
    assert ran.slots == [NINE + 3 * HOUR]


@pytest.mark.parametrize(
    ("start", "slots"),
    [
        ("2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 05:30", "2026-03-10 05:30"]),  # 2:30 is skipped: at 3:00
        ("2026-10-31 12:00", ["2026-11-01 05:30", "2026-11-02 06:30", "2026-11-03 06:30"]),  # 1:30 comes twice: once
    ],
)
async def test_changes_of_the_clocks(timed: zqueue.Queue, clock: FakeClock, start: str, slots: list[str]) -> None:
    """A daily report in New York is made once each day, an hourly one each hour of real time."""
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    clock.travel_to(begin)
    at = "30 1" if slots[0].endswith("05:30") else "30 2"
    await timed.recur("daily", zqueue.cron(f"{at} * * *", tz="America/New_York"), 0, task="daily")
    await timed.recur("hourly", zqueue.cron("15 * * * *", tz="America/New_York"), 0, task="hourly")
    daily, hourly = Ran(), Ran()

    await run_until_idle(zqueue.Worker(timed, {"daily": daily, "hourly": hourly}), clock, limit=timedelta(days=3))

    expected = [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in slots]
    if at == "30 2":  # those after the change are at 2:30, not at 1:30
        expected[1:] = [each + HOUR for each in expected[1:]]
    assert daily.slots == expected
    assert hourly.slots == [begin + timedelta(minutes=15) + HOUR * count for count in range(72)]


async def test_a_schedule_and_its_jobs_share_a_shard(any_server: Server, clock: FakeClock) -> None:
    """On a queue of several, a job that a slot made is found by its id, and each schedule fires once."""
    async with zqueue.Queue(unique_name(), any_server.url, shards=4, clock=clock) as queue:
        names = [f"s{number}" for number in range(12)]
        for name in names:
            await queue.recur(name, HOURLY, 0, task="unknown")
        clock.travel_to(NINE)
        await zqueue.Worker(queue, {}).tick()

        assert [each.name for each in await queue.recurring()] == sorted(names)
        found = [await queue.get(f"{name}@2026-11-24T09:00:00Z") for name in names]
        assert [job.id for job in found if job] == [f"{name}@2026-11-24T09:00:00Z" for name in names]
        assert [await queue.unrecur(name) for name in names] == [True] * 12
        assert await queue.recurring() == []


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("", {}, "the name of a schedule"),
        ("x" * 161, {}, "at most 160 bytes"),
        ("x\n", {}, "the name of a schedule"),
        (5, {}, "the name of a schedule"),
        ("x", {"schedule": "* * * * *"}, r"a schedule comes from cron\(...\) or every\(...\), not '\* \* \* \* \*'"),
        ("x", {"misfire": "never"}, "misfire must be one of skip, once, all, not 'never'"),
        ("x", {"after": datetime(2026, 11, 24)}, "2026-11-24T00:00:00 has no time zone"),  # noqa: DTZ001
        ("x", {"payload": object()}, "payload"),
        ("x", {"timeout": -1}, "timeout"),
        ("x", {"group": ""}, "group"),
    ],
)
async def test_nonsense_is_refused_by_name(timed: zqueue.Queue, name: str, options: dict[str, Any], named: str) -> None:
    """What cannot be a schedule, or its jobs, is refused before anything is stored."""
    arguments = {"schedule": HOURLY, "payload": 0, **options}
    with pytest.raises(zqueue.InvalidJob, match=named):
        await timed.recur(name, **arguments)
    assert await timed.recurring() == []
