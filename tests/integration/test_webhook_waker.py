"""Who sees to it that endpoints have their jobs, and webhooks from end to end in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import zqueue
from service.store.store import Store
from service.webhooks.line import NAME, job
from service.webhooks.waker import Waker
from tests.asking import ask_server, until
from tests.conftest import unique_name, wait_until
from tests.integration.hooks import World, a_world
from tests.integration.test_dispatch_worker import a_bench, a_worker
from tests.proxy import Fault, Proxy, nothing
from tests.receiver import answer, receiving
from tests.smtpd import SmtpServer
from zqueue.embedded import Server


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All but the queue, empty."""
    async with a_world(tmp_path) as world:
        yield world


async def jobs(queue: zqueue.Queue) -> list[str]:
    """The ids of what waits in the queue."""
    return [one.id for one in await queue.jobs(zqueue.JobState.SCHEDULED)]


async def test_an_endpoint_that_wants_what_happens_gets_a_job(world: World, queue: zqueue.Queue) -> None:
    """Only those that want it, and one job however much happens."""
    waker = Waker(world.store, queue)
    first, _ = await world.create("key.made")
    second, _ = await world.create("key.revoked")
    assert await waker.step() == 2  # they are new, and have not been looked at
    for one in (first, second):
        assert await world.handle(one) is None
        await queue.cancel(one)
    assert await waker.step() == 0
    assert await jobs(queue) == []
    for _ in range(3):
        await world.note("key.made")
        assert await waker.step() == 1
    assert await jobs(queue) == [first]
    assert await world.handle(first) is None
    assert await waker.step() == 0


async def test_a_lost_job_is_restored(world: World, queue: zqueue.Queue) -> None:
    """FLUSHALL loses no webhook, nor the wait of one that failed."""
    waker = Waker(world.store, queue)
    webhook, _ = await world.create()
    await world.note()
    world.receiver.answers = [answer(500)]
    assert await world.handle(webhook) is not None
    assert await waker.step() == 0  # nothing to be told now: it waits for its next attempt
    assert await jobs(queue) == [webhook]
    await ask_server(queue, "FLUSHALL")
    assert await waker.step() == 0
    assert await jobs(queue) == [webhook]
    assert await world.handle(webhook) == timedelta(seconds=5)


async def test_enabling_does_not_wait_for_the_job_of_before(world: World, queue: zqueue.Queue) -> None:
    """A job that waits for hours is due at once when its endpoint is enabled, replayed or goes elsewhere."""
    waker = Waker(world.store, queue)
    webhook, _ = await world.create()
    await waker.step()
    for step in (world.hooks.enable(webhook), world.hooks.replay(webhook, after=0)):
        assert await queue.reschedule(webhook, delay=timedelta(hours=5))
        await step
        assert await waker.step() == 1
        stats = await queue.stats()
        assert stats.due == 1


async def test_an_endpoint_that_is_being_told_is_woken_afterwards(world: World, queue: zqueue.Queue) -> None:
    """What changes meanwhile waits for the end of the run, and is not lost with it."""
    waker = Waker(world.store, queue)
    webhook, _ = await world.create()

    async def meanwhile(_: zqueue.Job) -> None:
        await world.hooks.replay(webhook, after=0)
        assert await waker.step() == 1

    await waker.step()
    await zqueue.Worker(queue, {NAME: meanwhile}).tick()
    assert await jobs(queue) == []
    assert await waker.step() == 1
    assert await jobs(queue) == [webhook]


