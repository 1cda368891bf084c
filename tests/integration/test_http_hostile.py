"""Requests that no ordinary program makes: none of them is a fault of ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service import heads
from service.app import create_app
from service.heads import MOST, BoundedHeads
from service.listening import for_api
from service.store import listing
from tests.conftest import wait_until
from tests.integration.api import Api, problem, running
from zqueue import Queue


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue, port=0) as api:
        yield api


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "http://localhost:1", "http://x@localhost", ""])
async def test_an_odd_origin_is_a_strange_one(api: Api, origin: str) -> None:
    """Whatever `Origin` is not this very address is refused, though it be no URL at all."""
    response = await api.http.get("/v1/emails", headers={"origin": origin})
    assert problem(response) == (403, "cross_origin")


@contextlib.asynccontextmanager
async def served(api: Api) -> AsyncIterator[int]:
    """The API on a port of its own."""
    listening = for_api(api.state["settings"])
    server = uvicorn.Server(
        uvicorn.Config(create_app(api.state), http=BoundedHeads, log_config=None, access_log=False, lifespan="on")
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await wait_until(lambda: server.started)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def test_a_client_that_leaves_in_the_midst_of_its_body(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """One line tells of it, and no traceback."""
    caplog.set_level(logging.INFO)
    async with served(api) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/emails HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(b'Content-Length: 100\r\n\r\n{"from"')
        await writer.drain()
        writer.close()
        await wait_until(lambda: any(record.message == "request" for record in caplog.records))
    assert [record.levelname for record in caplog.records if record.exc_info or record.levelno > logging.INFO] == []


async def answer(port: int, *parts: bytes) -> bytes:
    """What a connection that sends *parts* gets before it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_the_head_of_a_request_has_a_bound(api: Api) -> None:
    """Many fields, one without an end, and fields after the body: the connection ends before they fill the memory."""
    start = b"POST /v1/emails HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    field = b"X-A: " + b"a" * 1_000 + b"\r\n"
    enough = 3 * MOST // len(field)
    refused = (b"HTTP/1.1 400", b"")  # who is still writing may miss the answer
    async with served(api) as port:
        async with asyncio.timeout(20):
            assert (await answer(port, start, *[field] * enough))[:12] in refused
            assert (await answer(port, start, b"X-A: ", *[b"a" * 1_000] * enough))[:12] in refused
            chunked = start + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
            assert (await answer(port, chunked, *[field] * enough))[:12] in refused
            body = b'{"text": "' + b"a" * 10 * MOST + b'"}'
            head = start + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            assert b" 422 " in await answer(port, head + body)


async def test_a_client_that_stops_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing, sends its head byte by byte, or stops in its body is cut off; one that goes on is not."""
    monkeypatch.setattr(heads, "PATIENCE_S", 0.3)
    start = b"POST /v1/emails HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = start + b"Connection: close\r\nContent-Length: 12\r\n\r\n"
    async with served(api) as port, asyncio.timeout(20):
        for sent in (b"", start, body, body + b"{"):
            assert await answer(port, sent) == b""
        health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert (await answer(port, health, b"\r\n")).startswith(b"HTTP/1.1 200")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for one in start + b"X-A: " + b"a" * 10_000:
                writer.write(bytes([one]))
                await asyncio.sleep(0.05)
                if reader.at_eof():
                    break
        assert time.monotonic() - began < 15
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(body)
        for one in b'{"text": 12}':
            await asyncio.sleep(0.05)
            writer.write(bytes([one]))
        assert b" 422 " in await reader.read()
        writer.close()


async def test_a_long_search_keeps_nobody_waiting(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a list is being searched for, e-mails are read and accepted."""
    await api.accept(subject="first")
    answered, choose = threading.Event(), listing.choose

    def slow(*arguments: Any) -> Any:
        assert answered.wait(5)
        return choose(*arguments)

    monkeypatch.setattr(listing, "choose", slow)
    searching = asyncio.create_task(api.http.get("/v1/emails?q=first"))
    await asyncio.sleep(0)
    second = await api.accept(subject="second")
    assert (await api.http.get(f"/v1/emails/{second['id']}")).status_code == 200
    answered.set()
    found = (await searching).json()["data"]
    assert [email["subject"] for email in found] == ["first"]
