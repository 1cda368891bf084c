"""Schedules as they are written, changed and deleted, and how the queue comes to agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import zqueue
from service.email.faults import InvalidRequest
from service.recurring.definition import TASK, Definition
from service.recurring.schedules import ScheduleNotFound, StaleSchedule
from tests.conftest import unique_name
from tests.integration.recurring import World, a_definition, a_world
from zqueue.embedded import Server
from zqueue.testing import FakeClock

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURLY = a_definition("0 * * * *", "UTC")


@pytest.fixture
async def world(tmp_path: Path, valkey: Server) -> AsyncIterator[World]:
    """One process, at noon."""
    clock = FakeClock(START)
    async with zqueue.Queue(unique_name(), valkey.url, clock=clock) as queue, a_world(tmp_path, queue, clock) as world:
        yield world


async def test_a_deleted_schedule_is_gone(world: World) -> None:
    """From the queue as well, though it was away when that happened; one of the same name begins anew."""
    await world.schedules.put("hourly", HOURLY)
    await world.follow(START + HOUR)
    await world.schedules.delete("hourly")
    with pytest.raises(ScheduleNotFound):
        world.schedules.get("hourly")
    await world.queue.recur("hourly", HOURLY.when, world.upkeep.payload(HOURLY), task=TASK)
    await world.queue.recur("others", HOURLY.when, {"store": "another"}, task=TASK)
    await world.upkeep.all()
    assert [one.name for one in await world.queue.recurring()] == ["others"]
    await world.queue.unrecur("others")
    again, created = await world.schedules.put("hourly", HOURLY)
    assert (created, again.progress.done, again.progress.since) == (True, None, START + HOUR)


async def test_the_same_schedule_again_changes_nothing(world: World) -> None:
    """PUT is idempotent; a revision that is not there any more is refused."""
    first, created = await world.schedules.put("hourly", HOURLY)
    assert (await world.schedules.put("hourly", HOURLY), created) == ((first, False), True)
    with pytest.raises(StaleSchedule):
        await world.schedules.put("hourly", replace(HOURLY, misfire="all"), rev=2)
    with pytest.raises(StaleSchedule):
        await world.schedules.delete("hourly", rev=2)
    with pytest.raises(ScheduleNotFound):
        await world.schedules.put("other", HOURLY, rev=1)
    second, _ = await world.schedules.put("hourly", replace(HOURLY, misfire="all"), rev=1)
    assert second.rev == 2


async def test_run_now_is_beside_the_slots(world: World) -> None:
    """One more e-mail, which changes nothing of what comes next; it works while paused, too."""
    shown, _ = await world.schedules.put("hourly", HOURLY)
    accepted = await world.schedules.run("hourly")
    await world.schedules.pause("hourly")
    await world.schedules.run("hourly")
    await world.schedules.resume("hourly")
    assert world.schedules.get("hourly").next_fires == shown.next_fires
    await world.follow(START + HOUR)
    assert len(world.emails) == 3
    assert ("schedule.run", {"email_id": accepted.emails[0].id}) in world.told()


async def test_a_bad_email_is_told_when_the_schedule_is_written(world: World) -> None:
    """By its place in the body, and nothing is kept."""
    with pytest.raises(InvalidRequest) as caught:
        await world.schedules.put("a", replace(HOURLY, email={"from": "a@example.com", "to": "nobody", "text": "x"}))
    assert [fault.pointer for fault in caught.value.faults] == ["/email/to"]
    assert world.schedules.page(10) == ([], False)


async def test_attachments_are_kept_once(world: World) -> None:
    """The schedule names its files by their digest; each fire sends them."""
    email = HOURLY.email | {"attachments": [{"filename": "a.txt", "content": "aGVsbG8="}]}
    shown, _ = await world.schedules.put("hourly", replace(HOURLY, email=email))
    (file,) = shown.definition.email["attachments"]
    assert (file["filename"], file.keys()) == ("a.txt", {"filename", "content_type", "sha256"})
    await world.follow(START + 2 * HOUR)
    assert [one.content.attachments[0].sha256 for one in world.emails] == [file["sha256"]] * 2
    assert world.store.blob(file["sha256"]) == b"hello"


async def test_upkeep_leaves_alone_what_is_as_it_should_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a queue that has everything costs one question."""
    for name in "abc":
        await world.schedules.put(name, HOURLY)
    asked: list[str] = []

    async def note(name: str, *_args: object, **_options: object) -> datetime:
        asked.append(name)
        return START

    monkeypatch.setattr(world.queue, "recur", note)
    await world.upkeep.all()
    assert asked == []
    await world.queue.unrecur("b")
    await world.upkeep.all()
    assert asked == ["b"]


async def test_a_change_meanwhile_is_not_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that is changed, or deleted, while an older state of it is put into the queue ends up as it is."""
    await world.schedules.put("hourly", HOURLY)
    changed = replace(HOURLY, cron="30 * * * *")
    recur = world.queue.recur
    changes: list[Callable[[], Awaitable[object]]] = [lambda: world.schedules.put("hourly", changed)]

    async def late(*arguments: Any, **options: Any) -> datetime:
        if changes:
            await changes.pop()()
        return await recur(*arguments, **options)

    monkeypatch.setattr(world.queue, "recur", late)
    await world.upkeep.one("hourly")
    assert [one.schedule for one in await world.queue.recurring()] == [changed.when]
    changes.append(lambda: world.schedules.delete("hourly"))
    await world.upkeep.one("hourly")
    assert await world.queue.recurring() == []


async def test_a_schedule_that_cannot_be_does_not_hold_up_others(world: World) -> None:
    """One whose zone this machine does not know is told of in the log, and the others are kept up."""
    for name in "ab":
        await world.schedules.put(name, HOURLY)
    strange = Definition("0 9 * * *", None, "Mars/Olympus", "once", HOURLY.email).data()
    await world.store.write(lambda t: t.put("schedule", "a", strange, type="schedule.updated"))
    await world.empty_queue()
    await world.upkeep.all()
    assert [one.name for one in await world.queue.recurring()] == ["b"]


async def test_each_fire_offers_to_unsubscribe_by_itself(world: World) -> None:
    """The link in an e-mail is about that e-mail."""
    await world.schedules.put("hourly", replace(HOURLY, email=HOURLY.email | {"unsubscribe": True}))
    await world.follow(START + 2 * HOUR)
    links = [email.content.headers["List-Unsubscribe"] for email in world.emails]
    assert len(set(links)) == len(links) == 2
