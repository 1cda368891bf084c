"""The job of an endpoint: what it is told, in which order, and what is written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.dispatch import ForeignJob
from service.store.errors import StoreUnavailable
from service.store.records import Events
from service.webhooks import deliver
from service.webhooks.sender import Sender
from tests.conftest import wait_until
from tests.integration.dispatching import START
from tests.integration.hooks import World, a_world
from tests.receiver import OK, answer
from zqueue import Job

NOW = timedelta(0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All of it, empty."""
    async with a_world(tmp_path) as world:
        yield world


async def test_an_endpoint_is_told_what_it_wants_in_order(world: World) -> None:
    """From when it was made, each event once, signed with its secret; its cursor is at the end then."""
    await world.note()
    webhook, secret = await world.create("key.made", "email.*")
    wanted = [await world.note("key.made", n=1), await world.note("key.made", n=2)]
    await world.note("key.revoked")
    world.now = datetime.now(UTC)  # by which the library checks signatures
    assert await world.handle(webhook) is None
    assert world.receiver.seqs == wanted
    assert world.receiver.requests[0].verified(secret)["data"]["data"] == {"n": 1}
    told = world.endpoint(webhook)
    assert (told.cursor, told.failures, told.told_at) == (5, 0, world.now)
    assert await world.handle(webhook) is None
    assert world.receiver.seqs == wanted


async def test_a_failure_is_tried_again_from_the_same_event(world: World) -> None:
    """What came before it is not told again; waits grow with failures in a row; in the end nothing is missing."""
    webhook, _ = await world.create()
    for _ in range(3):
        await world.note()
    world.receiver.answers = [OK, answer(500), answer(500), answer(503), OK]
    waits = []
    while (wait := await world.handle(webhook)) is not None:
        waits.append(wait.total_seconds())
        failing = world.endpoint(webhook)
        assert failing.next_at == world.now + wait
        world.now += wait
    assert waits == [5, 300, 1800]
    assert world.receiver.seqs == [2, 3, 3, 3, 3, 4]
    assert [request.headers["webhook-id"] for request in world.receiver.requests[1:5]] == [
        f"evt_{world.store.id}_3"
    ] * 4
    assert world.types() == ["webhook.created", *["webhook.failing"] * 3, "webhook.progress"]
    after = world.endpoint(webhook)
    assert (after.failures, after.failing_since, after.last_error, after.next_at) == (0, None, None, None)


async def test_a_job_that_comes_early_waits(world: World) -> None:
    """A job that was lost and restored does not cut short the wait after a failure."""
    webhook, _ = await world.create()
    await world.note()
    world.receiver.answers = [answer(500)]
    assert await world.handle(webhook) == timedelta(seconds=5)
    world.now += timedelta(seconds=2)
    assert await world.handle(webhook) == timedelta(seconds=3)
    assert len(world.receiver.requests) == 1


async def test_an_endpoint_that_is_gone_is_disabled(world: World) -> None:
    """410 ends it at once, with an event; enabled again, it is told what it has missed."""
    webhook, _ = await world.create()
    await world.note()
    world.receiver.answers = [answer(410)]
    assert await world.handle(webhook) is None
    gone = world.endpoint(webhook)
    assert (gone.enabled, gone.reason, gone.last_status) == (False, "gone", 410)
    await world.note()
    assert await world.handle(webhook) is None
    assert world.receiver.seqs == [2]
    await world.hooks.enable(webhook)
    assert await world.handle(webhook) is None
    assert world.receiver.seqs == [2, 2, 4]
    assert world.types() == ["webhook.created", "webhook.disabled", "webhook.enabled", "webhook.progress"]


async def test_five_days_of_failure_disable(world: World) -> None:
    """The first failure after that is the last."""
    webhook, _ = await world.create()
    await world.note()
    world.receiver.answers = [answer(500), answer(500)]
    await world.handle(webhook)
    world.now += timedelta(days=5)
    assert await world.handle(webhook) is None
    assert world.endpoint(webhook).reason == "failing"


