"""Programs whose clocks are an hour wrong, both ways, on one server: nothing runs early, late or twice."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import zqueue
from tests.conftest import wait_until
from zqueue.embedded import Server

HOUR_US = 3_600_000_000
SECOND_US = 1_000_000
LATE_US = 5 * SECOND_US  # a machine may be busy; what goes by a wrong clock is late by an hour, or never comes
SKEWS = ("+3600s", "-3600s")


@pytest.fixture(scope="session")
def faketime() -> str:
    """The library that gives a process another clock; skips the test where it is not installed, fails it in CI."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        message = "no libfaketime here: apt-get install libfaketime"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found[0]


class Program:
    """A running `tests.skewed_program` and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.events.append(orjson.loads(line))

    async def ended(self) -> int:
        """Close its input, and wait for its end and the last of its events."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(60):
            await self.reading
            return await self.process.wait()


@contextlib.asynccontextmanager
async def programs(faketime: str, role: str, queue: zqueue.Queue, url: str) -> AsyncIterator[list[Program]]:
    """One program of a role for each wrong clock; whatever of them still runs at the end of the block is killed."""
    started = []
    for skew in SKEWS:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.skewed_program",
            role,
            queue.name,
            url,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "LD_PRELOAD": faketime, "FAKETIME": skew, "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        started.append(Program(process))
    try:
        yield started
    finally:
        for program in started:
            if program.process.returncode is None:
                program.process.kill()
            await program.ended()
            program.process._transport.close()  # type: ignore[attr-defined]  # else its pipes end with the loop


def _said(started: list[Program], what: str) -> list[dict[str, Any]]:
    return [event for program in started for event in program.events if event["what"] == what]


async def test_clocks_an_hour_wrong_change_nothing(faketime: str, queue: zqueue.Queue, valkey: Server) -> None:
    """Two producers and two workers, one of each an hour ahead and one an hour behind.

    Delays, retries, rescheduled and recurring jobs start at their time by the server's clock, each once; leases last
    for a job that is longer; and each result comes back.
    """
    async with (
        programs(faketime, "worker", queue, valkey.url) as workers,
        programs(faketime, "producer", queue, valkey.url) as producers,
    ):
        await wait_until(lambda: len(_said(producers, "results")) == 2, 60, "results")
        slots = {event["slot_us"] for event in _said(producers, "produced")}
        await wait_until(lambda: _ticks(workers)[max(slots) + 2 * SECOND_US] > 0, 30, "three slots")
        assert await queue.unrecur("tick")
        assert [await program.ended() for program in [*producers, *workers]] == [0] * 4

    for program, skew_us in zip([*workers, *producers], [HOUR_US, -HOUR_US] * 2, strict=True):
        wrong_us = program.events[0]["wall_us"] - program.events[0]["server_us"]
        assert abs(wrong_us - skew_us) < LATE_US  # or the test would test nothing

    for event in _said(producers, "produced"):
        assert abs(event["now_us"] - event["server_us"]) < LATE_US
        assert 0 < event["at_us"] - event["now_us"] + LATE_US < 2 * LATE_US
    for event in _said(producers, "results"):
        assert event["results"] == event["ids"]

    starts = _said(workers, "start")
    early = [event for event in starts if event["server_us"] < event["due_us"]]
    late = [event for event in starts if event["server_us"] > event["due_us"] + LATE_US]
    assert (early, late) == ([], [])
    ids = [job_id for event in _said(producers, "results") for job_id in event["ids"]]
    runs = Counter(event["id"] for event in starts if not event["id"].startswith("tick@"))
    assert runs == Counter({job_id: 2 if job_id.startswith("retry-") else 1 for job_id in ids})
    assert set(_ticks(workers).values()) == {1}
    assert set(_ticks(workers)) >= {min(slots) + SECOND_US * number for number in range(3)}


def _ticks(workers: list[Program]) -> Counter[int]:
    return Counter(event["due_us"] for event in _said(workers, "start") if event["id"].startswith("tick@"))
