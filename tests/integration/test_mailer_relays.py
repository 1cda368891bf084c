"""Several relays: which one is used, when, by whom, and what is said of each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.email.record import Ending
from service.mailer.relay import MOST_LOST
from service.mailer.smtp import Connection, Kind, RelayTrouble, Timeouts
from service.mailer.target import Target
from tests.conftest import wait_until
from tests.integration.pooling import DATA, a_pool, make_certificate, server_context
from tests.smtpd import DROP, FREEZE, Action, Script, SmtpServer, reply

BYE = reply(421, "4.3.2 bye")


async def test_the_first_that_works_is_used() -> None:
    """With both well, all goes to the first; with the first away, all goes to the second, and nothing fails."""
    async with SmtpServer() as first, SmtpServer() as second, a_pool(first, second, first=3600) as pool:
        assert [await pool.send() for _ in range(3)] == [Ending.ANSWERED] * 3
        assert (len(first.received), second.sessions) == (3, 0)
        await first.stop()
        assert await asyncio.gather(*(pool.send() for _ in range(20))) == [Ending.ANSWERED] * 20
        assert (len(first.received), len(second.received)) == (3, 20)
        assert pool.states == ["unreachable", "ok"]
        assert pool.relays.trouble() is None, "mail flows"
        await first.start()


async def test_the_first_is_used_again_once_a_probe_works() -> None:
    """When its probe is due one e-mail tries the first relay; after that all go there again."""
    async with SmtpServer() as first, SmtpServer() as second, a_pool(first, second, first=0.05) as pool:
        await first.stop()
        await pool.send()
        await first.start()
        await wait_until(lambda: pool.health.probe_in == 0)
        assert [await pool.send() for _ in range(3)] == [Ending.ANSWERED] * 3
        assert (len(first.received), len(second.received), pool.states) == (3, 1, ["ok", "ok"])


async def test_a_probe_that_fails_costs_its_email_nothing() -> None:
    """The e-mail that finds the first relay still away goes to the second in the same breath."""
    async with SmtpServer() as first, SmtpServer() as second, a_pool(first, second, first=0.05) as pool:
        await first.stop()
        await pool.send()
        await wait_until(lambda: pool.health.probe_in == 0)
        assert await pool.send() is Ending.ANSWERED
        assert (len(second.received), pool.states) == (2, ["unreachable", "ok"])
        await first.start()


async def test_none_works() -> None:
    """Everybody waits, whatever relay comes back first; what is wrong with each is told in one sentence."""
    async with SmtpServer() as first, SmtpServer() as second, a_pool(first, second) as pool:
        await first.stop()
        await second.stop()
        waiting = [asyncio.create_task(pool.send()) for _ in range(10)]
        await wait_until(lambda: pool.relays.trouble() is not None)
        assert pool.relays.trouble() == "; ".join(
            f"127.0.0.1:{server.port}: no connection: Connection refused" for server in (first, second)
        )
        await second.start()
        assert await asyncio.gather(*waiting) == [Ending.ANSWERED] * 10
        assert len(second.received) == 10
        await first.start()


async def test_who_waits_for_a_free_connection_moves_on_when_the_relay_fails() -> None:
    """All connections of the first relay are taken and then it says 421: those that waited for it use the second."""
    script: Script = {"mail": Action(421, "4.3.2 bye", then="drop", delay=0.2)}
    async with SmtpServer(script) as first, SmtpServer() as second, a_pool(first, second, first=3600) as pool:
        endings = await asyncio.gather(*(pool.send() for _ in range(12)))
    assert sorted(endings) == [Ending.ANSWERED] * 10 + [Ending.TROUBLE] * 2
    assert len(second.received) == 10


async def test_no_group_takes_every_connection() -> None:
    """A domain that hangs gets five of eight connections, another one two; the others go on with what is left."""
    async with SmtpServer({"rcpt:ann@example.org": FREEZE}) as server, a_pool(server, connections=8) as pool:
        slow = [asyncio.create_task(pool.send("slow")) for _ in range(10)]
        slow += [asyncio.create_task(pool.send("slow too")) for _ in range(10)]
        await server.wait_for_command("RCPT", 5 + 2)
        server.rescript({})
        assert [await pool.send(f"other{n}") for n in range(20)] == [Ending.ANSWERED] * 20
        assert (server.sessions, len(server.received)) == (5 + 2 + 1, 20)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_connections_lost_one_after_the_other_open_the_breaker() -> None:
    """One may be its message's fault; so many in a row are the relay's, and the next one is used."""
    async with SmtpServer({"data": DROP}) as first, SmtpServer() as second, a_pool(first, second, first=3600) as pool:
        endings = [await pool.send() for _ in range(MOST_LOST + 1)]
        assert endings == [Ending.TROUBLE] * MOST_LOST + [Ending.ANSWERED]
        assert (pool.states, len(second.received)) == (["dropping", "ok"], 1)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"connect": DROP}, Kind.UNREACHABLE),
        ({"greeting": reply(554, "5.7.1 no")}, Kind.REFUSING),
        ({"greeting": BYE}, Kind.BUSY),
        ({"ehlo": reply(550, "no"), "helo": reply(550, "no")}, Kind.REFUSING),
        ({"ehlo": BYE}, Kind.BUSY),
        ({"starttls": reply(454, "4.7.0 not now")}, Kind.TLS),
        ({"starttls": BYE}, Kind.BUSY),
        ({"auth": reply(535, "5.7.8 no")}, Kind.LOGIN),
        ({"auth": BYE}, Kind.BUSY),
        ({"auth": DROP}, Kind.LOGIN),
    ],
)
async def test_what_is_wrong_is_told(script: Script, kind: Kind, tmp_path: Path) -> None:
    """Where it fails is the state of the relay, whatever it says there."""
    certificate = make_certificate(tmp_path)
    async with SmtpServer(script, tls=server_context(certificate), login=("me", "x")) as server:
        target = Target.parse(server.url(f"tls=starttls&ca={certificate}.crt", user="me:x@"))
        with pytest.raises(RelayTrouble) as caught:
            await Connection.open(target, ehlo="test")
    assert caught.value.kind is kind


@pytest.mark.parametrize("query", ["tls=starttls", "tls=implicit"])
async def test_a_bad_certificate_is_told(query: str, tmp_path: Path) -> None:
    """It is trouble with TLS, however TLS begins."""
    context = server_context(make_certificate(tmp_path))
    async with SmtpServer(tls=context, implicit_tls=query == "tls=implicit") as server:
        with pytest.raises(RelayTrouble) as caught:
            await Connection.open(Target.parse(server.url(query)), ehlo="test")
    assert caught.value.kind is Kind.TLS


async def test_no_starttls_and_no_login_are_told() -> None:
    """A relay that offers neither where both are wanted is told by what comes first."""
    async with SmtpServer() as server:
        kinds = []
        for query in ("tls=starttls", "tls=none"):
            with pytest.raises(RelayTrouble) as caught:
                await Connection.open(Target.parse(server.url(query, user="me:x@")), ehlo="test")
            kinds.append(caught.value.kind)
    assert kinds == [Kind.TLS, Kind.LOGIN]
    assert not [command for command in server.commands if command.startswith("AUTH")]


@contextlib.contextmanager
def a_full_backlog() -> Iterator[int]:
    """A port that answers nobody: its queue of connections is full, so that the kernel drops each new one."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(listener.getsockname())
        yield listener.getsockname()[1]


