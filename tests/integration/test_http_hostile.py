"""Requests that no ordinary program makes: none of them is a fault of ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service.app import create_app
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
    server = uvicorn.Server(uvicorn.Config(create_app(api.state), log_config=None, access_log=False, lifespan="on"))
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
