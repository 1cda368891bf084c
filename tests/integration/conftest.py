"""Fixtures of the tests against servers."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

import zqueue
from tests.conftest import SERVERS, server_binary, unique_name
from tests.integration.script_bench import Bench
from tests.integration.working import checked_queue
from zqueue.embedded import Server


@pytest.fixture
async def bench(any_server: Server) -> AsyncIterator[Bench]:
    """A queue on each kind of server, driven by its scripts; held to its invariants when the test ends."""
    fresh = Bench(unique_name(), any_server.url)
    yield fresh
    await fresh.close()


@pytest.fixture
async def rated(bench: Bench) -> Bench:
    """A bench whose group `g` may start ten jobs a second, one at a time; no token."""
    await bench.limit("g", rate=10)
    await bench.tokens()
    return bench


@pytest.fixture
async def capped(bench: Bench) -> Bench:
    """A bench with jobs a to e of group `g`, of which two may run at a time, and do; no token."""
    await bench.limit("g", most=2)
    await bench.put(*"abcde", group="g")
    assert await bench.claim_ids() == ["a", "b"]
    await bench.tokens()
    return bench


@pytest.fixture
async def any_queue(any_server: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue of the test's own on each kind of server; its keys are checked when the test ends."""
    async with checked_queue(any_server.url) as fresh:
        yield fresh


@pytest.fixture(params=SERVERS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn."""
    return str(request.param)


StartServer = Callable[..., Server]
"""`start_server("--requirepass", "x", kind="valkey")`: a server of the test's own, with options, stopped after it."""


@pytest.fixture
def start_server(short_folder: Path) -> Iterator[StartServer]:
    """Starts servers that a test may break: with options of their own, and stopped when it ends."""
    with contextlib.ExitStack() as running:

        def start(*options: str, kind: str = "valkey", folder: str = "server") -> Server:
            script = short_folder / f"{folder}.sh"
            words = [shlex.quote(each) for each in options]
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(server_binary(kind))} "$@" {" ".join(words)}\n')
            script.chmod(0o700)
            return running.enter_context(Server(short_folder / folder, binary=str(script)))

        yield start
