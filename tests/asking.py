"""Plain commands, for what the library does not say: what is under a queue's keys, and the server's time and counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import zqueue


async def ask_server(queue: zqueue.Queue, *command: Any) -> Any:
    """The server's reply to one command, over a connection of its own."""
    link = queue.link(queue.shards[0])
    try:
        (reply,) = await link.send(command)
    finally:
        await link.close()
    if isinstance(reply, Exception):
        raise reply
    return reply


async def until(holds: Callable[[], Awaitable[bool]], timeout: float = 10.0) -> None:
    """Return as soon as *holds* answers so; fail after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not await holds():  # what is waited for is on a server, which sends no events
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout:g} s")
        await asyncio.sleep(0.005)


async def server_time_us(queue: zqueue.Queue) -> int:
    """The server's clock."""
    seconds, microseconds = await ask_server(queue, "TIME")
    return int(seconds) * 1_000_000 + int(microseconds)


async def lease_ends_us(queue: zqueue.Queue) -> dict[str, int]:
    """When the lease of each leased job ends, by the server's clock."""
    flat = iter(await ask_server(queue, "ZRANGE", f"{queue.shards[0].keys.prefix}leased", 0, -1, "WITHSCORES"))
    return {job_id.decode(): int(score) for job_id, score in zip(flat, flat, strict=True)}


async def calls(queue: zqueue.Queue) -> dict[str, int]:
    """How often each command ran on the whole server since it started."""
    text = (await ask_server(queue, "INFO", "commandstats")).decode()
    counts = {}
    for line in text.splitlines():
        if line.startswith("cmdstat_"):
            name, numbers = line.removeprefix("cmdstat_").split(":")
            counts[name] = int(numbers.split(",")[0].removeprefix("calls="))
    return counts
