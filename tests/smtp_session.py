"""One connection to the scripted SMTP server: the commands of RFC 5321, unless the script says otherwise."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Action:
    """What a scripted step does: answer `code` `text`, and go on as `then` says.

    Attributes:
        code: Reply code; 0 sends no reply.
        then: ``continue``, ``drop`` (abort the connection) or ``freeze`` (say and read nothing until the server stops).
        store: At the dot only: record the message although no 250 is sent.
        delay: Seconds before the reply.
        drip: Seconds before each byte of the reply.
        raw: Sent as it is, instead of a reply.
    """

    code: int = 0
    text: str = ""
    then: str = "continue"
    store: bool = False
    delay: float = 0.0
    drip: float = 0.0
    raw: bytes = b""


def reply(code: int, text: str, *, then: str = "continue", delay: float = 0.0) -> Action:
    """Answer with *code* and *text*; lines of *text* become a multi-line reply."""
    return Action(code, text, "drop" if code == 421 and then == "continue" else then, delay=delay)


DROP = Action(then="drop")
FREEZE = Action(then="freeze")
GARBAGE = Action(raw=b"\x00\xff what is this\r\n")
STORE_AND_DROP = Action(then="drop", store=True)
STORE_AND_FREEZE = Action(then="freeze", store=True)

Script = Mapping[str, Action | Sequence[Action]]


class Gone(Exception):
    """This session is over."""


@dataclass(slots=True)
class Envelope:
    """What MAIL and RCPT said so far."""

    sender: str = ""
    options: tuple[str, ...] = ()
    recipients: list[str] = field(default_factory=list)


class Host(Protocol):
    """What a session needs of its server."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context for STARTTLS, where it is offered."""

    @property
    def login(self) -> tuple[str, str] | None:
        """The only user name and password that AUTH takes."""

    @property
    def extensions(self) -> Sequence[str]:
        """EHLO keywords offered in every session."""

    def action(self, *steps: str) -> Action | None:
        """The next scripted action for the first of *steps* that has one left."""

    async def note(self, command: str) -> None:
        """Record a command line."""

    async def store(self, envelope: Envelope, wire: bytes) -> None:
        """Record a message; with a log, durably."""


class Session:
    """One connection."""

    def __init__(self, server: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.envelope = Envelope()
        self.secure = False

    async def run(self) -> None:
        """Greet and obey until the session is over, which ends in `Gone` or an error of the connection."""
        await self._perform(self.server.action("connect"))
        await self._answer(220, "test ESMTP", "greeting")
        while True:
            line = (await self.reader.readuntil(b"\r\n")).decode("utf-8").rstrip("\r\n")
            await self.server.note(line)
            verb, _, rest = line.partition(" ")
            handler = getattr(self, f"_on_{verb.lower()}", None)
            if handler is None:
                await self._send(500, "5.5.2 what?")
            else:
                await handler(rest)

    async def _send(self, code: int, text: str, drip: float = 0.0) -> None:
        lines = text.split("\n")
        for line in lines[:-1]:
            self.writer.write(f"{code}-{line}\r\n".encode())
        last = f"{code} {lines[-1]}\r\n".encode()
        for byte in last if drip else b"":
            await asyncio.sleep(drip)
            self.writer.write(bytes([byte]))
            await self.writer.drain()
        self.writer.write(b"" if drip else last)
        await self.writer.drain()

    async def _perform(self, action: Action | None) -> bool:
        """Do a scripted action; False when there is none."""
        if action is None:
            return False
        if action.delay:
            await asyncio.sleep(action.delay)
        if action.code:
            await self._send(action.code, action.text, action.drip)
        if action.raw:
            self.writer.write(action.raw)
            await self.writer.drain()
        if action.then == "freeze":
            await asyncio.Event().wait()
        if action.then == "drop":
            if action.code:  # what was said must arrive: close in order
                self.writer.close()
                await self.writer.wait_closed()
            raise Gone
        return True

    async def _answer(self, code: int, text: str, *steps: str) -> bool:
        """The scripted reply of the step, else *code* and *text*; True if the step went through (2xx, 3xx)."""
        action = self.server.action(*steps)
        if action is None:
            await self._send(code, text)
            return code < 400
        await self._perform(action)
        return action.code < 400

    async def _on_ehlo(self, _rest: str) -> None:
        offered = list(self.server.extensions)
        if self.server.tls and not self.secure:
            offered.append("STARTTLS")
        if self.server.login:
            offered.append("AUTH PLAIN LOGIN")
        await self._answer(250, "\n".join(["test", *offered]), "ehlo")

    async def _on_helo(self, _rest: str) -> None:
        await self._answer(250, "test", "helo")

    async def _on_starttls(self, _rest: str) -> None:
        assert self.server.tls is not None
        if await self._answer(220, "go ahead", "starttls"):
            await self.writer.start_tls(self.server.tls)
            self.secure = True

    async def _on_auth(self, rest: str) -> None:
        method, _, initial = rest.partition(" ")
        if method.upper() == "LOGIN":
            user = base64.b64decode(initial).decode()
            await self._send(334, "UGFzc3dvcmQ6")
            password = base64.b64decode(await self.reader.readuntil(b"\r\n")).decode()
        else:
            _, user, password = base64.b64decode(initial).decode().split("\0")
        if (user, password) == self.server.login:
            await self._answer(235, "2.7.0 welcome", "auth")
        else:
            await self._answer(535, f"5.7.8 bad credentials {initial}", "auth")

    async def _on_mail(self, rest: str) -> None:
        path, _, options = rest.removeprefix("FROM:").partition(" ")
        if await self._answer(250, "2.1.0 ok", "mail"):
            self.envelope = Envelope(path.strip("<>"), tuple(options.split()))

    async def _on_rcpt(self, rest: str) -> None:
        address = rest.removeprefix("TO:").partition(" ")[0].strip("<>")
        if await self._answer(250, "2.1.5 ok", f"rcpt:{address}", "rcpt"):
            self.envelope.recipients.append(address)

    async def _on_data(self, _rest: str) -> None:
        if not self.envelope.recipients:
            await self._send(554, "5.5.1 no valid recipients")
            return
        if not await self._answer(354, "go ahead", "data"):
            return
        action = self.server.action("body")
        if action is not None:
            await self.reader.read(1000)
            await self._perform(action)
        wire = await self._body()
        await self.server.note(".")
        action = self.server.action("dot")
        if action is None or action.store or 200 <= action.code < 300:
            await self.server.store(self.envelope, wire)
        self.envelope = Envelope()
        if not await self._perform(action):
            await self._send(250, "2.0.0 queued")

    async def _body(self) -> bytes:
        lines = bytearray()
        while (line := await self._line()) != b".\r\n" or not (lines.endswith(b"\r\n") or not lines):
            lines += line
        return bytes(lines)

    async def _line(self) -> bytes:
        try:
            return await self.reader.readuntil(b"\r\n")
        except asyncio.LimitOverrunError as overrun:
            return await self.reader.readexactly(overrun.consumed)

    async def _on_rset(self, _rest: str) -> None:
        self.envelope = Envelope()
        await self._answer(250, "2.0.0 ok", "rset")

    async def _on_noop(self, _rest: str) -> None:
        await self._answer(250, "2.0.0 ok", "noop")

    async def _on_quit(self, _rest: str) -> None:
        await self._answer(221, "2.0.0 bye", "quit")
        raise Gone
