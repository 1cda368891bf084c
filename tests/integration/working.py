"""Workers that run for the length of a block."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import zqueue


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