async def test_connecting_has_a_patience_of_its_own() -> None:
    """A host that swallows packets is given up after the time for connecting, not after that for answering."""
    with a_full_backlog() as port:
        opening = Connection.open(Target.parse(f"smtp://127.0.0.1:{port}"), ehlo="test", timeouts=Timeouts(connect=0.3))
        with pytest.raises(RelayTrouble, match=r"no connection within 0\.3 s") as caught:
            await asyncio.wait_for(opening, 10)
    assert caught.value.kind is Kind.UNREACHABLE


async def test_a_message_that_is_too_large_is_not_offered() -> None:
    """What exceeds the announced SIZE is refused here, for good and in words, without a command; 0 means any size."""
    replies = []
    for size in ("SIZE 100", "SIZE 0", "SIZE", "SIZE many"):
        async with SmtpServer(extensions=[size]) as server:
            connection = await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=Timeouts(quit=1))
            outcome = await connection.send("from@example.com", ["ann@example.org"], DATA * 100)
            await connection.close()
            replies.append((outcome.ending, str(outcome.replies["ann@example.org"])))
            if size == "SIZE 100":
                assert server.commands == ["EHLO test", "QUIT"]
    words = f"552 5.3.4 the message has {len(DATA) * 100} bytes, the relay takes 100 at most"
    assert replies == [(Ending.ANSWERED, words)] + [(Ending.ANSWERED, "250 2.0.0 queued")] * 3


async def test_eight_bits_are_announced_or_refused() -> None:
    """A message with octets above 127 is declared as such, and not given to a relay that may not carry them."""
    heard = []
    for extensions in (["8BITMIME"], []):
        async with SmtpServer(extensions=extensions) as server:
            connection = await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=Timeouts(quit=1))
            outcome = await connection.send("from@example.com", ["ann@example.org"], "ä\r\n".encode())
            await connection.close()
            heard.append((server.commands[1], outcome.replies["ann@example.org"].code))
    assert heard == [("MAIL FROM:<from@example.com> BODY=8BITMIME", 250), ("QUIT", 554)]


@pytest.mark.parametrize(("answer", "mechanisms"), [(535, ["PLAIN"]), (504, ["PLAIN", "LOGIN"])])
async def test_a_wrong_password_is_tried_once(answer: int, mechanisms: list[str]) -> None:
    """Another mechanism is tried only where the relay does not want the first: relays count failures, and lock out."""
    async with SmtpServer({"auth": [reply(answer, "no")]}, login=("me", "x")) as server:
        opening = Connection.open(Target.parse(server.url(user="me:x@")), ehlo="test", timeouts=Timeouts(quit=1))
        if answer == 535:
            with pytest.raises(RelayTrouble, match="535 no"):
                await opening
        else:
            await (await opening).close()
    assert [command.split()[1] for command in server.commands if command.startswith("AUTH")] == mechanisms


async def test_every_address_of_a_name_is_tried() -> None:
    """A name whose first address nobody answers at is reached at the next."""
    async with SmtpServer() as server:
        loop = asyncio.get_running_loop()
        with socket.socket() as nobody, pytest.MonkeyPatch.context() as patch:
            nobody.bind(("127.0.0.1", 0))
            found = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
                for address in (nobody.getsockname(), ("127.0.0.1", server.port))
            ]

            async def lookup(*_: object, **__: object) -> list[tuple[object, ...]]:
                return list(found)

            patch.setattr(loop, "getaddrinfo", lookup)
            await (await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=Timeouts(quit=1))).close()
    assert server.commands == ["EHLO test", "QUIT"]