async def test_a_replay_tells_again(world: World) -> None:
    """From a line, or from a time; under the same ids as before."""
    webhook, _ = await world.create()
    for _ in range(4):
        world.now += timedelta(minutes=1)
        await world.note()
    await world.handle(webhook)
    await world.hooks.replay(webhook, after=3)
    await world.handle(webhook)
    await world.hooks.replay(webhook, since=START + timedelta(minutes=2))
    await world.handle(webhook)
    assert world.receiver.seqs == [2, 3, 4, 5, 4, 5, 3, 4, 5]
    ids = [request.headers["webhook-id"] for request in world.receiver.requests]
    assert ids[2] == ids[4] == ids[7]


async def test_a_replay_in_the_midst_of_a_run_wins(world: World) -> None:
    """What was begun before it is void: it neither goes on nor moves the cursor."""
    webhook, _ = await world.create()
    for _ in range(3):
        await world.note()
    world.receiver.answers = [OK, None]
    running = asyncio.create_task(world.handle(webhook))
    await world.receiver.wait_for(2)
    await world.hooks.replay(webhook, after=0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert world.endpoint(webhook).cursor == 0


async def test_of_two_runs_of_one_endpoint_only_one_counts(world: World) -> None:
    """A worker that lost its lease cannot move the cursor back, nor count a failure."""
    webhook, _ = await world.create()
    await world.note()
    world.receiver.answers = [b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\n"]  # its answer takes a while
    late = asyncio.create_task(world.handle(webhook))
    await world.receiver.wait_for(1)
    assert await world.handle(webhook, world.a_deliverer()) is None
    cursor = world.endpoint(webhook).cursor
    await world.receiver.say(b"12345")
    assert await late is None
    after = world.endpoint(webhook)
    assert (after.cursor, after.failures) == (cursor, 0)


async def test_a_change_counts_at_once(world: World) -> None:
    """A run that is under way ends when its endpoint is deleted."""
    webhook, _ = await world.create()
    for _ in range(3):
        await world.note()
    world.receiver.answers = [b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n"]
    running = asyncio.create_task(world.handle(webhook))
    await world.receiver.wait_for(1)
    await world.hooks.delete(webhook)
    await world.receiver.say(b"12345")
    assert await running is None
    assert world.receiver.seqs == [2]


async def test_a_stop_comes_between_two_messages(world: World) -> None:
    """What was told is written down; the rest is for the next worker, at once."""
    webhook, _ = await world.create()
    for _ in range(3):
        await world.note()
    world.receiver.answers = [b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n"]
    running = asyncio.create_task(world.handle(webhook))
    await world.receiver.wait_for(1)
    world.deliverer.stop()
    await world.receiver.say(b"12345")
    assert await running == NOW
    assert (world.receiver.seqs, world.endpoint(webhook).cursor) == ([2], 2)
    assert await world.handle(webhook) == NOW
    assert await world.handle(webhook, world.a_deliverer()) is None
    assert world.receiver.seqs == [2, 3, 4]


async def test_a_stop_does_not_wait_for_a_slow_endpoint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it took before is written down, what it did not answer is told again, and no failure is counted."""
    monkeypatch.setattr(deliver, "LAST_WORDS", timedelta(seconds=0.05))
    webhook, _ = await world.create()
    for _ in range(2):
        await world.note()
    world.receiver.answers = [OK, None]
    running = asyncio.create_task(world.handle(webhook))
    await world.receiver.wait_for(2)
    world.deliverer.stop()
    assert await running == NOW
    assert (world.endpoint(webhook).cursor, world.endpoint(webhook).failures) == (2, 0)
    assert await world.handle(webhook, world.a_deliverer()) is None
    assert world.receiver.seqs == [2, 3, 3]


async def test_progress_is_written_before_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hundred lines, and after some seconds: a worker that dies has not much told twice."""
    monkeypatch.setattr(deliver, "BATCH", 2)
    webhook, _ = await world.create()
    for _ in range(5):
        await world.note()
    assert await world.handle(webhook) is None
    assert world.receiver.seqs == [2, 3, 4, 5, 6]
    assert world.types() == ["webhook.created", *["webhook.progress"] * 3]


async def test_a_turn_ends_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that other endpoints have theirs, though this one has more to be told."""
    monkeypatch.setattr(deliver, "_RUN_S", 0.0)
    webhook, _ = await world.create()
    await world.note()
    assert await world.handle(webhook) == NOW


async def test_what_is_gone_from_the_log_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that was behind for longer than the log goes back is told that, and then what there is."""
    webhook, _ = await world.create()
    for _ in range(3):
        await world.note()
    read = world.store.read_events

    def compacted(after: int, limit: int) -> Events:
        found = read(max(after, 2), limit)
        return Events(found.events, found.last, reset=after < 2)

    monkeypatch.setattr(world.store, "read_events", compacted)
    await world.hooks.replay(webhook, after=0)
    assert await world.handle(webhook) is None
    first, *others = [request.message for request in world.receiver.requests]
    assert (first["type"], first["data"]) == ("reset", {"after": 0, "next": 3})
    assert [message["data"]["seq"] for message in others] == [3, 4]


async def test_a_cursor_of_another_store_begins_anew(world: World) -> None:
    """An endpoint that was imported is told that it may have missed something, and then what happens from now on."""
    webhook, _ = await world.create()
    document = world.store.document("webhook", webhook)
    assert document is not None
    data = document.data | {"cursor": 1000}
    await world.store.write(lambda it: it.put("webhook", webhook, data, type="webhook.created"))
    assert await world.handle(webhook) is None
    assert [request.message["type"] for request in world.receiver.requests] == ["reset"]
    last = await world.note()
    assert await world.handle(webhook) is None
    assert world.receiver.requests[-1].message["data"]["seq"] == last


async def test_a_store_in_trouble_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written down is told again."""
    webhook, _ = await world.create()
    await world.note()

    async def full(_work: object) -> None:
        raise StoreUnavailable("no_space", "full")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "write", full)
        assert await world.handle(webhook) == timedelta(seconds=5)
    assert await world.handle(webhook) is None
    assert world.receiver.seqs == [2, 2]


async def test_a_job_of_another_store_is_refused(world: World) -> None:
    """And said, so that the worker stops: it would eat the other's jobs."""
    said: list[ForeignJob] = []
    deliverer = world.a_deliverer(on_foreign=said.append)
    with pytest.raises(ForeignJob):
        await deliverer(Job("wh_1", {"store": "other"}))
    assert [foreign.job_id for foreign in said] == ["wh_1"]


async def test_a_slow_endpoint_holds_up_no_other(world: World) -> None:
    """Each has its own job, and its own connection."""
    slow, _ = await world.create(url=world.receiver.url("/slow"))
    quick, _ = await world.create(url=world.receiver.url("/quick"))
    await world.note()
    world.receiver.answers = [None]
    waiting = asyncio.create_task(world.handle(slow))
    await world.receiver.wait_for(1)
    assert await world.handle(quick) is None
    assert [request.target for request in world.receiver.requests] == ["/slow", "/quick"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await wait_until(waiting.done)


async def test_a_private_target_is_refused_when_it_is_sent_to(world: World) -> None:
    """Not only when the endpoint is made: the setting may have changed since."""
    webhook, _ = await world.create()
    await world.note()
    sender = Sender(allow_private=False, connections=1)
    deliverer = deliver.Deliverer(world.store, sender, now=world.clock)
    assert await world.handle(webhook, deliverer) is not None
    assert world.endpoint(webhook).last_error == (
        "its URL must not lead into a private network; the setting SERVICE_WEBHOOK_ALLOW_PRIVATE=1 allows it"
    )
    assert world.receiver.connections == 0
    await sender.close()
