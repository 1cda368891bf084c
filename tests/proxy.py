"""A proxy between a client and its server that fails as it is told: by the k-th request, or by a seed.

A *request* is what a client wrote at once: one command or a pipeline of several. The proxy knows the scripts, so that a
plan can say "the second claim": `Request.names` holds ``claim`` where the wire says ``EVALSHA 3f..``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self

import hiredis

from zqueue.commands import SCRIPTS
from zqueue.embedded import Server

_NAMES: Final = {script.sha: name for name, script in SCRIPTS.items()}


class Fault(Enum):
    """What becomes of a request."""

    CUT_REQUEST = "the connection breaks before the server sees it"
    CUT_REPLY = "the server runs it and answers, and the connection breaks before the client hears"
    BLACKHOLE = "it vanishes, the connection stays open, and nobody ever answers"


@dataclass(frozen=True)
class Request:
    """What a client wrote at once.

    Attributes:
        names: The script, or the command, of each of its commands.
        commands: They themselves.
    """

    names: tuple[str, ...]
    commands: tuple[tuple[bytes, ...], ...]


Plan = Callable[[Request], Fault | float | None]
"""Decides the fault of a request; a number delays it by so many seconds, None lets it pass."""


def nothing(_request: Request) -> None:
    """The plan of a healthy network."""


def at(name: str, turns: Sequence[int], fault: Fault | float) -> Plan:
    """*fault* for the requests with these turns, counted from 1, among those that hold the script or command *name*."""
    seen = 0

    def plan(request: Request) -> Fault | float | None:
        nonlocal seen
        if name not in request.names:
            return None
        seen += 1
        return fault if seen in turns else None

    return plan


def seeded(seed: int, share: float, faults: Sequence[Fault | float], names: frozenset[str]) -> Plan:
    """One of *faults*, for a *share* of the requests that hold one of *names*; the same for the same seed."""
    rng = random.Random(seed)

    def plan(request: Request) -> Fault | float | None:
        if names.isdisjoint(request.names) or rng.random() >= share:
            return None
        return rng.choice(faults)

    return plan


@dataclass
class Proxy:
    """A TCP port in front of a server's Unix socket.

    Attributes:
        plan: What to do with each request; may be changed at any time.
        requests: All there were, with what became of them.
    """

    server: Server
    plan: Plan = nothing
    requests: list[tuple[Request, Fault | float | None]] = field(default_factory=list)
    _listener: asyncio.Server | None = None
    _socket: str = ""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._socket = str(self.server.socket)
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        await self.cut_all()
        await self._listener.wait_closed()

    @property
    def url(self) -> str:
        """What to give to a Queue."""
        assert self._listener is not None
        return f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def seen(self, name: str) -> Iterator[tuple[bytes, ...]]:
        """Every command of this name that reached the proxy."""
        for request, _fault in self.requests:
            for each, command in zip(request.names, request.commands, strict=True):
                if each == name:
                    yield command

    @property
    def faults(self) -> int:
        """How many requests were hit."""
        return sum(fault is not None for _request, fault in self.requests)

    async def cut_all(self) -> None:
        """Break every connection; new ones are taken."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.CancelledError, OSError):
            return  # a connection of either side broke, as was the plan
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return
        incoming = asyncio.create_task(reader.read(1 << 16))
        try:
            parser, raw = _parser(), b""
            while data := await incoming:
                incoming = asyncio.create_task(reader.read(1 << 16))
                raw += data
                parser.feed(data)
                commands = tuple(_each(parser))
                if not commands:
                    continue
                request = Request(tuple(map(_name, commands)), commands)
                fault = self.plan(request)
                self.requests.append((request, fault))
                if fault is Fault.BLACKHOLE:
                    await incoming  # ends when the client gives up
                if isinstance(fault, float):
                    await asyncio.sleep(fault)
                if fault in (Fault.CUT_REQUEST, Fault.BLACKHOLE):
                    return
                server.write(raw)
                raw = b""
                reply = asyncio.create_task(_replies(answers, len(commands)))
                await asyncio.wait({reply, incoming}, return_when=asyncio.FIRST_COMPLETED)
                if not reply.done() and not incoming.result():
                    reply.cancel()
                    return
                said = await reply
                if not said or fault is Fault.CUT_REPLY:
                    return
                writer.write(said)
                await writer.drain()
        finally:
            server.transport.abort()
            incoming.cancel()
            await asyncio.wait({incoming})


def _parser() -> hiredis.Reader:
    return hiredis.Reader(notEnoughData=_MORE)


_MORE: Final = object()


def _each(parser: hiredis.Reader) -> Iterator[Any]:
    while (parsed := parser.gets()) is not _MORE:
        yield parsed if not isinstance(parsed, list) else tuple(parsed)


def _name(command: tuple[bytes, ...]) -> str:
    if command[0] == b"EVALSHA":
        return _NAMES[command[1]]
    return command[0].decode()


async def _replies(answers: asyncio.StreamReader, count: int) -> bytes:
    """The bytes of the next *count* replies; nothing if the server ends the connection first."""
    parser, raw = _parser(), b""
    while count:
        data = await answers.read(1 << 16)
        if not data:
            return b""
        raw += data
        parser.feed(data)
        count -= sum(1 for _ in _each(parser))
    return raw
