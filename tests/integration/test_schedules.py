"""Schedules of e-mails on a real queue: each slot is one e-mail, whatever happens to queue and workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import zqueue
from service import suppression
from service.dispatch import ForeignJob
from service.email.faults import Fault
from service.email.record import Status
from service.recurring.definition import PROGRESS, TASK
from service.store.errors import StoreUnavailable
from service.templating.renderer import CutShort, Rendered, Source
from tests.conftest import unique_name
from tests.integration.recurring import World, a_definition, a_world
from zqueue.embedded import Server
from zqueue.testing import FakeClock, run_until_idle

START = datetime(2026, 3, 26, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
HOURLY = a_definition("0 * * * *", "UTC")


@pytest.fixture
def clock() -> FakeClock:
    """The time of everything under test: noon, three days before summer time begins in Berlin."""
    return FakeClock(START)


@pytest.fixture
async def timed(valkey: Server, clock: FakeClock) -> AsyncIterator[zqueue.Queue]:
    """A queue of the test's own on that clock."""
    async with zqueue.Queue(unique_name(), valkey.url, clock=clock) as fresh:
        yield fresh


@pytest.fixture
async def world(tmp_path: Path, timed: zqueue.Queue, clock: FakeClock) -> AsyncIterator[World]:
    """One process."""
    async with a_world(tmp_path, timed, clock) as world:
        yield world


async def test_nine_in_berlin_is_nine_in_berlin(world: World, clock: FakeClock) -> None:
    """An e-mail a day, at 9:00 of the local clock, through both changes of a year."""
    await world.schedules.put("daily", a_definition())
    await world.follow(START + 5 * DAY)
    assert world.accepted_at == [
        "2026-03-27T08:00",
        "2026-03-28T08:00",
        "2026-03-29T07:00",
        "2026-03-30T07:00",
        "2026-03-31T07:00",
    ]
    clock.travel_to(datetime(2026, 10, 23, 12, tzinfo=UTC))
    await run_until_idle(world.worker)
    await world.follow(datetime(2026, 10, 27, 12, tzinfo=UTC))
    assert world.accepted_at[5:] == [
        "2026-10-23T12:00",  # for all that was missed meanwhile
        "2026-10-24T07:00",
        "2026-10-25T08:00",
        "2026-10-26T08:00",
        "2026-10-27T08:00",
    ]


async def test_a_time_that_the_clock_skips_or_repeats_happens_once(world: World, clock: FakeClock) -> None:
    """2:30 is 3:00 on the day that has no 2:30, and the first of the two on the day that has it twice."""
    await world.schedules.put("night", a_definition("30 2 * * *"))
    await world.follow(datetime(2026, 3, 30, 12, tzinfo=UTC))
    await world.schedules.pause("night")
    clock.travel_to(datetime(2026, 10, 24, 12, tzinfo=UTC))
    await world.schedules.resume("night")
    await world.follow(datetime(2026, 10, 26, 12, tzinfo=UTC))
    assert world.accepted_at == [
        "2026-03-27T01:30",
        "2026-03-28T01:30",
        "2026-03-29T01:00",
        "2026-03-30T00:30",
        "2026-10-25T00:30",
        "2026-10-26T01:30",
    ]


async def test_a_fire_is_told(world: World) -> None:
    """The schedule shows its last slot, the e-mail that it made, and what comes next; the log has the same."""
    await world.schedules.put("hourly", HOURLY)
    await world.follow(START + HOUR)
    (email,) = world.emails
    shown = world.schedules.get("hourly")
    assert (shown.progress.done, shown.progress.email_id, shown.progress.error) == (START + HOUR, email.id, None)
    assert shown.next_fires == [START + n * HOUR for n in range(2, 7)]
    assert world.told()[-1] == (
        "schedule.fired",
        {"slot": "2026-03-26T13:00:00Z", "email_id": email.id, "error": None},
    )
    assert world.store.key("schedule:hourly:2026-03-26T13:00:00Z", world.outbox.now()) is not None


