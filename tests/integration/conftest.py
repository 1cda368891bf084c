"""Fixtures of the tests against servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import zqueue
from tests.conftest import unique_name
from tests.integration.script_bench import Bench
from tests.queue_state import faults
from zqueue.connect import Link
from zqueue.embedded import Server


@pytest.fixture
async def bench(any_server: Server) -> AsyncIterator[Bench]:
    """A queue on each kind of server, driven by its scripts; held to its invariants when the test ends."""
    fresh = Bench(unique_name(), any_server.url)
    yield fresh
    await fresh.close()


@pytest.fixture
async def any_queue(any_server: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue of the test's own on each kind of server; its keys are checked when the test ends."""
    async with zqueue.Queue(unique_name(), any_server.url) as fresh:
        yield fresh
        link = Link(fresh.address)
        try:
            assert await faults(link, fresh.commands.keys) == []
        finally:
            await link.close()
