"""One transaction: MAIL, RCPT, DATA, the message, the final dot.

The one thing that matters here is to know afterwards whether the message can have been delivered. So the final dot is a
write of its own, after the body has left this process: any failure before it means that nothing was sent, only a
failure after it leaves the outcome unknown. The client library's own ``sendmail`` raises the same error for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import aiosmtplib

from service.email.record import Ending, Outcome, Reply, Stage
from service.mailer import addresses
from service.mailer.smtp.timeouts import Timeouts
from service.mailer.smtp.trouble import Kind
from service.mailer.smtp.wording import sentence, to_reply

_BLOCK = 64 * 1024
_LOOKS = 4  # rounds of the loop: poll the socket, run what it reports, then the tasks that await it; one to spare
_AUTH_CODES = frozenset({530, 534, 535, 538})  # RFC 4954, section 6

_T = TypeVar("_T")


class Failed(Exception):
    """The relay has not taken the message, and gave no answer about it.

    `relay` is what is wrong with the relay, if any other message would fail now too.
    """

    def __init__(self, message: str, *, relay: Kind | None = None) -> None:
        super().__init__(message)
        self.relay = relay


class Transaction:
    """MAIL to the reply after the final dot."""

    def __init__(self, client: aiosmtplib.SMTP, writer: asyncio.StreamWriter, timeouts: Timeouts) -> None:
        self._client = client
        self._writer = writer
        self._timeouts = timeouts
        self._replies: dict[str, Reply] = {}

    async def run(
        self, sender: str, recipients: Sequence[str], data: bytes, utf8: bool, since: float | None
    ) -> Outcome:
        """Carry *data*; see `Connection.send`.

        Raises:
            Failed: Before the final dot, or by a 421 after it: the relay has not taken the message.
        """
        now = asyncio.get_running_loop().time
        deadline = (now() if since is None else since) + self._timeouts.before_dot
        listening: asyncio.Future[aiosmtplib.SMTPResponse] | None = None
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    taken = await self._envelope(sender, recipients, len(data), utf8=utf8, eight_bit=not data.isascii())
                    if not taken or not await self._announce(taken):
                        return Outcome(Ending.ANSWERED, self._replies)
                    # Whatever is said while the body is written is said against it, or is the end of the connection.
                    listening = asyncio.ensure_future(self._protocol.read_response())
                    await self._write(data, listening)
                    for _ in range(_LOOKS):
                        await asyncio.sleep(0)
            except TimeoutError as error:
                raise Failed(f"the message was not taken within {self._timeouts.before_dot:g} s") from error
            # A process frozen past the deadline is taken for dead, and another may be sending this message already.
            if now() > deadline:
                raise Failed("this process was stopped in the middle of the message")
            if listening.done():
                return self._early(taken, listening)
            return await self._finish(taken, listening)
        finally:
            if listening is not None:
                await _forget(listening)

    @property
    def _protocol(self) -> aiosmtplib.protocol.SMTPProtocol:
        if self._client.protocol is None:
            raise Failed("the relay closed the connection")
        return self._client.protocol

    async def _envelope(
        self, sender: str, recipients: Sequence[str], size: int, *, utf8: bool, eight_bit: bool
    ) -> list[str]:
        """MAIL and each RCPT; the recipients taken. Refusals go into the replies."""
        wires = self._routable(sender, recipients, utf8)
        cannot = self._cannot_carry(size, eight_bit=eight_bit and not utf8)  # SMTPUTF8 is 8-bit clean by itself
        if cannot is not None:
            self._replies |= dict.fromkeys(wires, cannot)
        if cannot is not None or not wires:
            return []
        international = utf8 or any(map(addresses.needs_smtputf8, [sender, *wires.values()]))
        options = [b"SIZE=%d" % size] if self._client.supports_extension("size") else []
        options += [b"BODY=8BITMIME"] if eight_bit or international else []
        options += [b"SMTPUTF8"] if international else []
        reply = await self._command(Stage.MAIL, b"MAIL", f"FROM:<{sender}>".encode(), *options)
        if reply.code >= 400:
            self._replies |= dict.fromkeys(wires, reply)
            return []
        taken = []
        for recipient, wire in wires.items():
            reply = await self._command(Stage.RCPT, b"RCPT", f"TO:<{wire}>".encode())
            if reply.code >= 400:
                self._replies[recipient] = reply
            else:
                taken.append(recipient)
        return taken

    def _routable(self, sender: str, recipients: Sequence[str], utf8: bool) -> dict[str, str]:
        """Recipient -> wire form; those this relay can carry no message to are answered for it (RFC 6531, 3.5)."""
        carries = self._client.supports_extension("smtputf8")
        refused = Reply(553, "5.6.7 the relay does not offer SMTPUTF8, which this address needs", Stage.RCPT)
        wires = {}
        for recipient in recipients:
            try:
                wire = addresses.to_wire(recipient)
            except ValueError as error:
                self._replies[recipient] = Reply(553, f"5.1.3 {error}", Stage.RCPT)
                continue
            if not carries and (utf8 or addresses.needs_smtputf8(sender) or addresses.needs_smtputf8(wire)):
                self._replies[recipient] = refused
            else:
                wires[recipient] = wire
        return wires

    def _cannot_carry(self, size: int, *, eight_bit: bool) -> Reply | None:
        """The relay's answer, where what it announced leaves no doubt (RFC 1870, section 6; RFC 6152, section 3)."""
        most = self._client.esmtp_extensions.get("size", "").strip()[:18]
        if most.isascii() and most.isdigit() and 0 < int(most) < size:
            return Reply(552, f"5.3.4 the message has {size} bytes, the relay takes {int(most)} at most", Stage.MAIL)
        if eight_bit and not self._client.supports_extension("8bitmime"):
            return Reply(554, "5.6.3 the relay does not offer 8BITMIME, which this message needs", Stage.MAIL)
        return None

    async def _announce(self, taken: list[str]) -> bool:
        """DATA; False if it was refused."""
        reply = await self._command(Stage.DATA, b"DATA", timeout=self._timeouts.data, positive=3)
        if reply.code >= 400:
            self._replies |= dict.fromkeys(taken, reply)
        return reply.code < 400

    async def _write(self, data: bytes, listening: asyncio.Future[aiosmtplib.SMTPResponse]) -> None:
        """The body, dot-stuffed (RFC 5321, section 4.5.2), until all of it left or the relay spoke."""
        for start in range(0, len(data), _BLOCK):
            if listening.done():
                return
            block = data[start : start + _BLOCK].replace(b"\n.", b"\n..")  # here every LF ends a line
            if block.startswith(b".") and data[start - 1 : start] in (b"", b"\n"):
                block = b"." + block
            self._write_now(block)
            if self._writer.transport.get_write_buffer_size():
                await self._drained(listening)

    async def _drained(self, listening: asyncio.Future[aiosmtplib.SMTPResponse]) -> None:
        drain = asyncio.ensure_future(self._writer.drain())
        try:
            either: set[asyncio.Future[Any]] = {drain, listening}
            done, _ = await asyncio.wait(either, timeout=self._timeouts.block, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise Failed(f"the relay took none of the message for {self._timeouts.block:g} s")
        finally:
            await _forget(drain)

    def _write_now(self, data: bytes) -> None:
        try:
            self._protocol.write(data)
        except aiosmtplib.SMTPException as error:
            raise Failed(sentence(error)) from error

    def _early(self, taken: list[str], listening: asyncio.Future[aiosmtplib.SMTPResponse]) -> Outcome:
        """The relay answered, or left, without waiting for the final dot: nothing was sent."""
        try:
            reply = to_reply(listening.result(), Stage.DATA)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Failed(f"in the middle of the message: {sentence(error)}") from error
        if not 400 <= reply.code <= 599 or reply.code == 421:
            raise Failed(f"the relay said {reply} in the middle of the message", relay=_trouble(reply.code))
        self._writer.transport.abort()
        return Outcome(Ending.ANSWERED, self._replies | dict.fromkeys(taken, reply))

    async def _finish(self, taken: list[str], listening: asyncio.Future[aiosmtplib.SMTPResponse]) -> Outcome:
        """The final dot, alone, and the reply to it."""
        self._write_now(b".\r\n")
        try:
            reply = to_reply(await asyncio.wait_for(listening, self._timeouts.dot), Stage.DATA)
        except (aiosmtplib.SMTPException, OSError) as error:  # TimeoutError is an OSError
            self._writer.transport.abort()
            said = "no answer in time" if isinstance(error, TimeoutError) else sentence(error)
            return Outcome(Ending.UNKNOWN, self._replies, f"after the whole message was sent: {said}")
        if reply.code == 421:
            raise Failed(f"the relay said {reply}", relay=Kind.BUSY)
        if not (200 <= reply.code <= 299 or 400 <= reply.code <= 599):
            self._writer.transport.abort()
            return Outcome(Ending.UNKNOWN, self._replies, f"after the whole message was sent: {reply}")
        return Outcome(Ending.ANSWERED, self._replies | dict.fromkeys(taken, reply))

    async def _command(self, stage: Stage, *words: bytes, timeout: float | None = None, positive: int = 2) -> Reply:
        """One command and its reply: of the *positive* hundred, or a refusal.

        Raises:
            Failed: There was none, or it is no answer about this message: 421, authentication, or nonsense.
        """
        try:
            response = await self._client.execute_command(*words, timeout=timeout or self._timeouts.command)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Failed(f"at {words[0].decode()}: {sentence(error)}") from error
        reply = to_reply(response, stage)
        relay = _trouble(reply.code)
        if relay or (reply.code // 100 != positive and not 400 <= reply.code <= 599):
            raise Failed(f"the relay said {reply} to {words[0].decode()}", relay=relay)
        return reply


def _trouble(code: int) -> Kind | None:
    """What an answer says about the relay itself."""
    if code in _AUTH_CODES:
        return Kind.LOGIN
    return Kind.BUSY if code == 421 else None


async def _forget(future: asyncio.Future[_T]) -> None:
    """Cancel *future* if it still runs, and look at its error so that nobody is told of it later."""
    future.cancel()
    await asyncio.wait({future})
    if not future.cancelled():
        future.exception()
