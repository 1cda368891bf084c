"""The job handler against a real store and a real SMTP server; the clock is the test's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

import zqueue
from service.dispatch import Dispatch, ForeignJob
from service.email import ids, jobs, life
from service.email.record import Change, Content, Email, RecipientStatus, Status
from service.mailer.breaker import Breaker
from service.mailer.relay import Relay
from service.mailer.smtp import Timeouts
from service.store.errors import StoreUnavailable
from service.store.store import Store
from tests.conftest import wait_until
from tests.smtpd import DROP, FREEZE, STORE_AND_DROP, Action, Script, SmtpServer, reply

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
BACKOFF = zqueue.steps(60, 600, 3600)
ANN, BOB = "ann@example.org", "bob@example.org"


class World:
    """A store, a server, a handler, and a clock that stands still."""

    def __init__(self, store: Store, server: SmtpServer, relay: Relay) -> None:
        self.store = store
        self.server = server
        self.relay = relay
        self.now = START
        self.dispatch = self.a_dispatch()

    def a_dispatch(self, *, on_unknown: Literal["retry", "hold"] = "retry", **options: Any) -> Dispatch:
        """Another handler over the same store and relay."""
        return Dispatch(
            self.store,
            self.relay,
            now=lambda: self.now,
            backoff=BACKOFF,
            on_unknown=on_unknown,
            look_again=timedelta(milliseconds=20),
            **options,
        )

    async def accept(self, *, max_retries: int = 3, at: datetime = START, **content: Any) -> Email:
        """A new e-mail to Ann and Bob."""
        email_id = ids.new_email_id()
        values: dict[str, Any] = {
            "sender": "Shop <shop@example.com>",
            "to": (ANN, BOB),
            "subject": "Hi",
            "message_id": f"<{email_id}@example.com>",
            "text": "Hi\n",
        }
        draft = life.accept(
            email_id,
            Content(**{**values, **content}),
            addresses=[ANN, BOB],
            now=START,
            scheduled_at=at,
            max_retries=max_retries,
            retry_until=life.default_retry_until(at, max_retries, BACKOFF),
        )
        (email,) = await self.store.accept([draft])
        return email

    def read(self, email: Email) -> Email:
        """The record as it is now."""
        found = self.store.get(email.id)
        assert found is not None
        return found

    def job(self, email: Email, *, due: datetime = START) -> zqueue.Job:
        """A delivery of the e-mail's job."""
        return zqueue.Job(
            email.job_id,
            jobs.payload(self.store.id),
            state=zqueue.JobState.LEASED,
            due_us=round(due.timestamp() * 1_000_000),
        )

    async def handle(self, email: Email) -> float | None:
        """One delivery; the seconds it is snoozed for, or None when the job is done."""
        try:
            await self.dispatch(self.job(email, due=self.now))
        except zqueue.Snooze as snooze:
            return snooze.delay.total_seconds()
        return None

    async def live(self, email: Email) -> list[tuple[Status, float | None]]:
        """Deliveries until the job is done, each exactly when it is due; the statuses and the waits between."""
        story = []
        while True:
            wait = await self.handle(email)
            story.append((self.read(email).state.status, wait))
            if wait is None:
                return story
            self.now += timedelta(seconds=wait)

    def types(self, email: Email) -> list[str]:
        """The types of the e-mail's events."""
        return [event.type for event in self.store.events(email.id)]


@contextlib.asynccontextmanager
async def a_world(directory: Path, script: Script | None = None, *, connections: int = 4) -> AsyncIterator[World]:
    """Everything a handler needs, on real files and a real connection."""
    store = await Store.open(directory, now=lambda: START, min_free=0)
    try:
        async with SmtpServer(script) as server:
            relay = Relay(
                server.url(),
                connections=connections,
                ehlo="test",
                timeouts=Timeouts(command=5, data=5, block=5, dot=5, quit=1),
                breaker=Breaker(first=0.02, longest=0.1),
            )
            try:
                yield World(store, server, relay)
            finally:
                await relay.close()
    finally:
        await store.close()


async def test_sends(tmp_path: Path) -> None:
    """An e-mail that is due is sent once, its outcome is durable, and its job is done."""
    async with a_world(tmp_path) as world:
        email = await world.accept()
        assert await world.live(email) == [(Status.COMPLETED, None)]
        assert world.types(email) == ["email.scheduled", "email.sending", "email.completed"]
        ended = world.read(email).state
        assert (ended.run, ended.attempts, ended.by, ended.date) == (1, 1, None, START)
        (message,) = world.server.received
        assert (message.sender, message.recipients) == ("shop@example.com", (ANN, BOB))
        assert message.message_id == email.content.message_id
        assert await world.handle(email) is None
        assert len(world.server.received) == 1


