"""The test's end of `tests.worker_program`: start it, read its events, send it signals."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

import zqueue
from tests.conftest import wait_until

Event = dict[str, Any]


class WorkerProcess:
    """A running worker program.

    Attributes:
        events: What it said so far.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[Event] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.events.append(orjson.loads(line))

    def ids(self, what: str) -> list[str]:
        """The jobs of all events of a kind, in order."""
        return [event["id"] for event in self.events if event["what"] == what]

    @property
    def warnings(self) -> list[str]:
        """What the library logged."""
        return [event["message"] for event in self.events if event["what"] == "log"]

    async def says(self, what: str, count: int = 1, timeout: float = 30.0) -> None:
        """Wait for so many events of a kind."""

        def said() -> bool:
            return len([event for event in self.events if event["what"] == what]) >= count

        await wait_until(said, timeout, f"{count} times {what!r} in {self.events}")

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def ended(self, timeout: float = 30.0) -> int:
        """Wait for its end and the last of its events; its exit code, minus the signal that killed it."""
        async with asyncio.timeout(timeout):
            code = await self.process.wait()
            await self._reading
        return code


@contextlib.asynccontextmanager
async def worker_process(queue: zqueue.Queue, url: str, **options: float) -> AsyncIterator[WorkerProcess]:
    """Run a worker on *queue* in a process of its own, killed at the end of the block if it still runs."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.worker_program",
        url,
        queue.name,
        *arguments,
        cwd=Path(__file__).parent.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    worker = WorkerProcess(process)
    try:
        yield worker
    finally:
        if process.returncode is None:
            process.kill()
        await worker.ended()
        process._transport.close()  # type: ignore[attr-defined]  # else its pipes end with the loop, noisily
