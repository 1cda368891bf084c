"""Addresses that are suppressed after an e-mail was accepted, and the headers of one that offers to unsubscribe."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from email.parser import BytesHeaderParser
from pathlib import Path

from service import suppression, unsubscribe
from service.email.record import Status
from service.suppression import Reason
from tests.conftest import wait_until
from tests.integration.dispatching import ANN, BOB, World, a_world
from tests.smtpd import reply


async def suppress(world: World, *addresses: str) -> None:
    """Put addresses on the list."""
    await world.store.write(lambda it: [suppression.add(it, one, Reason.MANUAL) for one in addresses])


async def test_it_is_checked_again_at_send(tmp_path: Path) -> None:
    """Who is suppressed by then gets nothing, however the address was written; the others do."""
    async with a_world(tmp_path) as world:
        email = await world.accept()
        await suppress(world, ANN.upper())
        assert await world.live(email) == [(Status.COMPLETED, None)]
        (message,) = world.server.received
        assert message.recipients == (BOB,)
        found = {one.address: one.status.value for one in world.read(email).state.recipients}
        assert found == {ANN: "suppressed", BOB: "accepted"}


async def test_nobody_is_left_at_send(tmp_path: Path) -> None:
    """The e-mail has failed, the relay hears nothing of it, and no attempt is spent."""
    async with a_world(tmp_path) as world:
        email = await world.accept()
        await suppress(world, ANN, BOB)
        assert await world.live(email) == [(Status.FAILED, None)]
        state = world.read(email).state
        assert (state.reason, state.attempts, state.run) == ("suppressed", 0, 0)
        assert world.server.received == []
        assert world.types(email) == ["email.scheduled", "email.failed"]


async def test_the_rest_is_suppressed_between_two_attempts(tmp_path: Path) -> None:
    """What was accepted for one stays so: the e-mail is completed without a second attempt."""
    async with a_world(tmp_path, {f"rcpt:{BOB}": reply(451, "4.3.0 later")}) as world:
        email = await world.accept()
        assert await world.handle(email) == 60
        await suppress(world, BOB)
        world.now += timedelta(seconds=60)
        assert await world.handle(email) is None
        assert world.read(email).state.status is Status.COMPLETED
        assert len(world.server.received) == 1


async def test_it_is_free_again(tmp_path: Path) -> None:
    """Once the entry is removed the address gets what is not sent yet."""
    async with a_world(tmp_path) as world:
        await suppress(world, ANN)
        email = await world.accept()
        assert await suppression.remove(world.store, ANN)
        assert await world.live(email) == [(Status.COMPLETED, None)]
        assert world.server.received[0].recipients == (ANN, BOB)


async def test_unsubscribing_raced_against_sending(tmp_path: Path) -> None:
    """Whichever is first under the lock: an address that is suppressed when the run begins gets nothing."""
    async with a_world(tmp_path, connections=4) as world:
        emails = [await world.accept() for _ in range(50)]

        async def unsubscribes(n: int) -> None:
            for _ in range(n):
                await asyncio.sleep(0)
            if n >= 40:
                await wait_until(lambda: world.read(emails[n]).state.run == 1)
            await unsubscribe.follow(world.store, unsubscribe.Link(emails[n].id, BOB))

        for n, email in enumerate(emails):
            await suppression.remove(world.store, BOB)
            await asyncio.gather(world.handle(email), unsubscribes(n))
        seen = {message.message_id: BOB in message.recipients for message in world.server.received}
        assert set(seen.values()) == {True, False}, "each was first at times"
        for email in emails:
            types = world.types(email)
            began, left = types.index("email.sending"), types.index("recipient.unsubscribed")
            assert seen[email.content.message_id] == (began < left)
            status = world.read(email).state.recipients[1].status.value
            assert status == ("accepted" if began < left else "suppressed")


async def test_the_headers_of_one_click_on_the_wire(tmp_path: Path) -> None:
    """Both are whole, each on one line, as RFC 8058 wants them; the link unsubscribes who got the message."""
    async with a_world(tmp_path) as world:
        address = f"{'ann' * 20}@{'a-long-name.' * 10}example.org"
        fields = await unsubscribe.headers(world.store, "https://mail.example.com", "em_1", address)
        email = await world.accept(headers=fields)
        await world.live(email)
        data = world.server.received[0].data
        lines = data.replace(b"\r\n", b"\n").split(b"\n")
        assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines
        assert f"List-Unsubscribe: {fields['List-Unsubscribe']}".encode() in lines
        link = BytesHeaderParser().parsebytes(data)["List-Unsubscribe"]
        assert unsubscribe.read(world.store, link[1:-1].rpartition("/")[2]) == unsubscribe.Link("em_1", address)


async def test_two_processes_make_one_key(tmp_path: Path) -> None:
    """The first e-mails of several processes that offer it share the key, whoever is first."""
    async with a_world(tmp_path / "data") as one, contextlib.AsyncExitStack() as stack:
        other = await stack.enter_async_context(a_world(tmp_path / "data"))
        made = await asyncio.gather(
            *(unsubscribe.headers(world.store, "https://a.example", "em_1", ANN) for world in (one, other) * 5)
        )
        assert len({fields["List-Unsubscribe"] for fields in made}) == 1
