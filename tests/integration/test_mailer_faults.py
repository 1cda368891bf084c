"""Every step of a transaction against every fault: what is told apart, over a real connection."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.email.record import Ending, Outcome, Reply, Stage
from service.mailer.smtp import Connection, Kind, RelayTrouble, Timeouts
from service.mailer.smtp.transaction import Transaction
from service.mailer.target import Target
from tests.smtpd import DROP, FREEZE, STORE_AND_DROP, STORE_AND_FREEZE, Action, Script, SmtpServer, reply

SHORT = b"Subject: short\r\n\r\n.a\r\n..b\r\n"
LONG = b"Subject: long\r\n\r\n" + (b"." + b"x" * 76 + b"\r\n") * 200_000
"""15 MB: more than the buffers of both kernels, so that nobody can have written all of it to a server that stopped."""

IMPATIENT = Timeouts(command=0.6, reset=0.6, data=0.6, block=0.6, dot=0.6, before_dot=20, quit=0.3)
PATIENT = Timeouts(command=30, data=30, block=30, dot=30, before_dot=60, quit=1)
ANN, BOB = "ann@example.org", "bob@example.org"


async def send(server: SmtpServer, data: bytes = SHORT, timeouts: Timeouts = PATIENT) -> tuple[Outcome, Connection]:
    """One transaction to Ann and Bob on a connection of its own."""
    connection = await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=timeouts)
    try:
        return await connection.send("from@example.com", [ANN, BOB], data), connection
    finally:
        connection.abort()


def everybody(code: int, text: str, stage: Stage) -> dict[str, Reply]:
    """The same answer for both recipients."""
    return dict.fromkeys((ANN, BOB), Reply(code, text, stage))


@dataclass(frozen=True)
class Case:
    """A script and what a transaction under it must come to.

    `relay` is what it says of the relay as a whole, `stored` whether the server has the message.
    """

    script: Script
    ending: Ending
    replies: dict[str, Reply] = field(default_factory=dict)
    relay: Kind | None = None
    stored: bool = False
    data: bytes = SHORT


BYE = reply(421, "4.3.2 bye")
TAKEN = everybody(250, "2.0.0 queued", Stage.DATA)
CASES = {
    "all is well": Case({}, Ending.ANSWERED, TAKEN, stored=True),
    "all is well, long": Case({}, Ending.ANSWERED, TAKEN, stored=True, data=LONG),
    "MAIL 4xx": Case({"mail": reply(451, "later")}, Ending.ANSWERED, everybody(451, "later", Stage.MAIL)),
    "MAIL 5xx": Case({"mail": reply(550, "no")}, Ending.ANSWERED, everybody(550, "no", Stage.MAIL)),
    "MAIL 421": Case({"mail": BYE}, Ending.TROUBLE, relay=Kind.BUSY),
    "MAIL 530": Case({"mail": reply(530, "5.7.0 log in")}, Ending.TROUBLE, relay=Kind.LOGIN),
    "MAIL nonsense": Case({"mail": reply(334, "what")}, Ending.TROUBLE),
    "MAIL drop": Case({"mail": DROP}, Ending.TROUBLE),
    "MAIL freeze": Case({"mail": FREEZE}, Ending.TROUBLE),
    "RCPT all refused": Case({"rcpt": reply(550, "no")}, Ending.ANSWERED, everybody(550, "no", Stage.RCPT)),
    "RCPT one refused": Case(
        {f"rcpt:{ANN}": reply(550, "no")},
        Ending.ANSWERED,
        {ANN: Reply(550, "no", Stage.RCPT), BOB: Reply(250, "2.0.0 queued", Stage.DATA)},
        stored=True,
    ),
    "RCPT 552": Case(
        {f"rcpt:{BOB}": reply(552, "too many")},
        Ending.ANSWERED,
        {ANN: Reply(250, "2.0.0 queued", Stage.DATA), BOB: Reply(552, "too many", Stage.RCPT)},
        stored=True,
    ),
    "RCPT 421": Case({f"rcpt:{BOB}": BYE}, Ending.TROUBLE, relay=Kind.BUSY),
    "RCPT drop": Case({f"rcpt:{BOB}": DROP}, Ending.TROUBLE),
    "RCPT freeze": Case({f"rcpt:{BOB}": FREEZE}, Ending.TROUBLE),
    "DATA 4xx": Case({"data": reply(451, "later")}, Ending.ANSWERED, everybody(451, "later", Stage.DATA)),
    "DATA 5xx": Case({"data": reply(554, "no")}, Ending.ANSWERED, everybody(554, "no", Stage.DATA)),
    "DATA 421": Case({"data": BYE}, Ending.TROUBLE, relay=Kind.BUSY),
    "DATA 250": Case({"data": reply(250, "what")}, Ending.TROUBLE),
    "DATA drop": Case({"data": DROP}, Ending.TROUBLE),
    "DATA freeze": Case({"data": FREEZE}, Ending.TROUBLE),
    "354, then drop": Case({"data": reply(354, "go", then="drop")}, Ending.TROUBLE),
    "body drop": Case({"body": DROP}, Ending.TROUBLE, data=LONG),
    "body freeze": Case({"body": FREEZE}, Ending.TROUBLE, data=LONG),
    "body 421": Case({"body": BYE}, Ending.TROUBLE, relay=Kind.BUSY, data=LONG),
    "body 552": Case(
        {"body": reply(552, "too big", then="freeze")},
        Ending.ANSWERED,
        everybody(552, "too big", Stage.DATA),
        data=LONG,
    ),
    "dot 4xx": Case({"dot": reply(451, "later")}, Ending.ANSWERED, everybody(451, "later", Stage.DATA)),
    "dot 5xx": Case({"dot": reply(554, "spam")}, Ending.ANSWERED, everybody(554, "spam", Stage.DATA)),
    "dot 421": Case({"dot": BYE}, Ending.TROUBLE, relay=Kind.BUSY),
    "dot drop": Case({"dot": DROP}, Ending.UNKNOWN),
    "dot freeze": Case({"dot": FREEZE}, Ending.UNKNOWN),
    "dot stored, then drop": Case({"dot": STORE_AND_DROP}, Ending.UNKNOWN, stored=True),
    "dot stored, then freeze": Case({"dot": STORE_AND_FREEZE}, Ending.UNKNOWN, stored=True),
    "dot nonsense": Case({"dot": Action(354, "go on", store=True)}, Ending.UNKNOWN, stored=True),
    "one refused, then dot drop": Case(
        {f"rcpt:{ANN}": reply(550, "no"), "dot": DROP}, Ending.UNKNOWN, {ANN: Reply(550, "no", Stage.RCPT)}
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_fault(case: Case) -> None:
    """The ending, the replies, who is to blame and what the server has are as the case says."""
    freezes = any(action in (FREEZE, STORE_AND_FREEZE) for action in case.script.values())
    async with SmtpServer(case.script) as server:
        outcome, connection = await send(server, case.data, IMPATIENT if freezes else PATIENT)
        stored = [message.data for message in server.received]
    assert (outcome.ending, outcome.replies) == (case.ending, case.replies)
    assert (outcome.error is None) == (case.ending is Ending.ANSWERED)
    assert (connection.trouble[1] if connection.trouble else None) is case.relay
    assert stored == ([case.data] if case.stored else [])


async def test_no_data_when_nobody_is_left() -> None:
    """With every recipient refused the server is not asked to take the message."""
    async with SmtpServer({"rcpt": reply(550, "no")}) as server:
        await send(server)
    assert server.commands == [
        "EHLO test",
        f"MAIL FROM:<from@example.com> SIZE={len(SHORT)}",
        f"RCPT TO:<{ANN}>",
        f"RCPT TO:<{BOB}>",
    ]


async def test_dots_are_stuffed_on_the_wire() -> None:
    """Each line that begins with a dot gets another one, the first line too."""
    async with SmtpServer() as server:
        await send(server, b".first\r\n\r\n.\r\n..two\r\nplain.\r\n")
    assert server.received[0].wire == b"..first\r\n\r\n..\r\n...two\r\nplain.\r\n"


@pytest.mark.parametrize("before", range(4))
async def test_dots_are_stuffed_wherever_a_write_ends(before: int) -> None:
    """A message is written in blocks; a dot at the edge of one is a dot like any other."""
    filler = b"x" * (64 * 1024 - before)
    message = filler + b"\r\n.\r\n..a.\r\n"
    async with SmtpServer() as server:
        await send(server, message)
    assert server.received[0].data == message
    assert server.received[0].wire == filler + b"\r\n..\r\n...a.\r\n"


@pytest.mark.parametrize("at", [1024 * 1024 - 1, 1024 * 1024, 3])
@pytest.mark.parametrize("bare", [b"\r", b"\n", b"\n\r"])
async def test_a_bare_line_end_is_found_wherever_it_is(at: int, bare: bytes) -> None:
    """Large messages are looked through in slices; one CRLF cut in two by them is none of those."""
    whole = b"x" * at + b"\r\n" + b"y" * 100 + b"\r\n"
    async with SmtpServer() as server:
        await send(server, whole)
        with pytest.raises(ValueError, match="CRLF"):
            await send(server, b"x" * at + bare + b"y" * 100 + b"\r\n")
    assert len(server.received) == 1


@pytest.mark.parametrize("data", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\n", b"no end", b"\r"])
async def test_line_ends_that_would_smuggle_are_refused(data: bytes) -> None:
    """A bare CR or LF never reaches the wire."""
    async with SmtpServer() as server:
        with pytest.raises(ValueError, match="CRLF"):
            await send(server, data)
    assert server.commands == ["EHLO test"]


async def test_connection_is_reused_after_each_kind_of_answer() -> None:
    """RSET clears what a refusal left behind, and the next message goes over the same connection."""
    script = {
        "mail": [reply(451, "later")],
        "rcpt": [reply(550, "no"), reply(550, "no")],
        "data": [reply(451, "later")],
    }
    async with SmtpServer(script) as server:
        connection = await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=PATIENT)
        codes = []
        for _ in range(4):
            outcome = await connection.send("from@example.com", [ANN, BOB], SHORT)
            codes.append(outcome.replies[ANN].code)
            assert await connection.reset()
        await connection.close()
    assert codes == [451, 550, 451, 250]
    assert (server.sessions, connection.carried, server.commands[-1]) == (1, 4, "QUIT")


@pytest.mark.parametrize("action", [DROP, FREEZE, reply(421, "idle"), reply(500, "what")])
async def test_connection_that_fails_its_reset_is_of_no_more_use(action: Action) -> None:
    """Whatever the server does at RSET but 250, the connection is given up."""
    async with SmtpServer({"rset": action}) as server:
        connection = await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=IMPATIENT)
        assert (await connection.reset(), connection.is_open) == (False, False)


async def test_process_stopped_before_the_dot_does_not_write_it() -> None:
    """A process that wakes up past its deadline has been taken for dead: it ends without the final dot."""
    async with SmtpServer({"body": Action(delay=0.1)}) as server:
        timeouts = Timeouts(command=5, data=5, block=5, dot=5, before_dot=0.3)
        sending = asyncio.create_task(send(server, LONG, timeouts))
        await server.wait_for_command("DATA")
        time.sleep(0.5)  # noqa: ASYNC251 - the whole process stands still, as under SIGSTOP
        outcome, _ = await sending
    assert outcome.ending is Ending.TROUBLE
    assert "." not in server.commands


async def test_process_stopped_before_mail_does_not_send() -> None:
    """A process that was stopped after it had announced the run, and wakes up too late, sends nothing either."""
    async with SmtpServer() as server:
        connection = await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=Timeouts())
        began = asyncio.get_running_loop().time() - Timeouts().before_dot
        outcome = await connection.send("from@example.com", [ANN], SHORT, since=began)
    assert outcome.ending is Ending.TROUBLE
    assert server.received == []


async def test_connection_that_died_during_the_message_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short message is written without a pause, and still a server that hung up meanwhile gets no final dot."""
    write = Transaction._write

    async def write_and_lose(transaction: Transaction, *rest: Any) -> None:
        await write(transaction, *rest)
        server.hang_up()

    monkeypatch.setattr(Transaction, "_write", write_and_lose)
    async with SmtpServer() as server:
        outcome, _ = await send(server)
    assert outcome.ending is Ending.TROUBLE


