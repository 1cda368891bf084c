"""One process of the service, and the sink beside it, as the harness holds them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_STOPPED_WITHIN = 15.0  # seconds


class ChaosError(AssertionError):
    """The run could not go on as planned, which the service is to blame for until shown otherwise."""


class Program:
    """One process of the service, which is to run until somebody kills it."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._folder = folder
        self._environment = environment
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    async def start(self, **environment: str) -> None:
        """Start a process; its log goes on in the same file. It ends by itself should this one end."""
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *self._arguments),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=log,
                cwd=self._folder,
                env=self._environment | environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL, this very moment."""
        self.check()
        os.kill(self.pid, signal.SIGKILL)

    async def reap(self) -> None:
        """Wait for the end of a process that was killed."""
        assert self._process is not None
        await self._process.wait()

    def check(self) -> None:
        """Raise ChaosError if it ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            raise ChaosError(f"the {self.name} ended by itself with status {self._process.returncode}")

    async def stop(self) -> None:
        """End it in order, or after a while not so."""
        if self._process is None or self._process.returncode is not None:
            return
        try:
            self._process.terminate()
            await asyncio.wait_for(self._process.wait(), _STOPPED_WITHIN)
        except (ProcessLookupError, TimeoutError):
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class SinkProcess:
    """The sink (see `tests.chaos.sink`), which is never killed."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.port = 0
        self.on_stored: Callable[[], None] = lambda: None
        self.on_held: Callable[[], None] = lambda: None
        self._process: Process | None = None
        self._reading: asyncio.Task[None]

    async def start(self, refuse_every: int) -> None:
        """Start it and learn its port."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.sink", str(self.log), str(refuse_every)),
            stdin=PIPE,
            stdout=PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        self.port = int((await process.stdout.readline()).split()[1])
        self._reading = asyncio.create_task(self._read(process.stdout))
        self._process = process

    async def _read(self, told: asyncio.StreamReader) -> None:
        async for line in told:
            if line.startswith(b"stored "):
                self.on_stored()
            elif line.startswith(b"held"):
                self.on_held()

    def tell(self, words: str) -> None:
        """Send it a command."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n".encode())

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
            await self._reading
