"""The witness: an SMTP server that makes each message durable before its 250, and can be stopped right there.

    python -m tests.chaos.sink LOG REFUSE_EVERY

It prints ``port N``, and ``stored MESSAGE-ID`` after each fsync. It is told, a line each, on its standard input, whose
end ends it:

    hold read K      stop the session of the K-th message from now, read to its dot and not stored: prints ``held``
    hold stored K    the same between the fsync and the 250
    go               let the held session go on
    drop             end it without a word

Every REFUSE_EVERY-th message (0: none) is refused with 451 and not stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import sys
from contextvars import ContextVar
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from tests.smtpd import Action, SmtpServer, reply

_session: ContextVar[tuple[int, str] | None] = ContextVar("session", default=None)
"""Number and EHLO name of the session whose task this is."""


class Sink(SmtpServer):
    """A server with a log of its own, which tells the sessions apart."""

    def __init__(self, log: Path, refuse_every: int) -> None:
        super().__init__()
        self._records = log.open("a", encoding="utf-8")
        self._refuse_every = refuse_every
        self._numbers = itertools.count(1)
        self._dots = 0
        self._hold: str | None = None
        self._left = 0
        self._told: asyncio.Future[str] | None = None

    def tell(self, words: list[str]) -> None:
        """Do as the harness says."""
        if words[0] == "hold":
            self._hold, self._left = words[1], int(words[2])
        elif self._told is not None:
            self._told.set_result(words[0])
            self._told = None

    def action(self, *steps: str) -> Action | None:
        """Refuse some messages at their dot."""
        if "dot" in steps:
            self._dots += 1
            if self._refuse_every and self._dots % self._refuse_every == 0:
                return reply(451, "4.3.0 later")
        return super().action(*steps)

    async def note(self, command: str) -> None:
        """Know a session by its greeting."""
        if command.startswith("EHLO ") and _session.get() is None:
            _session.set((next(self._numbers), command.removeprefix("EHLO ")))
        await super().note(command)

    async def store(self, envelope: Any, wire: bytes) -> None:
        """Make a message durable, holding it where that was asked for."""
        session = _session.get()
        assert session is not None
        held = self._is_held()
        if held == "read" and await self._held() == "drop":
            raise ConnectionAbortedError
        message_id = str(BytesHeaderParser().parsebytes(wire)["Message-ID"])
        line = {
            "message_id": message_id,
            "session": session[0],
            "client": session[1],
            "digest": hashlib.sha256(wire).hexdigest(),
        }
        self._records.write(json.dumps(line) + "\n")
        self._records.flush()
        os.fsync(self._records.fileno())
        print("stored", message_id, flush=True)
        if held == "stored" and await self._held() == "drop":
            raise ConnectionAbortedError

    def _is_held(self) -> str | None:
        self._left -= 1
        return self._hold if self._left == 0 else None

    async def _held(self) -> str:
        self._told = asyncio.get_running_loop().create_future()
        print("held", flush=True)
        return await self._told


async def main(log: Path, refuse_every: int) -> None:
    """Serve until standard input ends."""
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    sink = Sink(log, refuse_every)
    async with sink:
        print("port", sink.port, flush=True)
        async for line in told:
            sink.tell(line.decode().split())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
