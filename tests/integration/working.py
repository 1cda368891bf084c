"""Queues and workers that live for the length of a block."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import zqueue
from tests.conftest import unique_name
from tests.queue_state import faults


@contextlib.asynccontextmanager
async def checked_queue(url: str, **options: Any) -> AsyncIterator[zqueue.Queue]:
    """A queue of one's own; at the end its keys are checked."""
    async with zqueue.Queue(unique_name(), url, **options) as fresh:
        yield fresh
        link = fresh.link(fresh.shards[0])
        try:
            assert await faults(link, fresh.shards[0].keys) == []
        finally:
            await link.close()


@contextlib.asynccontextmanager
async def working(*workers: zqueue.Worker) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run *workers*; stop them in order at the end, and fail if one of them failed or does not end."""
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield tasks
        for worker in workers:
            worker.stop()
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
