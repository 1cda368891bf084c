"""``zqueue ...`` as tests use it: called within the process, or as a real program that can be signalled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import coverage
import orjson
from click.testing import CliRunner

import zqueue
from tests.conftest import wait_until
from zqueue.cli.program import program

ROOT = Path(__file__).parents[1]


class Ended(NamedTuple):
    """How a command ended: its exit status, and what it wrote to stdout and stderr."""

    status: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        """What ``--json`` printed."""
        return [orjson.loads(line) for line in self.out.splitlines()]

    @property
    def rows(self) -> list[list[str]]:
        """The fields of tab-separated lines."""
        return [line.split("\t") for line in self.out.splitlines()]


async def command(*arguments: str, stdin: str | None = None, **variables: str) -> Ended:
    """Run a command in this process, in a thread, which has no event loop.

    Args:
        arguments: The command line.
        stdin: What it reads.
        variables: Added to the environment, which has none of zqueue's.
    """
    environment = {"ZQUEUE_URL": None, "ZQUEUE_QUEUE": None, "ZQUEUE_SHARDS": None} | variables
    ended = await asyncio.to_thread(CliRunner().invoke, program, arguments, input=stdin, env=environment)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Ended(ended.exit_code, ended.stdout, ended.stderr)


async def about(queue: zqueue.Queue, *arguments: str, stdin: str | None = None) -> Ended:
    """Run a command about a queue."""
    variables = {"ZQUEUE_URL": queue.address.shown, "ZQUEUE_QUEUE": queue.name}
    return await command(*arguments, stdin=stdin, **variables)


class Program:
    """A running ``python -m zqueue``.

    Attributes:
        out: Lines it, and what it started, wrote to stdout so far.
        err: The same of stderr.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        streams = ((process.stdout, self.out), (process.stderr, self.err))
        self._reading = [asyncio.create_task(self._read(stream, lines)) for stream, lines in streams]

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in stream:
            lines.append(line.decode().rstrip("\n"))  # noqa: PERF401 - each at once

    async def says(self, text: str, count: int = 1, timeout: float = 30.0) -> list[str]:
        """Wait for so many lines that hold *text*, and give them."""

        def found() -> list[str]:
            return [line for line in [*self.out, *self.err] if text in line]

        await wait_until(lambda: len(found()) >= count, timeout, f"{count} x {text!r} in {self.out} {self.err}")
        return found()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def insist(self, number: int) -> int:
        """Send it a signal until it ends, for two at once may count as one; its status."""
        while self.process.returncode is None:
            self.send(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), 0.5)
        return await self.ended()

    async def ended(self, timeout: float = 30.0) -> int:
        """Wait for its end, and for that of all that holds its output; its status, minus the signal that killed it."""
        async with asyncio.timeout(timeout):
            status = await self.process.wait()
            await asyncio.gather(*self._reading)
        return status


def measured() -> dict[str, str]:
    """The environment in which a program takes part in this run's measuring of coverage, if there is one."""
    measuring = coverage.Coverage.current()
    if measuring is None:
        return {}
    return {"COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"), "COVERAGE_FILE": str(measuring.config.data_file)}


@contextlib.asynccontextmanager
async def running(*arguments: str, cwd: Path, **variables: str) -> AsyncIterator[Program]:
    """Run ``python -m zqueue ARGUMENTS`` for the length of the block; killed at its end if it still runs."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ZQUEUE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "zqueue", *arguments),
        cwd=cwd,
        env=inherited | measured() | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    started = Program(process)
    try:
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await started.ended()
        process._transport.close()  # type: ignore[attr-defined]  # else its pipes end with the loop, noisily