async def test_an_emptied_queue_neither_loses_nor_repeats_a_slot(world: World, clock: FakeClock) -> None:
    """Whenever it is emptied, the next look of the reconciler brings every schedule back, after its last slot."""
    await world.schedules.put("hourly", HOURLY)
    for hour in range(1, 6):
        await world.empty_queue()
        await world.upkeep.all()
        await world.follow(START + hour * HOUR)
        await world.empty_queue()
        clock.advance(HOUR / 4)
        await world.upkeep.all()
        await run_until_idle(world.worker)
    assert world.accepted_at == [f"2026-03-26T{hour}:00" for hour in (13, 14, 15, 16, 17)]


async def test_a_slot_that_passed_while_the_queue_was_empty_is_made_up_for(world: World, clock: FakeClock) -> None:
    """As its misfire policy has it: once for all that were missed, or once for each, or not at all."""
    for name in ("once", "all", "skip"):
        await world.schedules.put(name, replace(HOURLY, misfire=name, email=HOURLY.email | {"subject": name}))
    await world.follow(START + HOUR)
    await world.empty_queue()
    clock.advance(3 * HOUR + HOUR / 2)
    await world.upkeep.all()
    await world.follow(START + 5 * HOUR)
    made = [(email.content.subject, at[-5:]) for email, at in zip(world.emails, world.accepted_at, strict=True)]
    assert sorted(made) == [
        *[("all", "13:00"), ("all", "16:30"), ("all", "16:30"), ("all", "16:30"), ("all", "17:00")],
        *[("once", "13:00"), ("once", "16:30"), ("once", "17:00")],
        *[("skip", "13:00"), ("skip", "17:00")],
    ]


async def test_two_workers_fire_a_slot_once(world: World, tmp_path: Path, clock: FakeClock) -> None:
    """Two processes with a store of their own on the same folder, both at work at every slot."""
    await world.schedules.put("hourly", HOURLY)
    async with a_world(tmp_path, world.queue, clock) as other:
        for hour in range(1, 11):
            clock.travel_to(START + hour * HOUR)
            await asyncio.gather(run_until_idle(world.worker), run_until_idle(other.worker))
    assert world.accepted_at == [
        (START + hour * HOUR).isoformat(timespec="minutes").removesuffix("+00:00") for hour in range(1, 11)
    ]


async def test_the_same_fire_twice_is_one_email(world: World) -> None:
    """A job that comes again - its worker died before it could say that it was done - makes nothing new."""
    await world.schedules.put("hourly", HOURLY)
    slot = "2026-03-26T13:00:00Z"
    job = zqueue.Job(f"hourly@{slot}", world.upkeep.payload(HOURLY), name=TASK)
    for _ in range(3):
        await world.fires(job)
    await world.schedules.put("hourly", replace(HOURLY, email=HOURLY.email | {"subject": "Other"}))
    await world.fires(job)
    assert [email.content.subject for email in world.emails] == ["Hi"]
    assert [type_ for type_, _ in world.told()].count("schedule.fired") == 1


async def test_two_workers_with_the_same_fire_make_one_email(world: World, tmp_path: Path, clock: FakeClock) -> None:
    """One of them is frozen, its job runs elsewhere, and it comes back: the store decides, under its lock."""
    await world.schedules.put("hourly", HOURLY)
    job = zqueue.Job("hourly@2026-03-26T13:00:00Z", world.upkeep.payload(HOURLY), name=TASK)
    async with a_world(tmp_path, world.queue, clock) as other:
        await asyncio.gather(*(each.fires(job) for each in (world, other) for _ in range(5)))
    assert len(world.emails) == 1
    assert [type_ for type_, _ in world.told()].count("schedule.fired") == 1