async def test_sending_is_durable_before_mail(tmp_path: Path) -> None:
    """When the server hears MAIL, the journal says who sends, since when, and what bytes."""
    async with a_world(tmp_path, {"mail": Action(250, "ok", delay=0.05)}) as world:
        email = await world.accept()
        handling = asyncio.create_task(world.handle(email))
        await world.server.wait_for_command("MAIL")
        state = world.read(email).state
        await handling
        assert (state.status, state.run, state.by, state.sending_since) == (Status.SENDING, 1, world.store.by, START)
        assert state.digest == world.read(email).state.digest
        assert state.digest is not None


async def test_two_refusals_then_taken(tmp_path: Path) -> None:
    """451 twice: retrying, retrying, completed, at the delays of the policy; the same bytes each time."""
    seen = [Action(451, "4.3.0 later", store=True)] * 2
    async with a_world(tmp_path, {"dot": seen}) as world:
        email = await world.accept()
        assert await world.live(email) == [
            (Status.RETRYING, 60.0),
            (Status.RETRYING, 600.0),
            (Status.COMPLETED, None),
        ]
        assert len({message.data for message in world.server.received}) == 1
        assert len(world.server.received) == 3
        assert world.read(email).state.attempts == 3


async def test_refused_for_ever(tmp_path: Path) -> None:
    """451 for ever with 3 retries: 4 attempts, then failed, with the server's words in the record."""
    async with a_world(tmp_path, {"dot": reply(451, "4.7.1 greylisted, come back")}) as world:
        email = await world.accept(max_retries=3)
        assert await world.live(email) == [
            (Status.RETRYING, 60.0),
            (Status.RETRYING, 600.0),
            (Status.RETRYING, 3600.0),
            (Status.FAILED, None),
        ]
        state = world.read(email).state
        assert (state.attempts, state.reason) == (4, "exhausted")
        assert state.last_error == "451 4.7.1 greylisted, come back"
        assert world.server.commands.count(".") == 4


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
async def test_refused_at_once(step: str, tmp_path: Path) -> None:
    """550 at any step: failed at once, with the server's words for each recipient."""
    async with a_world(tmp_path, {step: reply(550, "5.1.1 no such user")}) as world:
        email = await world.accept()
        assert await world.live(email) == [(Status.FAILED, None)]
        state = world.read(email).state
        assert (state.attempts, state.reason, state.last_error) == (1, "refused", "550 5.1.1 no such user")
        assert {(one.status, one.code, one.reply) for one in state.recipients} == {
            (RecipientStatus.REFUSED, 550, "5.1.1 no such user")
        }


async def test_only_those_left_are_retried(tmp_path: Path) -> None:
    """Bob is greylisted: Ann gets the message once, Bob alone is tried again, and the e-mail is completed."""
    async with a_world(tmp_path, {f"rcpt:{BOB}": [reply(451, "greylisted")]}) as world:
        email = await world.accept()
        assert await world.live(email) == [(Status.RETRYING, 60.0), (Status.COMPLETED, None)]
        assert [message.recipients for message in world.server.received] == [(ANN,), (BOB,)]
        assert len({message.data for message in world.server.received}) == 1


async def test_one_bad_recipient_does_not_stop_the_others(tmp_path: Path) -> None:
    """554 for Ann: Bob gets it once, Ann is refused, and nobody is mailed again."""
    async with a_world(tmp_path, {f"rcpt:{ANN}": reply(554, "no")}) as world:
        email = await world.accept()
        assert await world.live(email) == [(Status.COMPLETED, None)]
        statuses = [one.status for one in world.read(email).state.recipients]
        assert statuses == [RecipientStatus.REFUSED, RecipientStatus.ACCEPTED]


async def test_trouble_is_not_counted(tmp_path: Path) -> None:
    """A drop before the dot defers the e-mail without spending an attempt."""
    async with a_world(tmp_path, {"data": [DROP]}) as world:
        email = await world.accept(max_retries=0)
        assert [status for status, _ in await world.live(email)] == [Status.RETRYING, Status.COMPLETED]
        assert world.types(email)[2] == "email.deferred"
        assert world.read(email).state.attempts == 1