async def test_cancelled_transaction_disconnects() -> None:
    """Cancelling a transaction leaves no half-used connection behind."""
    async with SmtpServer({"dot": FREEZE}) as server:
        connection = await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=Timeouts())
        sending = asyncio.create_task(connection.send("from@example.com", [ANN], SHORT))
        await server.wait_for_command(".")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not connection.is_open


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"connect": DROP}, ""),
        ({"connect": FREEZE}, ""),
        ({"greeting": reply(421, "4.3.2 too busy")}, "421 4.3.2 too busy"),
        ({"greeting": reply(554, "5.7.1 go away")}, "554 5.7.1 go away"),
        ({"ehlo": DROP}, ""),
        ({"ehlo": reply(421, "bye")}, "421 bye"),
        ({"ehlo": reply(501, "bad name"), "helo": reply(501, "bad name")}, "501 bad name"),
    ],
)
async def test_relay_that_cannot_be_used(script: Script, words: str) -> None:
    """A relay that fails before it is ready is trouble, told in a sentence that names it and what it said."""
    async with SmtpServer(script) as server:
        with pytest.raises(RelayTrouble) as caught:
            await Connection.open(
                Target.parse(server.url()), ehlo="test", timeouts=IMPATIENT if FREEZE in script.values() else PATIENT
            )
    assert str(caught.value).startswith(f"127.0.0.1:{server.port}: ")
    assert words in str(caught.value)


