"""Waiting on a condition, in place of a sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Return once *condition* holds; looks every millisecond and fails after *timeout* seconds."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - any condition, of objects that know no events
            await asyncio.sleep(0.001)
