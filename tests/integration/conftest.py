"""Fixtures of the tests against servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import unique_name
from tests.integration.script_bench import Bench
from zqueue.embedded import Server


@pytest.fixture
async def bench(any_server: Server) -> AsyncIterator[Bench]:
    """A queue on each kind of server, driven by its scripts; held to its invariants when the test ends."""
    fresh = Bench(unique_name(), any_server.url)
    yield fresh
    await fresh.close()
