"""The API behind a real HTTP server in this process, for tests of what lives on connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from service.app import create_app, opened
from service.events.feed import Feed
from service.routes.state import AppState
from service.settings import Settings
from service.store.store import Store
from tests.integration.api import ignore
from zqueue import Queue


class Server(uvicorn.Server):
    """A server that leaves signals to the tests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not."""
        yield


@dataclass(frozen=True, slots=True)
class Serving:
    """A server, a client of it, and the things behind it."""

    http: httpx.AsyncClient
    state: AppState
    address: tuple[str, int]
    server: Server
    task: asyncio.Task[None]

    @property
    def store(self) -> Store:
        """Its store."""
        return self.state["store"]

    async def note(self, type_: str, **data: Any) -> int:
        """Write an event; its number."""
        await self.store.write(lambda it: it.note("key:test", type_, data))
        return self.store.seq

    async def stop(self) -> None:
        """End the server in good order, as its program does."""
        self.state["feed"].close()
        self.server.should_exit = True
        await self.task


@contextlib.asynccontextmanager
async def serving(data_dir: Path, queue: Queue, **feed: Any) -> AsyncIterator[Serving]:
    """The API over *data_dir* on a free port; the rest goes to its `Feed`."""
    settings = Settings(_env_file=None, data_dir=data_dir)
    async with opened(settings, queue=queue, on_dead=ignore) as state:
        state["feed"] = Feed(state["store"], **feed)
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(state), log_config=None, access_log=False, timeout_graceful_shutdown=20)
        server = Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        address = listening.getsockname()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{address[1]}", timeout=10) as http:
            running = Serving(http, state, address, server, task)
            yield running
        await running.stop()


@dataclass(frozen=True, slots=True)
class Message:
    """What a stream dispatched."""

    id: str
    event: str
    data: Any


class Stream:
    """Reads server-sent events as a browser would."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self.comments: list[str] = []
        self._lines = response.aiter_lines()

    async def next(self) -> Message:
        """The next message; StopAsyncIteration at the end of the stream."""
        event, data = "message", ""
        while True:
            line = await anext(self._lines)
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    return Message(self.last_id, event, json.loads(data))
                event = "message"
            elif not name:
                self.comments.append(value)
            elif name == "id":
                self.last_id = value
            elif name == "event":
                event = value
            elif name == "data":
                data += value

    async def rest(self) -> list[Message]:
        """All that comes until the stream ends."""
        messages = []
        with contextlib.suppress(StopAsyncIteration):
            while True:
                messages.append(await self.next())
        return messages


@contextlib.asynccontextmanager
async def listening(
    api: Serving, query: str = "", last_event_id: str | None = None, token: str | None = None
) -> AsyncIterator[Stream]:
    """A stream of events."""
    headers = {"Accept": "text/event-stream"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    async with api.http.stream("GET", f"/v1/events{query}", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)
