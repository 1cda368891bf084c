"""Fixtures for the tests of programs that use zqueue: a real server, a queue of each test's own, and its time.

    # conftest.py
    pytest_plugins = ["zqueue.pytest_plugin"]

    async def test_welcome(zqueue_queue, zqueue_clock):
        await zqueue_queue.enqueue({"to": "a@example.com"}, delay=timedelta(days=365))
        assert await run_until_idle(Worker(zqueue_queue, handler), zqueue_clock) == 1

It is not registered by itself, so that those who do not want it do not import it. ``zqueue_queue`` is an asynchronous
fixture, for pytest-asyncio or anyio.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from zqueue.embedded import Server
from zqueue.queue import Queue
from zqueue.testing import FakeClock

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # anyio takes care of any fixture
    async_fixture = pytest.fixture  # type: ignore[assignment]


@pytest.fixture(scope="session")
def zqueue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Valkey for the whole run, with its files in a temporary folder; its ``url`` is for any number of queues."""
    with Server(tmp_path_factory.mktemp("zqueue")) as server:
        yield server


@pytest.fixture
def zqueue_clock() -> FakeClock:
    """The time of `zqueue_queue`: it stands still until the test moves it."""
    return FakeClock()


@async_fixture
async def zqueue_queue(zqueue_server: Server, zqueue_clock: FakeClock) -> AsyncIterator[Queue]:
    """An empty queue that no other test uses, whose jobs keep their results for a day."""
    async with Queue(f"test-{secrets.token_hex(6)}", zqueue_server.url, keep_done=86_400, clock=zqueue_clock) as queue:
        yield queue