async def test_unknown_outcome_retried(tmp_path: Path) -> None:
    """A drop after the dot spends an attempt and is tried again."""
    async with a_world(tmp_path, {"dot": [STORE_AND_DROP]}) as world:
        email = await world.accept()
        assert await world.live(email) == [(Status.RETRYING, 60.0), (Status.COMPLETED, None)]
        assert (len(world.server.received), world.read(email).state.attempts) == (2, 2)


async def test_unknown_outcome_held(tmp_path: Path) -> None:
    """With `hold` a drop after the dot is left to a person."""
    async with a_world(tmp_path, {"dot": [STORE_AND_DROP]}) as world:
        world.dispatch = world.a_dispatch(on_unknown="hold")
        email = await world.accept()
        assert await world.live(email) == [(Status.HELD, None)]
        assert len(world.server.received) == 1


async def test_not_due(tmp_path: Path) -> None:
    """A job that comes early sleeps until its e-mail is due; the claim of a job proves its own due time."""
    async with a_world(tmp_path) as world:
        email = await world.accept(at=START + timedelta(minutes=2))
        assert await world.handle(email) == 120.0
        await world.dispatch(world.job(email, due=START + timedelta(minutes=2)))
        assert world.read(email).state.status is Status.COMPLETED


async def test_old_generation_and_final_records_are_done(tmp_path: Path) -> None:
    """A job whose e-mail got a newer one, or is cancelled, ends without a word to the server."""
    async with a_world(tmp_path) as world:
        failed = await world.accept()
        await world.store.change(failed.id, lambda it: Change("x", replace(it.state, status=Status.FAILED)))
        renewed = await world.store.change(failed.id, lambda it: life.requeue(it, now=START, backoff=BACKOFF))
        assert renewed.state.gen == 2
        assert await world.handle(failed) is None
        assert world.read(failed).state.status is Status.SCHEDULED
        cancelled = await world.accept()
        await world.store.change(cancelled.id, life.cancel)
        assert await world.handle(cancelled) is None
        assert (world.server.sessions, world.server.received) == (0, [])


async def test_cancelled_while_waiting_for_the_relay(tmp_path: Path) -> None:
    """An e-mail cancelled while its handler waits for a connection is not sent."""
    async with a_world(tmp_path) as world:
        await world.server.stop()
        email = await world.accept()
        handling = asyncio.create_task(world.handle(email))
        await wait_until(lambda: not world.relay.health().ok)
        await world.store.change(email.id, life.cancel)
        await world.server.start()
        assert await handling is None
        assert world.server.received == []
        assert world.types(email) == ["email.scheduled", "email.cancelled"]


async def test_expires_while_the_relay_is_away(tmp_path: Path) -> None:
    """The wait for the relay ends with the e-mail's time, and no attempt was spent."""
    async with a_world(tmp_path) as world:
        await world.server.stop()
        email = await world.accept()
        world.now = email.state.retry_until - timedelta(milliseconds=50)
        handling = asyncio.create_task(world.handle(email))
        await wait_until(lambda: not world.relay.health().ok)
        world.now = email.state.retry_until + timedelta(milliseconds=1)
        assert await handling is None
        state = world.read(email).state
        assert (state.status, state.reason, state.attempts) == (Status.FAILED, "expired", 0)
        await world.server.start()


async def test_job_of_another_store_is_refused(tmp_path: Path) -> None:
    """A job of another store is neither done nor buried, and its owner is told; one without a record is buried."""
    async with a_world(tmp_path) as world:
        told: list[ForeignJob] = []
        dispatch = world.a_dispatch(on_foreign=told.append)
        for payload in (jobs.payload("another"), {}, None, "x"):
            with pytest.raises(ForeignJob):
                await dispatch(zqueue.Job("em_x.1", payload))
        assert len(told) == 4
        for job_id in ("em_x.1", "em_x", "em_x.one"):
            with pytest.raises(zqueue.Bury):
                await dispatch(zqueue.Job(job_id, jobs.payload(world.store.id)))


async def test_what_cannot_be_written_fails(tmp_path: Path) -> None:
    """A record that no message can be built from fails with the reason; it does not wait for ever."""
    async with a_world(tmp_path) as world:
        email = await world.accept(headers={"X-A": "b\r\nBcc: c@example.org"})
        assert await world.live(email) == [(Status.FAILED, None)]
        assert "X-A" in (world.read(email).state.last_error or "")
        assert "MAIL" not in " ".join(world.server.commands)


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
        assert world.relay.health().connections == 1
        assert await world.live(await world.accept()) == [(Status.COMPLETED, None)]
        assert world.server.sessions == 1


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
            patch.setattr(world.store, "change", refuse)
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
