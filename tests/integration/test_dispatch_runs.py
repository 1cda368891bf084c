"""Runs that are left unfinished, cancelled, late, or that the store cannot take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.email import life
from service.email.record import Change, Email, Status
from service.store.errors import StoreUnavailable
from service.store.store import Store
from service.store.transaction import Transaction
from tests.conftest import wait_until
from tests.integration.dispatching import START, World, a_world
from tests.smtpd import FREEZE, Action


async def begun(world: World, email: Email, by: str) -> Email:
    """*email*, being sent by another process."""
    return await world.store.change(
        email.id, lambda it: life.begin(it, now=world.now, rev=it.rev, by=by, date=START, digest="0")
    )


async def test_run_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    """An e-mail left in `sending` by a process that died is sent again at once, uncounted."""
    async with a_world(tmp_path) as world:
        email = await begun(world, await world.accept(), "dead0000")
        assert await world.live(email) == [(Status.COMPLETED, None)]
        assert world.types(email)[2:] == ["email.retrying", "email.sending", "email.completed"]
        assert (world.read(email).state.run, world.read(email).state.attempts) == (2, 1)


async def test_run_of_a_dead_process_is_held(tmp_path: Path) -> None:
    """With `hold` it waits for a person instead."""
    async with a_world(tmp_path) as world:
        world.dispatch = world.a_dispatch(on_unknown="hold")
        email = await begun(world, await world.accept(), "dead0000")
        assert await world.live(email) == [(Status.HELD, None)]
        assert world.server.sessions == 0


async def test_run_of_a_living_process_is_waited_for(tmp_path: Path) -> None:
    """An e-mail that a living process is sending is looked at again and again, and taken over after 20 minutes."""
    other = await Store.open(tmp_path, now=lambda: START, min_free=0)
    try:
        async with a_world(tmp_path) as world:
            email = await begun(world, await world.accept(), other.by)
            assert await world.handle(email) == 0.02
            world.now += timedelta(minutes=19, seconds=59)
            assert await world.handle(email) == 0.02
            assert world.server.sessions == 0
            world.now += timedelta(seconds=2)
            assert await world.handle(email) is None
            assert len(world.server.received) == 1
    finally:
        await other.close()


async def test_own_run_is_not_doubled(tmp_path: Path) -> None:
    """A job that this process gets again while it is still sending it waits; one it forgot is taken over."""
    async with a_world(tmp_path, {"mail": [Action(250, "ok", delay=0.1)]}) as world:
        email = await world.accept()
        handling = asyncio.create_task(world.handle(email))
        await world.server.wait_for_command("MAIL")
        assert await world.handle(email) == 0.02
        await handling
        assert len(world.server.received) == 1
        forgotten = await begun(world, await world.accept(), world.store.by)
        assert await world.live(forgotten) == [(Status.COMPLETED, None)]


async def test_own_run_is_not_doubled_as_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one whose beginning is durable, and can be read, before this process has heard that it is."""
    async with a_world(tmp_path) as world:
        email = await world.accept()
        write, again = world.store.write, list[float | None]()

        async def slow(work: Callable[[Transaction], Email]) -> Email:
            changed = await write(work)
            if changed.state.status is Status.SENDING:
                again.append(await world.handle(email))
            return changed

        monkeypatch.setattr(world.store, "write", slow)
        assert await world.handle(email) is None
        assert again == [0.02]
        assert world.types(email) == ["email.scheduled", "email.sending", "email.completed"]
        assert len(world.server.received) == 1


async def test_cancellation_waits_for_the_outcome(tmp_path: Path) -> None:
    """A handler cancelled in the middle of a transaction finishes it, writes the outcome, and only then ends."""
    async with a_world(tmp_path, {"dot": [Action(250, "ok", delay=0.1)]}, connections=1) as world:
        email = await world.accept()
        handling = asyncio.create_task(world.handle(email))
        await world.server.wait_for_command(".")
        handling.cancel()
        await asyncio.sleep(0)
        handling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handling
        assert world.read(email).state.status is Status.COMPLETED
        assert world.health.connections == 1
        assert await world.live(await world.accept()) == [(Status.COMPLETED, None)]
        assert world.server.sessions == 1