async def test_nobody_listens() -> None:
    """A refused connection is trouble that says so."""
    async with SmtpServer() as server:
        pass
    with pytest.raises(RelayTrouble, match="Connection refused"):
        await Connection.open(Target.parse(server.url()), ehlo="test")


async def test_old_server_that_knows_only_helo() -> None:
    """EHLO refused: HELO does, and no extension is used."""
    async with SmtpServer({"ehlo": reply(502, "what")}) as server:
        outcome, _ = await send(server)
    assert outcome.ending is Ending.ANSWERED
    assert server.commands[1:3] == ["HELO test", "MAIL FROM:<from@example.com>"]


async def test_international_addresses() -> None:
    """A domain goes as A-labels anywhere; a local part only to a server with SMTPUTF8, and is refused for any other."""
    recipients = ["jörg@bücher.example", "joerg@bücher.example"]
    replies = []
    for extensions in (["SMTPUTF8", "8BITMIME"], ["8BITMIME"]):
        async with SmtpServer(extensions=extensions) as server:
            connection = await Connection.open(Target.parse(server.url()), ehlo="test", timeouts=PATIENT)
            outcome = await connection.send("from@example.com", recipients, SHORT)
            await connection.close()
        replies.append(([outcome.replies[one].code for one in recipients], server.commands[1], server.received))
    assert replies[0][:2] == ([250, 250], "MAIL FROM:<from@example.com> BODY=8BITMIME SMTPUTF8")
    assert replies[0][2][0].recipients == ("jörg@xn--bcher-kva.example", "joerg@xn--bcher-kva.example")
    assert replies[1][:2] == ([553, 250], "MAIL FROM:<from@example.com>")
