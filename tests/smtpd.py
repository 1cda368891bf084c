"""A real SMTP server whose every reply can be scripted, for tests.

It speaks RFC 5321 over asyncio streams, accepts everything by default and records it. A script says what happens
instead, by step and by occurrence:

    script = {
        "dot": [reply(451, "4.3.0 later"), reply(451, "4.3.0 later")],   # twice, then the default
        "rcpt:bob@example.com": reply(550, "5.1.1 no such user"),        # one action: every time
        "mail": DROP,
    }

Steps: connect (before the greeting), greeting, ehlo, starttls, auth, mail, rcpt, data (the 354), body (its first bytes
were read), dot (the whole message was read), rset, noop, quit. `rcpt:ADDRESS` goes before `rcpt`.

Run it as a program for a witness that outlives its clients: ``python -m tests.smtpd --port 0 --log FILE`` prints its
port and writes one JSON line per message, with an fsync before each 250.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.smtp_session import (
    DROP,
    FREEZE,
    GARBAGE,
    STORE_AND_DROP,
    STORE_AND_FREEZE,
    Action,
    Envelope,
    Gone,
    Script,
    Session,
    reply,
)

__all__ = [
    "DROP",
    "FREEZE",
    "GARBAGE",
    "STORE_AND_DROP",
    "STORE_AND_FREEZE",
    "Action",
    "Received",
    "Script",
    "SmtpServer",
    "reply",
]


@dataclass(frozen=True, slots=True)
class Received:
    """One message the server took responsibility for (or kept by a `store` action).

    `data` is without dot-stuffing and without the final dot; `wire` is what came over the connection.
    """

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    wire: bytes
    options: tuple[str, ...]
    monotonic: float
    wall: float

    @property
    def message_id(self) -> str:
        """The Message-ID header, or an empty string."""
        return str(BytesHeaderParser().parsebytes(self.data).get("Message-ID", ""))


class SmtpServer:
    """A scripted server on the loopback; an asynchronous context manager.

    Attributes:
        received: The messages accepted so far, in order.
        commands: Every command line of every session, in order of arrival.
        sessions: Connections accepted so far.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        login: tuple[str, str] | None = None,
        extensions: Sequence[str] = ("8BITMIME", "SIZE 26214400", "SMTPUTF8"),
        log: Path | None = None,
    ) -> None:
        self._script: dict[str, Action | list[Action]] = {}
        self.rescript(script or {})
        self._port = port
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._login = login
        self._extensions = extensions
        self._log: IO[str] | None = log.open("a", encoding="utf-8") if log else None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()
        self.received: list[Received] = []
        self.commands: list[str] = []
        self.sessions = 0

    def rescript(self, script: Script) -> None:
        """Replace the script from here on."""
        self._script = {
            step: actions if isinstance(actions, Action) else list(actions) for step, actions in script.items()
        }

    @property
    def port(self) -> int:
        """The port it listens on, also after it stopped."""
        return self._port

    def url(self, query: str = "tls=none", user: str = "") -> str:
        """The SMTP URL of this server, as the service's settings take it."""
        return f"smtp://{user}127.0.0.1:{self._port}?{query}"

    async def __aenter__(self) -> SmtpServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._log:
            self._log.close()

    async def start(self) -> None:
        """Listen; after a `stop`, on the same port as before."""
        context = self._tls if self._implicit_tls else None
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, ssl=context, limit=2**16, backlog=1024
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more and end every session, as a crash of the server would."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """Shut every session's socket down at this very moment, and go on listening."""
        for writer in self._writers:
            with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as twin:
                twin.shutdown(socket.SHUT_RDWR)

    async def wait_for(self, messages: int, timeout: float = 20.0) -> list[Received]:
        """The messages received, once there are at least *messages*."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= messages)
        return self.received

    async def wait_for_command(self, prefix: str, count: int = 1, timeout: float = 20.0) -> None:
        """Return once *count* command lines that begin with *prefix* were read (``.`` stands for the final dot)."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: sum(c.startswith(prefix) for c in self.commands) >= count)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        task.add_done_callback(self._tasks.discard)
        self.sessions += 1
        session = Session(self, reader, writer)
        try:
            await session.run()
        except (Gone, ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # how sessions end: dropped by script, by the client, or by stop()
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def action(self, *steps: str) -> Action | None:
        """The next scripted action for the first of *steps* that has one left."""
        for step in steps:
            entry = self._script.get(step)
            if isinstance(entry, Action):
                return entry
            if entry:
                return entry.pop(0)
        return None

    async def note(self, command: str) -> None:
        """Record a command line."""
        async with self._changed:
            self.commands.append(command)
            self._changed.notify_all()

    async def store(self, envelope: Envelope, wire: bytes) -> None:
        """Record a message; with a log, durably."""
        data = wire[1:] if wire.startswith(b".") else wire
        data = data.replace(b"\r\n.", b"\r\n")
        message = Received(
            envelope.sender,
            tuple(envelope.recipients),
            data,
            wire,
            envelope.options,
            time.monotonic(),
            time.time(),
        )
        if self._log:
            line = {
                "message_id": message.message_id,
                "from": message.sender,
                "to": list(message.recipients),
                "monotonic": message.monotonic,
                "wall": message.wall,
            }
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()
            os.fsync(self._log.fileno())
        async with self._changed:
            self.received.append(message)
            self._changed.notify_all()

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context for STARTTLS, where it is offered."""
        return None if self._implicit_tls else self._tls

    @property
    def login(self) -> tuple[str, str] | None:
        """The only user name and password that AUTH takes."""
        return self._login

    @property
    def extensions(self) -> Sequence[str]:
        """EHLO keywords offered in every session."""
        return self._extensions


async def _main(port: int, log: Path) -> None:
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    async with SmtpServer(port=port, log=log) as server:
        print(server.port, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An SMTP sink that fsyncs each message before its 250.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(arguments.port, arguments.log))
