"""The reconciler: what the store holds and the queue does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import zqueue
from service.email import life
from service.email.record import Email, Status
from service.overdue import LATE, Overdue
from service.reconcile import Reconciler
from service.store.store import Store
from tests.integration.dispatching import BACKOFF, START, an_email


class World:
    """A store, a queue, a reconciler of both, and a clock that stands still."""

    def __init__(self, store: Store, queue: zqueue.Queue) -> None:
        self.store = store
        self.queue = queue
        self.now = START
        self.reconciler = Reconciler(store, queue, now=lambda: self.now)

    async def accept(self, delay: timedelta = timedelta(0)) -> Email:
        """An e-mail that never reached the queue."""
        (email,) = await self.store.accept([an_email(START + delay)])
        return email

    async def begin(self, email: Email, by: str) -> None:
        """Let the process *by* be sending it."""
        await self.store.change(
            email.id, lambda it: life.begin(it, now=self.now, rev=it.rev, by=by, date=START, digest="0")
        )

    async def queued(self, *emails: Email) -> list[bool]:
        """Which of them have a job."""
        missing = await self.queue.missing([email.job_id for email in emails])
        return [email.job_id not in missing for email in emails]


@pytest.fixture
async def world(tmp_path: Path, queue: zqueue.Queue) -> AsyncIterator[World]:
    """All of it, empty."""
    store = await Store.open(tmp_path, now=lambda: START, min_free=0)
    yield World(store, queue)
    await store.close()


async def test_the_first_look_is_at_everything(world: World) -> None:
    """Whatever waits has a job after the first look, at its own time; what is over has none."""
    emails = [await world.accept(timedelta(days=days)) for days in (0, 1, 2)]
    await world.store.change(emails[2].id, life.cancel)
    assert await world.reconciler.step() == 2
    assert await world.queued(*emails) == [True, True, False]
    job = await world.queue.get(emails[1].job_id)
    assert job is not None
    assert job.due_at == START + timedelta(days=1)


async def test_later_looks_are_at_what_is_due_soon(world: World) -> None:
    """What is lost while the queue says nothing of it is restored before it is due."""
    await world.reconciler.step()
    soon, later = await world.accept(timedelta(seconds=9)), await world.accept(timedelta(seconds=11))
    assert await world.reconciler.step() == 1
    assert await world.queued(soon, later) == [True, False]
    world.now += timedelta(seconds=2)
    assert await world.reconciler.step() == 1
    assert await world.queued(soon, later) == [True, True]


async def test_what_is_being_sent_is_left_to_its_process(world: World, tmp_path: Path) -> None:
    """It gets a job once its process is dead, or has hung for twenty minutes: nobody else would take it over."""
    other = await Store.open(tmp_path, now=lambda: START, min_free=0)
    mine, dead = await world.accept(), await world.accept()
    await world.begin(mine, other.by)
    await world.begin(dead, "dead0000")
    assert await world.reconciler.step() == 1
    assert await world.queued(mine, dead) == [False, True]
    world.now += life.FROZEN - timedelta(seconds=1)
    assert await world.reconciler.step() == 0
    world.now += timedelta(seconds=1)
    assert await world.reconciler.step() == 1
    assert await world.queued(mine, dead) == [True, True]
    await other.close()


async def test_an_email_whose_job_is_dead_fails(world: World) -> None:
    """In the words of the queue, with its recipients refused; and /retry gives it a new job."""

    async def bury(_: zqueue.Job) -> None:
        raise zqueue.Bury("it killed 20 workers")

    old = an_email(START - timedelta(days=3_650))  # due by the server's clock too
    (email,) = await world.store.accept([replace(old, state=replace(old.state, retry_until=START + timedelta(days=1)))])
    await world.reconciler.step()
    await zqueue.Worker(world.queue, bury).tick()
    again = Reconciler(world.store, world.queue, now=lambda: world.now)
    assert await again.step() == 0
    failed = world.store.get(email.id)
    assert failed is not None
    assert (failed.state.status, failed.state.reason, failed.state.last_error) == (
        Status.FAILED,
        "poison",
        "it killed 20 workers",
    )
    await world.store.change(email.id, lambda it: life.requeue(it, now=START, backoff=BACKOFF))
    assert await again.step() == 1


async def test_what_nobody_comes_to_expires(world: World) -> None:
    """When its time is over, though its job waits behind others: with the reason why no mail flows."""
    trouble = "127.0.0.1:25: no connection: Connection refused"
    reconciler = Reconciler(
        world.store, world.queue, now=lambda: world.now, overdue=Overdue(world.store, trouble=lambda: trouble)
    )
    draft = an_email(START)
    brief = replace(draft, state=replace(draft.state, retry_until=START + timedelta(minutes=1)))
    await world.store.accept([brief])
    long, cancelled = await world.accept(), await world.accept()
    await reconciler.step()
    world.now += LATE
    await reconciler.step()
    await world.store.change(cancelled.id, life.cancel)
    for late in (timedelta(minutes=1) - timedelta(microseconds=1), timedelta(minutes=1)):
        world.now = START + late
        await reconciler.step()
        records = [world.store.get(email.id) for email in (brief, long, cancelled)]
        states = [record.state for record in records if record is not None]
        expired = late >= timedelta(minutes=1)
        assert [state.status for state in states] == [
            Status.FAILED if expired else Status.SCHEDULED,
            Status.SCHEDULED,
            Status.CANCELLED,
        ]
    assert (states[0].reason, states[0].last_error, states[0].attempts) == ("expired", trouble, 0)
    world.now = long.state.retry_until
    assert await Reconciler(world.store, world.queue, now=lambda: world.now).step() == 0, "the first look is enough"
    record = world.store.get(long.id)
    assert record is not None
    assert (record.state.status, record.state.reason) == (Status.FAILED, "expired")