async def test_a_fire_that_died_before_it_was_written_down_is_written_down_later(world: World) -> None:
    """The e-mail is there, the schedule does not know yet: the job comes again, and then it does."""
    await world.schedules.put("hourly", HOURLY)
    await world.follow(START + HOUR)
    (email,) = world.emails
    before = world.schedules.get("hourly").progress
    forgotten = replace(before, done=None, fired_at=None, email_id=None)
    await world.store.write(lambda t: t.put(PROGRESS, "hourly", forgotten.data(), type="schedule.progress"))
    await world.upkeep.all()
    await world.fires(zqueue.Job("hourly@2026-03-26T13:00:00Z", world.upkeep.payload(HOURLY), name=TASK))
    after = world.schedules.get("hourly").progress
    assert (after.done, after.email_id, [one.id for one in world.emails]) == (START + HOUR, email.id, [email.id])


async def test_a_restart_goes_on_where_it_was(tmp_path: Path, timed: zqueue.Queue, clock: FakeClock) -> None:
    """Everything is in the store: a new process on an empty queue neither repeats nor forgets a slot."""
    for hour in range(1, 4):
        async with a_world(tmp_path, timed, clock) as world:
            if hour == 1:
                await world.schedules.put("hourly", HOURLY)
            await world.upkeep.all()
            await world.follow(START + hour * HOUR)
            await world.empty_queue()
            assert world.accepted_at == [f"2026-03-26T{12 + n}:00" for n in range(1, hour + 1)]


async def test_what_cannot_be_accepted_is_told_and_the_next_slot_tries_again(world: World) -> None:
    """A template that lacks something by now makes no e-mail; the schedule says why until one works."""
    await world.templates.put("news", Source(text="Hello"))
    email = {"from": "a@example.com", "to": "b@example.com", "template": {"name": "news"}}
    await world.schedules.put("hourly", replace(HOURLY, email=email))
    await world.templates.put("news", Source(text="Hello {{ name }}"))
    await world.follow(START + HOUR)
    error = "/email/template/variables do not fill news@2: its text fails in line 1: 'name' is undefined"
    progress = world.schedules.get("hourly").progress
    assert (world.emails, progress.error, progress.email_id) == ([], error, None)
    assert world.told()[-1] == (
        "schedule.failed",
        {"slot": "2026-03-26T13:00:00Z", "email_id": None, "error": error},
    )
    await world.templates.delete("news")
    await world.follow(START + 2 * HOUR)
    assert world.schedules.get("hourly").progress.error == "/email/template/name is not the name of a template"
    await world.templates.put("news", Source(text="Bye"))
    await world.follow(START + 3 * HOUR)
    assert world.schedules.get("hourly").progress.error is None
    assert [one.content.template for one in world.emails] == ["news@3"]


async def test_recipients_who_want_no_more_get_no_more(world: World) -> None:
    """With all of them suppressed a slot makes an e-mail that fails at once, and the schedule says so."""
    await world.schedules.put("hourly", HOURLY)
    await world.store.write(lambda t: suppression.add(t, "b@example.com", suppression.Reason.UNSUBSCRIBE))
    await world.follow(START + HOUR)
    (email,) = world.emails
    progress = world.schedules.get("hourly").progress
    assert (email.state.status, email.state.reason, progress.email_id) == (Status.FAILED, "suppressed", email.id)
    assert progress.error == "every recipient is on the suppression list"
    assert world.told()[-1][0] == "schedule.failed"


