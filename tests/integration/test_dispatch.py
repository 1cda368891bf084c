"""What becomes of an e-mail under each answer of a server; the clock is the test's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import zqueue
from service.dispatch import ForeignJob
from service.email import jobs, life
from service.email.record import Change, RecipientStatus, Status
from service.mailer.relays import Relays
from tests.conftest import wait_until
from tests.integration.dispatching import ANN, BACKOFF, BOB, START, a_relay, a_world
from tests.smtpd import DROP, STORE_AND_DROP, Action, SmtpServer, reply


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
        await wait_until(lambda: not world.health.ok)
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
        await wait_until(lambda: not world.health.ok)
        world.now = email.state.retry_until + timedelta(milliseconds=1)
        assert await handling is None
        state = world.read(email).state
        assert (state.status, state.reason, state.attempts) == (Status.FAILED, "expired", 0)
        await world.server.start()


async def test_job_of_another_store_is_refused(tmp_path: Path) -> None:
    """A job of another store is neither done nor buried, and its owner is told; one that is of none is buried."""
    async with a_world(tmp_path) as world:
        told: list[ForeignJob] = []
        dispatch = world.a_dispatch(on_foreign=told.append)
        with pytest.raises(ForeignJob):
            await dispatch(zqueue.Job("em_x.1", jobs.payload("another")))
        assert len(told) == 1
        of_none: list[Any] = [{}, None, "x", [1, 2]]
        for payload in of_none:
            with pytest.raises(zqueue.Bury):
                await dispatch(zqueue.Job("em_x.1", payload))
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


async def test_the_envelope_has_a_sender_of_its_own(tmp_path: Path) -> None:
    """The e-mail's, else the service's, else that of its From; the message is the same whichever it is."""
    async with a_world(tmp_path) as world:
        for return_path, envelope_from in (
            (None, None),
            ("back@example.com", None),
            ("back@example.com", "own@b.example"),
        ):
            world.dispatch = world.a_dispatch(return_path=return_path)
            await world.live(await world.accept(message_id="<one@example.com>", envelope_from=envelope_from))
        senders = [message.sender for message in world.server.received]
        assert senders == ["shop@example.com", "back@example.com", "own@b.example"]
        assert len({message.data for message in world.server.received}) == 1


async def test_a_message_that_is_too_large_for_the_relay_fails_at_once(tmp_path: Path) -> None:
    """Without being offered to it, and with both sizes in the record."""
    async with a_world(tmp_path, extensions=["SIZE 300"]) as world:
        email = await world.accept(text="x" * 300)
        assert await world.live(email) == [(Status.FAILED, None)]
        state = world.read(email).state
        assert (state.reason, state.attempts) == ("refused", 1)
        assert (state.last_error or "").startswith("552 5.3.4 the message has ")
        assert not [command for command in world.server.commands if command.startswith("MAIL")]


async def test_a_second_relay_takes_over(tmp_path: Path) -> None:
    """421 within a transaction defers its e-mail without spending an attempt; the next relay takes it, and others."""
    async with a_world(tmp_path, {"mail": reply(421, "4.3.2 closing")}) as world, SmtpServer() as second:
        world.relays = Relays([a_relay(world.server, first=3600), a_relay(second)])
        world.dispatch = world.a_dispatch()
        emails = [await world.accept(max_retries=0) for _ in range(2)]
        stories = [[status for status, _ in await world.live(email)] for email in emails]
        assert stories == [[Status.RETRYING, Status.COMPLETED], [Status.COMPLETED]]
        assert [world.read(email).state.attempts for email in emails] == [1, 1]
        assert (len(second.received), len(world.server.received)) == (2, 0)
        await world.relays.close()
