"""An open connection to a relay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import cast

import aiosmtplib

from service.email.record import Ending, Outcome
from service.mailer.smtp.opening import open_client
from service.mailer.smtp.timeouts import Timeouts
from service.mailer.smtp.transaction import Failed, Transaction
from service.mailer.smtp.trouble import Kind
from service.mailer.target import Target

_SLICE = 1024 * 1024  # octets looked at between two turns of the event loop


class Connection:
    """An open connection, ready for a transaction; make one with `open`.

    Attributes:
        carried: Transactions so far.
        trouble: Why the relay should be left alone for a while, in one sentence (421 or an authentication error
            within a transaction), and what kind of trouble that is; None while there is no reason.
    """

    def __init__(self, client: aiosmtplib.SMTP, timeouts: Timeouts) -> None:
        self._client = client
        self._timeouts = timeouts
        self.carried = 0
        self.trouble: tuple[str, Kind] | None = None
        transport = cast(asyncio.WriteTransport, client.transport)
        if transport.get_extra_info("sslcontext") is None:
            # Drained means written to the kernel. (TLS keeps at most its own buffers back, so that a failure there is
            # taken for unknown rather than for unsent: the safe side.)
            transport.set_write_buffer_limits(high=0)
        assert client.protocol is not None
        self._writer = asyncio.StreamWriter(transport, client.protocol, None, asyncio.get_running_loop())

    @classmethod
    async def open(cls, target: Target, *, ehlo: str | None = None, timeouts: Timeouts | None = None) -> Connection:
        """Connect, encrypt and log in as *target* says.

        Args:
            target: The relay.
            ehlo: The name given in EHLO; None for this machine's.
            timeouts: None for the standard's.

        Raises:
            RelayTrouble: Any of it failed; the message names the relay and holds no secret.
        """
        timeouts = timeouts or Timeouts()
        return cls(await open_client(target, ehlo, timeouts), timeouts)

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands, as far as this side knows."""
        return self._client.is_connected

    async def reset(self) -> bool:
        """Make ready for the next transaction (RSET); False if this connection is of no more use."""
        if not self.is_open:
            return False
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await self._client.rset(timeout=self._timeouts.reset)
            return True
        self.abort()
        return False

    async def close(self) -> None:
        """Say QUIT, wait briefly for the answer, and disconnect."""
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await self._client.quit(timeout=self._timeouts.quit)
        self.abort()

    def abort(self) -> None:
        """Disconnect at once, dropping what was not written yet."""
        transport = self._client.transport
        if transport is not None:
            cast(asyncio.WriteTransport, transport).abort()
        self._client.close()

    async def send(
        self, sender: str, recipients: Sequence[str], data: bytes, *, utf8: bool = False, since: float | None = None
    ) -> Outcome:
        """Carry one message to *recipients* in one transaction.

        Never raises for what the relay does. Cancelling it disconnects; whether the message was sent is then unknown,
        so callers shield it.

        Args:
            sender: Envelope sender, in wire form.
            recipients: Envelope recipients, at least one; the outcome names them as given here.
            data: The message: CRLF line ends only, the last line ended, not dot-stuffed.
            utf8: The header needs SMTPUTF8.
            since: When others saw this begin, by the event loop's clock: `Timeouts.before_dot` counts from there.
                None for now.

        Raises:
            ValueError: *data* has a bare CR or LF, or does not end with CRLF.
        """
        if not await _is_lines(data):
            raise ValueError("a message on the wire has CRLF line ends only, one of them last")
        self.carried += 1
        transaction = Transaction(self._client, self._writer, self._timeouts)
        try:
            return await transaction.run(sender, recipients, data, utf8, since)
        except Failed as failed:
            if failed.relay is not None:
                self.trouble = str(failed), failed.relay
            self.abort()
            return Outcome(Ending.TROUBLE, error=str(failed))
        except BaseException:
            self.abort()
            raise


async def _is_lines(data: bytes) -> bool:
    """Whether *data* ends with CRLF and has no other line ends: it has as many of CR and of LF as of both together."""
    bare = 0
    for start in range(0, len(data), _SLICE):
        end = start + _SLICE
        bare += data.count(b"\r", start, end) + data.count(b"\n", start, end) - 2 * data.count(b"\r\n", start, end + 1)
        if end < len(data):
            await asyncio.sleep(0)
    return data.endswith(b"\r\n") and bare == 0