async def test_a_cancelled_email_is_no_fault_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An e-mail cancelled at the last moment, with which its job goes too, is not logged as an error."""
    async with a_world(tmp_path) as world:
        email = await world.accept()
        write, handling = world.store.write, list[asyncio.Task[float | None]]()

        async def cancelled_before(work: Callable[[Transaction], Email]) -> Email:
            await world.store.change(email.id, life.cancel)
            handling[0].cancel()
            return await write(work)

        monkeypatch.setattr(world.store, "write", cancelled_before)
        handling.append(asyncio.create_task(world.handle(email)))
        with pytest.raises(asyncio.CancelledError):
            await handling[0]
        assert world.types(email) == ["email.scheduled", "email.cancelled"]
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_late_outcome_of_a_run_given_up_is_refused(tmp_path: Path) -> None:
    """A run that was taken for dead cannot write over the one that followed it."""
    async with a_world(tmp_path, {"dot": [Action(250, "ok", store=True, delay=0.1)]}) as world:
        email = await world.accept()
        handling = asyncio.create_task(world.handle(email))
        await world.server.wait_for_command(".")
        await world.store.change(email.id, lambda it: life.owner_died(it, now=START, run=1, on_unknown="hold"))
        assert await handling is None
        state = world.read(email).state
        assert (state.status, state.attempts) == (Status.HELD, 0)


def failing(store: Store, times: int, reason: str) -> Callable[..., Any]:
    """`store.change`, with its outcomes refused the first *times*."""
    change = store.change
    left = [times]

    async def refuse(email_id: str, decide: Callable[[Email], Change | None]) -> Email:
        current = store.get(email_id)
        if current is not None and current.state.status is Status.SENDING and left[0]:
            left[0] -= 1
            raise StoreUnavailable(reason, "not now")
        return await change(email_id, decide)

    return refuse


async def test_outcome_that_cannot_be_written_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full the handler keeps the outcome and tries again; meanwhile nothing else is begun."""
    async with a_world(tmp_path) as world:
        email, other = await world.accept(), await world.accept()
        monkeypatch.setattr(world.store, "change", failing(world.store, 3, "no_space"))
        handling = asyncio.create_task(world.handle(email))
        await world.server.wait_for(1)
        await wait_until(lambda: world.dispatch.is_late)
        assert await world.handle(other) == 0.02
        assert await handling is None
        assert [world.read(one).state.status for one in (email, other)] == [Status.COMPLETED, Status.SCHEDULED]
        assert len(world.server.received) == 1
        assert await world.handle(other) is None


async def test_store_that_takes_nothing_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When `sending` cannot be made durable, the server hears nothing and the job comes back later."""
    async with a_world(tmp_path) as world:
        email = await world.accept()

        async def refuse(*_: object) -> Email:
            raise StoreUnavailable("store_locked", "pid 1 holds it")

        with monkeypatch.context() as patch:
            patch.setattr(world.store, "write", refuse)
            assert await world.handle(email) == 0.02
        assert world.server.commands == ["EHLO test"]
        assert await world.handle(email) is None


async def test_frozen_server_does_not_hold_others_up(tmp_path: Path) -> None:
    """One transaction that hangs keeps its own connection only."""
    async with a_world(tmp_path, {"dot": [FREEZE]}, connections=2) as world:
        stuck = await world.accept()
        hanging = asyncio.create_task(world.handle(stuck))
        await world.server.wait_for_command(".")
        for _ in range(3):
            assert await world.live(await world.accept()) == [(Status.COMPLETED, None)]
        assert not hanging.done()
        await world.server.stop()
        assert await hanging == 60.0
        await world.server.start()
