"""An HTTP server that takes webhooks, and answers as a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from standardwebhooks import Webhook

from tests.conftest import wait_until

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    """A whole answer."""
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers])
    return f"{head}\r\n\r\n".encode() + body


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """Its JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verified(self, secret: str) -> dict[str, Any]:
        """What the library of Standard Webhooks reads, once it has checked signature and time."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


class Receiver:
    """A server on a free port of the loopback interface.

    Attributes:
        requests: Those that came, in order.
        answers: What the next ones get; then `OK`. None holds one up until the server ends.
        connections: How many were opened.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answers: list[bytes | None] = []
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def url(self, path: str = "/hooks") -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def seqs(self) -> list[int]:
        """The events that were told, in the order they came."""
        return [request.message["data"]["seq"] for request in self.requests]

    async def wait_for(self, count: int) -> list[Received]:
        """The first requests, once there are *count*."""
        await wait_until(lambda: len(self.requests) >= count, what=f"{count} webhooks, not {len(self.requests)}")
        return self.requests[:count]

    async def say(self, rest: bytes) -> None:
        """Send the rest of an answer that was begun, on every connection."""
        for writer in self._writers:
            writer.write(rest)
            await writer.drain()

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)

    async def stop(self) -> None:
        """End, and all that is connected."""
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0)  # transports are closed by the loop

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.rstrip().split("\r\n")
                headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append(Received(first.split()[1], headers, body))
                said = self.answers.pop(0) if self.answers else OK
                if said is None:
                    await asyncio.Event().wait()
                else:
                    writer.write(said)
                    await writer.drain()


@contextlib.asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A running receiver."""
    receiver = Receiver()
    await receiver.start(tls)
    try:
        yield receiver
    finally:
        await receiver.stop()
