"""A relay's connections and its breaker, against a real server."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from service.email.record import Ending
from service.mailer.relay import MOST_MESSAGES, Health
from service.mailer.smtp import Connection, RelayTrouble, Timeouts
from service.mailer.target import Target
from tests.conftest import wait_until
from tests.integration.pooling import DATA, a_pool, make_certificate, server_context
from tests.smtpd import DROP, FREEZE, SmtpServer, reply


async def test_connections_are_pooled() -> None:
    """Many messages at once share the few connections allowed, and each connection carries many."""
    async with SmtpServer() as server, a_pool(server, connections=3) as pool:
        endings = await asyncio.gather(*(pool.send() for _ in range(30)))
        assert (set(endings), server.sessions, len(server.received)) == ({Ending.ANSWERED}, 3, 30)
        assert pool.health.connections == 3
        await pool.relays.close()
        assert (pool.health.connections, server.commands.count("QUIT")) == (0, 3)


async def test_connection_is_replaced_after_its_share() -> None:
    """A connection says goodbye after its hundredth message, and the next message gets a new one."""
    async with SmtpServer() as server, a_pool(server, connections=1) as pool:
        for _ in range(MOST_MESSAGES + 1):
            await pool.send()
        assert server.sessions == 2


async def test_idle_connection_is_closed() -> None:
    """A connection nobody uses says goodbye after its idle time."""
    async with SmtpServer() as server, a_pool(server, idle=0.01) as pool:
        await pool.send()
        await server.wait_for_command("QUIT")
        assert pool.health == Health(f"127.0.0.1:{server.port}", "ok", None, None, 0)


async def test_connection_that_the_server_closed_is_replaced() -> None:
    """A pooled connection the server has closed, or fails at RSET, costs nothing but a new one."""
    async with SmtpServer({"rset": [DROP, reply(421, "idle too long")]}) as server, a_pool(server) as pool:
        assert [await pool.send() for _ in range(3)] == [Ending.ANSWERED] * 3
        assert (server.sessions, pool.health.ok) == (3, True)


async def test_waits_until_the_relay_is_back() -> None:
    """While nobody listens everybody waits and nothing fails; once the relay is back all of it flows."""
    async with SmtpServer() as server, a_pool(server) as pool:
        await server.stop()
        waiting = [asyncio.create_task(pool.send()) for _ in range(5)]
        await wait_until(lambda: not pool.health.ok)
        health = pool.health
        assert health.connections == 0
        assert (health.state, health.error) == (
            "unreachable",
            f"127.0.0.1:{server.port}: no connection: Connection refused",
        )
        await server.start()
        assert await asyncio.gather(*waiting) == [Ending.ANSWERED] * 5
        assert (pool.health.ok, pool.health.error) == (True, None)


async def test_one_probe_at_a_time() -> None:
    """While the relay fails, one connection at a time asks whether it works again, not all that wait."""
    async with SmtpServer({"greeting": [reply(421, "busy")] * 4}) as server, a_pool(server, connections=8) as pool:
        endings = await asyncio.gather(*(pool.send() for _ in range(8)))
        assert endings == [Ending.ANSWERED] * 8
    # At most the first eight are refused before the breaker opens; the four refusals are shared among them.
    assert server.sessions <= 4 + 8


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
async def test_421_within_a_transaction_opens_the_breaker(step: str) -> None:
    """The message ends as trouble, and the relay is left alone until a probe works."""
    async with SmtpServer({step: [reply(421, "4.7.0 slow down")]}) as server, a_pool(server, first=0.1) as pool:
        assert await pool.send() is Ending.TROUBLE
        health = pool.health
        assert (health.ok, health.connections) == (False, 0)
        assert (health.error or "").startswith(f"127.0.0.1:{server.port}: the relay said 421 4.7.0 slow down")
        assert 0 < (health.probe_in or 0) <= 0.11
        assert await pool.send() is Ending.ANSWERED
        assert pool.health.ok


async def test_drop_within_a_transaction_does_not() -> None:
    """A connection lost in the middle may be the message's fault: others go on at once."""
    async with SmtpServer({"data": [DROP]}) as server, a_pool(server, first=3600) as pool:
        assert [await pool.send(), await pool.send()] == [Ending.TROUBLE, Ending.ANSWERED]
        assert pool.health.ok


async def test_cancelled_waiter_gives_its_slot_back() -> None:
    """Who stops waiting, for a slot or for the breaker or as the probe, blocks nobody."""
    async with SmtpServer() as server, a_pool(server, connections=1) as pool:
        await server.stop()
        waiting = [asyncio.create_task(pool.send()) for _ in range(3)]
        await wait_until(lambda: not pool.health.ok)
        for task in waiting[:2]:
            task.cancel()
        await server.start()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results[:2]] == [asyncio.CancelledError] * 2
        assert results[2] is Ending.ANSWERED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For 127.0.0.1, with its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_certificates(mode: str, certificate: Path) -> None:
    """A self-signed certificate is refused, unless its authority is named or verification is off."""
    implicit = mode == "implicit"
    async with SmtpServer(tls=server_context(certificate), implicit_tls=implicit) as server:
        with pytest.raises(RelayTrouble, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
            await Connection.open(Target.parse(server.url(f"tls={mode}")), ehlo="test")
        assert not [command for command in server.commands if command.startswith(("MAIL", "AUTH"))]
        for trust in (f"ca={certificate}.crt", "verify=no"):
            target = Target.parse(server.url(f"tls={mode}&{trust}"))
            connection = await Connection.open(target, ehlo="test", timeouts=Timeouts(quit=1))
            outcome = await connection.send("from@example.com", ["ann@example.org"], DATA * 20_000)
            await connection.close()
            assert outcome.ending is Ending.ANSWERED
    assert [len(message.data) for message in server.received] == [len(DATA) * 20_000] * 2


async def test_starttls_is_required() -> None:
    """A relay that does not offer STARTTLS (any more) gets nothing in clear text."""
    async with SmtpServer(login=("me", "hunter2")) as server:
        with pytest.raises(RelayTrouble, match="STARTTLS"):
            await Connection.open(Target.parse(server.url("tls=starttls", user="me:hunter2@")), ehlo="test")
    assert server.commands == ["EHLO test"]


async def test_login(certificate: Path) -> None:
    """The right password opens the connection; the wrong one is trouble, and the error does not repeat it."""
    async with SmtpServer(tls=server_context(certificate), login=("me", "hunter2")) as server:
        query = f"tls=starttls&ca={certificate}.crt"
        connection = await Connection.open(Target.parse(server.url(query, user="me:hunter2@")), ehlo="test")
        await connection.close()
        with pytest.raises(RelayTrouble, match="535") as caught:
            await Connection.open(Target.parse(server.url(query, user="me:wrong-one@")), ehlo="test")
    secrets = ("wrong-one", base64.b64encode(b"wrong-one").decode(), base64.b64encode(b"\0me\0wrong-one").decode())
    assert any(command == f"AUTH PLAIN {secrets[2]}" for command in server.commands)
    assert not [secret for secret in secrets if secret in str(caught.value)]


async def test_an_idle_connection_that_is_silent_is_replaced_soon() -> None:
    """A reset costs little to answer: where none comes, the next message goes over a new connection."""
    async with SmtpServer({"rset": FREEZE}) as server, a_pool(server) as pool:
        await pool.send()
        async with asyncio.timeout(4):
            assert await pool.send() is Ending.ANSWERED
        assert server.sessions == 2
