"""A relay that misbehaves at every step: nothing is lost, and nothing is sent twice but what nobody can know of."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from service.email.record import Email, Status
from service.mailer.breaker import Breaker
from service.mailer.relay import Relay
from service.mailer.relays import Relays
from service.mailer.smtp import Timeouts
from service.mailer.target import Target
from service.store.store import Store
from tests.conftest import wait_until
from tests.integration.dispatching import ANN, BOB, START, World
from tests.integration.pooling import make_certificate, server_context
from tests.integration.smtp_faults import FAULTS, Becomes, Fault, table
from tests.smtpd import SmtpServer

DOCUMENT = Path(__file__).parents[2] / "docs" / "smtp-faults.md"
PATIENCE = Timeouts(connect=5, command=1, reset=0.5, data=1, block=1, dot=1, before_dot=30, quit=0.2)
PATIENCE_WITH_LONG = Timeouts(connect=5, command=10, data=10, block=3, dot=20, before_dot=60, quit=1)
LONG = ("x" * 70 + "\n") * 200_000
"""14 MB: more than the buffers of both kernels."""


class Witness:
    """A world with one relay, and the states that this got into."""

    def __init__(self, store: Store, server: SmtpServer, relay: Relay, on_unknown: Literal["retry", "hold"]) -> None:
        self.states: list[str] = []
        self.relays = Relays([relay], changed=self._note)
        self.world = World(store, server, self.relays)
        self.world.dispatch = self.world.a_dispatch(on_unknown=on_unknown)

    def _note(self) -> None:
        state = self.relays.health()[0].state
        if state != "ok":
            self.states.append(state)

    @property
    def relay(self) -> str:
        """The state that the relay got into; ``ok`` where it stayed."""
        return self.states[0] if self.states else "ok"

    def copies(self, email: Email) -> tuple[int, int]:
        """How many of the e-mail Ann has, and Bob."""
        counted = Counter(
            address
            for message in self.world.server.received
            if message.message_id == email.content.message_id
            for address in message.recipients
        )
        return counted[ANN], counted[BOB]


@contextlib.asynccontextmanager
async def a_witness(folder: Path, fault: Fault, on_unknown: Literal["retry", "hold"]) -> AsyncIterator[Witness]:
    """A server that will do what *fault* says, once."""
    certificate = make_certificate(folder) if fault.offers_tls else None
    tls = None if certificate is None else server_context(certificate)
    login = ("me", "x") if fault.user else None
    store = await Store.open(folder / "data", now=lambda: START, min_free=0)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        server = await stack.enter_async_context(SmtpServer(tls=tls, login=login))
        query = fault.query if certificate is None else f"{fault.query}&ca={certificate}.crt"
        target = Target.parse(server.url(query, user=fault.user))
        breaker = Breaker(first=0.02, longest=0.1)
        timeouts = PATIENCE_WITH_LONG if fault.long else PATIENCE
        witness = Witness(store, server, Relay(target, ehlo="test", timeouts=timeouts, breaker=breaker), on_unknown)
        stack.push_async_callback(witness.relays.close)
        yield witness


CASES: list[tuple[Fault, Literal["retry", "hold"]]] = [
    *((fault, "retry") for fault in FAULTS),
    *((fault, "hold") for fault in FAULTS if fault.becomes is Becomes.UNKNOWN),  # the others are the same
]


@pytest.mark.parametrize(("fault", "on_unknown"), CASES, ids=[f"{fault} ({policy})" for fault, policy in CASES])
async def test_fault(fault: Fault, on_unknown: Literal["retry", "hold"], tmp_path: Path) -> None:
    """The e-mail's history, its attempts, the copies each recipient has, and the state of the relay are as told."""
    async with a_witness(tmp_path, fault, on_unknown) as witness:
        world = witness.world
        if fault.reused:
            await world.live(await world.accept())
        world.server.rescript({step: [action] for step, action in fault.script.items()})
        email = await world.accept(text=LONG if fault.long else "Hi\n")
        if not fault.listens:
            await world.server.stop()
            living = asyncio.create_task(world.live(email))
            await wait_until(lambda: bool(witness.states))
            await world.server.start()
            await living
        else:
            await world.live(email)
        state = world.read(email).state
        held = fault.becomes is Becomes.UNKNOWN and on_unknown == "hold"
        events = ["sending", "held"] if held else fault.becomes.events
        assert [name.removeprefix("email.") for name in world.types(email)[1:]] == events
        assert state.attempts == (1 if held else fault.becomes.attempts)
        assert witness.copies(email) == _copies(fault, state.status)
        assert witness.relay == fault.relay


def _copies(fault: Fault, status: Status) -> tuple[int, int]:
    """One for each, but for who was refused; two only where nobody can know of the first."""
    if status is Status.FAILED:
        return 0, 0
    if fault.becomes is Becomes.PARTLY:
        return 0, 1
    if status is Status.HELD:
        return (1, 1) if fault.stored else (0, 0)
    return (2, 2) if fault.becomes is Becomes.UNKNOWN and fault.stored else (1, 1)


async def test_a_bad_certificate(tmp_path: Path) -> None:
    """It gets no message at all; the e-mail waits, and expires with the reason, having spent nothing."""
    context = server_context(make_certificate(tmp_path))
    store = await Store.open(tmp_path / "data", now=lambda: START, min_free=0)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        server = await stack.enter_async_context(SmtpServer(tls=context))
        breaker = Breaker(first=0.02, longest=0.1)
        relay = Relay(Target.parse(server.url("tls=starttls")), ehlo="test", timeouts=PATIENCE, breaker=breaker)
        witness = Witness(store, server, relay, "retry")
        stack.push_async_callback(witness.relays.close)
        world = witness.world
        email = await world.accept()
        world.now = email.state.retry_until - timedelta(seconds=5)
        living = asyncio.create_task(world.live(email))
        await wait_until(lambda: bool(witness.states))
        world.now = email.state.retry_until
        await living
        state = world.read(email).state
    assert (state.status, state.reason, state.attempts) == (Status.FAILED, "expired", 0)
    assert "certificate verify failed" in (state.last_error or "")
    assert (witness.relay, server.received) == ("tls", [])
    assert not [command for command in server.commands if command.startswith(("MAIL", "AUTH"))]


def test_the_table_of_the_documentation_is_this_one() -> None:
    """What is written there is what was tested."""
    assert table() in DOCUMENT.read_text("utf-8")


def test_every_step_is_in_the_table() -> None:
    """From connecting to using a connection again."""
    assert list(dict.fromkeys(fault.step for fault in FAULTS)) == [
        "connect",
        "greeting",
        "EHLO",
        "STARTTLS",
        "AUTH",
        "MAIL",
        "RCPT",
        "DATA",
        "the message",
        "after the dot",
        "reuse (RSET)",
        "reuse (MAIL)",
    ]