async def test_a_slot_is_not_lost_to_a_busy_machine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that is not filled in time is tried again, and in the end is an error like any other."""
    await world.templates.put("news", Source(text="Hello"))
    email = {"from": "a@example.com", "to": "b@example.com", "template": {"name": "news"}}
    await world.schedules.put("hourly", replace(HOURLY, email=email))
    render, busy = world.renderer.render, 2

    async def slow(source: Source, variables: dict[str, Any]) -> Rendered:
        nonlocal busy
        busy -= 1
        if busy >= 0:
            raise CutShort([Fault("/text", "takes longer than 2 s")])
        return await render(source, variables)

    monkeypatch.setattr(world.renderer, "render", slow)
    await world.follow(START + HOUR + timedelta(seconds=10))
    assert (len(world.emails), world.schedules.get("hourly").progress.error) == (1, None)
    busy = 3
    await world.follow(START + 2 * HOUR + timedelta(seconds=10))
    assert len(world.emails) == 1
    assert world.schedules.get("hourly").progress.error == (
        "/email/template/variables do not fill news@1: its text takes longer than 2 s"
    )


async def test_a_paused_schedule_makes_nothing(world: World) -> None:
    """Not even for a slot whose job was made before; resumed, it goes on with its next slot."""
    await world.schedules.put("hourly", HOURLY)
    paused = await world.schedules.pause("hourly")
    assert (paused.definition.paused, paused.next_fires, await world.queue.recurring()) == (True, [], [])
    await world.fires(zqueue.Job("hourly@2026-03-26T13:00:00Z", world.upkeep.payload(HOURLY), name=TASK))
    await world.upkeep.all()
    await world.follow(START + 3 * HOUR + HOUR / 2)
    assert (await world.schedules.pause("hourly")).rev == paused.rev
    resumed = await world.schedules.resume("hourly")
    assert resumed.next_fires[0] == START + 4 * HOUR
    await world.follow(START + 4 * HOUR)
    assert world.accepted_at == ["2026-03-26T16:00"]


async def test_a_late_fire_of_other_times_is_left_out(world: World) -> None:
    """What was due at the times that a schedule had before is not sent at those it has now."""
    await world.schedules.put("hourly", HOURLY)
    old = zqueue.Job("hourly@2026-03-26T13:00:00Z", world.upkeep.payload(HOURLY), name=TASK)
    await world.schedules.put("hourly", replace(HOURLY, cron="30 * * * *"))
    await world.fires(old)
    await world.follow(START + 2 * HOUR)
    assert world.accepted_at == ["2026-03-26T12:30", "2026-03-26T13:30"]
    await world.schedules.delete("hourly")
    await world.fires(zqueue.Job("hourly@2026-03-26T14:30:00Z", old.payload, name=TASK))
    assert len(world.emails) == 2


async def test_an_edit_of_the_email_keeps_the_times(world: World, clock: FakeClock) -> None:
    """The next slot sends the new text; no slot is lost or made twice by it."""
    await world.schedules.put("hourly", HOURLY)
    clock.advance(HOUR)
    await world.schedules.put("hourly", replace(HOURLY, email=HOURLY.email | {"subject": "New"}))
    await world.follow(START + 2 * HOUR)
    assert [email.content.subject for email in world.emails] == ["New", "New"]


async def test_what_is_no_fire_is_refused(world: World) -> None:
    """A job of another store stops the worker; one whose id is no slot is buried."""
    told: list[ForeignJob] = []
    world.fires._on_foreign = told.append
    with pytest.raises(ForeignJob) as caught:
        await world.fires(zqueue.Job("a@2026-03-26T13:00:00Z", {"store": "another"}, name=TASK))
    assert told == [caught.value]
    for job_id in ("a", "@2026-03-26T13:00:00Z", "a@yesterday", "a@2026-03-26T13:00:00"):
        with pytest.raises(zqueue.Bury):
            await world.fires(zqueue.Job(job_id, world.upkeep.payload(HOURLY), name=TASK))


async def test_a_fire_waits_for_the_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the disk full the slot is not lost: it is fired once there is room."""
    await world.schedules.put("hourly", HOURLY)
    with contextlib.ExitStack() as full:
        patch = full.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(world.store, "accept_once", _no_space)
        await world.follow(START + HOUR)
        assert world.emails == []
    await world.follow(START + HOUR + timedelta(seconds=1))
    assert len(world.emails) == 1


async def _no_space(*_args: object, **_options: object) -> None:
    raise StoreUnavailable("no_space", "the disk is full")