async def test_a_fault_does_not_end_the_worker(
    world: World, queue: zqueue.Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next look is taken."""
    monkeypatch.setattr("service.webhooks.waker._LONGEST_S", 0.01)
    waker = Waker(world.store, queue)
    looks = []

    async def broken() -> int:
        looks.append(1)
        raise RuntimeError("a fault")

    monkeypatch.setattr(waker, "step", broken)
    running = asyncio.create_task(waker.run())
    await wait_until(lambda: len(looks) > 2)
    await end(running)
    assert "RuntimeError: a fault" in caplog.text


async def test_a_queue_that_is_away_is_waited_for(
    world: World, valkey: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and what happened meanwhile is told when it is back."""
    monkeypatch.setattr("service.webhooks.waker._LONGEST_S", 0.05)
    await world.create()
    async with Proxy(valkey, lambda _: Fault.CUT_REQUEST) as line, zqueue.Queue(unique_name(), line.url) as queue:
        running = asyncio.create_task(Waker(world.store, queue).run())
        await wait_until(lambda: line.faults > 2)
        line.plan = nothing
        await until(lambda: has_job(queue))
        await end(running)
    assert caplog.text.count("the queue of webhooks is away") == 1


async def has_job(queue: zqueue.Queue) -> bool:
    """Whether there is one."""
    return await jobs(queue) != []


async def test_a_disabled_endpoint_gets_no_job(world: World, queue: zqueue.Queue) -> None:
    """Nor does one that was deleted."""
    waker = Waker(world.store, queue)
    first, _ = await world.create()
    second, _ = await world.create()
    await world.hooks.change(first, {}, on=False)
    await world.hooks.delete(second)
    await world.note()
    assert await waker.step() == 0
    assert await jobs(queue) == []


async def test_an_endpoint_that_kills_workers_is_disabled(world: World, queue: zqueue.Queue) -> None:
    """Its job is among the dead; enabled again it gets a new one."""
    waker = Waker(world.store, queue)
    webhook, _ = await world.create()
    await waker.step()

    async def bury(_: zqueue.Job) -> None:
        raise zqueue.Bury("it killed 20 workers")

    await zqueue.Worker(queue, {NAME: bury}).tick()
    waker.sweep_soon()
    await waker.step()
    assert (world.endpoint(webhook).enabled, world.endpoint(webhook).reason) == (False, "poison")
    await world.hooks.enable(webhook)
    waker.sweep_soon()
    assert await waker.step() == 1
    assert world.endpoint(webhook).enabled
    assert await jobs(queue) == [webhook]


async def test_one_process_wakes_at_a_time(world: World, queue: zqueue.Queue, tmp_path: Path) -> None:
    """The next one takes over when it ends, and overlooks nothing."""
    stores = [await Store.open(tmp_path, now=world.clock, min_free=0) for _ in range(2)]
    webhook, _ = await world.create()
    running = []
    for store in stores:
        running.append(asyncio.create_task(Waker(store, queue).run()))
        await until(lambda: woken(queue, webhook))
    assert [store.lead("webhooks") for store in stores] == [True, False]
    await end(running[0])
    await world.handle(webhook)
    await queue.cancel(webhook)
    await stores[0].close()
    await world.note()
    await until(lambda: woken(queue, webhook))
    assert stores[1].lead("webhooks")
    await end(running[1])
    await stores[1].close()


async def woken(queue: zqueue.Queue, webhook: str) -> bool:
    """Whether an endpoint has a job."""
    return webhook in await jobs(queue)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel it."""
    task.cancel()
    await asyncio.wait({task})


def test_the_job_of_an_endpoint() -> None:
    """One id each; anew, it takes the place of one that waits."""
    kept, replacing = job("wh_1", "s", anew=False), job("wh_1", "s", anew=True)
    assert (kept.id, kept.name, kept.payload, kept.on_conflict) == ("wh_1", "webhook", {"store": "s"}, "keep")
    assert replacing.on_conflict == "replace"


async def test_a_worker_tells_endpoints_what_becomes_of_emails(tmp_path: Path) -> None:
    """From accept to delivery each event arrives once and in order, while another endpoint never answers."""
    async with (
        receiving() as receiver,
        receiving() as deaf,
        SmtpServer() as server,
        a_bench(tmp_path, server, webhook_allow_private=True) as bench,
    ):
        deaf.answers = [None]
        await bench.hooks.create(deaf.url(), ("*",), None)
        await bench.hooks.create(receiver.url(), ("email.*",), None)
        async with a_worker(bench.settings):
            emails = [await bench.accept() for _ in range(5)]
            told = [request.message for request in await receiver.wait_for(15)]
        assert receiver.seqs == sorted(set(receiver.seqs))
        for email in emails:
            types = [one["type"] for one in told if one["data"]["email_id"] == email.id]
            assert types == ["email.scheduled", "email.sending", "email.completed"]
