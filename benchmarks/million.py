"""How long each script takes with a million jobs scheduled: ``python -m benchmarks.million``, by the server's account.

Every call's time is taken from the server's slow log, whose threshold is set to nothing. The jobs are enqueued, looked
at, made due by the clock that the scripts are given, and run to the end; then memory and keys are looked at again.
Exits with 1 when 99.9 % of the calls of a script are not under 5 ms, or when something is left.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from benchmarks.measure import options, percentile, progress, server_url
from zqueue.commands import CHUNK, SCRIPTS, Call, Commands, Kept, Settlement
from zqueue.connect import Address, Link, ServerError
from zqueue.envelope import NewJob
from zqueue.job import JobState
from zqueue.keys import Keys
from zqueue.sending import results
from zqueue.testing import FakeClock

LIMIT_US = 5000
"""What 99.9 % of the calls of each script must stay under."""
SPARE = 1 << 20
"""Bytes by which memory may differ at the end: the allocator's and the server's own affairs."""
_NAMES = {script.sha: name for name, script in SCRIPTS.items()}
_KEPT = Kept(keep_us=10**12, most=1000)
_TOGETHER = 8
"""Calls in one round trip."""


class Bench:
    """A queue on a server that keeps a record of every call.

    Attributes:
        times: Microseconds of each call, by script.
    """

    def __init__(self, url: str, jobs: int) -> None:
        self.clock = FakeClock()
        self.keys = Keys(f"million-{secrets.token_hex(4)}")
        self.commands = Commands(self.keys, self.clock)
        self.link = Link(Address(url), key=self.keys.wake)
        self.times: dict[str, list[int]] = defaultdict(list)
        self._jobs = jobs

    async def run(self) -> dict[str, Any]:
        """Everything; figures of memory in bytes, and the keys that are left."""
        await self._raw("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000")
        await self._enqueue(1000)  # so that scripts and tables are there before memory is looked at
        await self._drain(1000)
        before = await self._memory()
        self.times.clear()
        await self._enqueue(self._jobs)
        full = await self._memory()
        await self._look()
        await self._drain(self._jobs)
        await self._raw("LPOP", self.keys.wake)  # as the sleeper of a worker would
        left = [key.decode() for key in await self._raw("KEYS", f"{self.keys.prefix}*") if b"call:" not in key]
        return {"before": before, "full": full, "after": await self._memory(), "left": left}

    async def _enqueue(self, count: int) -> None:
        for at in range(0, count, CHUNK * _TOGETHER):
            chunks = [range(n, min(n + CHUNK, count)) for n in range(at, min(at + CHUNK * _TOGETHER, count), CHUNK)]
            calls: list[Call[Any]] = []
            for chunk in chunks:
                jobs = [self._job(n).encode(1000) for n in chunk]
                calls.append(self.commands.enqueue("bench", secrets.token_hex(8), jobs))
            await self._send(calls)
            progress("enqueue", chunks[-1].stop, count)

    def _job(self, n: int) -> NewJob:
        """Due in an order that is not the one in which they are enqueued, over an hour, in all lanes."""
        delay = timedelta(microseconds=n * 7_919_337 % 3_600_000_000)
        return NewJob({"to": f"user-{n}@example.com", "subject": "hello"}, delay=delay, priority=n % 3)  # type: ignore[arg-type]

    async def _look(self) -> None:
        after = None
        for n in range(500):
            (_stats, page) = await self._send(
                [self.commands.stats(), self.commands.jobs(JobState.SCHEDULED, CHUNK, after)]
            )
            after = page[-1] if page else None
            progress("stats and pages", n + 1, 500)

    async def _drain(self, count: int) -> None:
        self.clock.advance(timedelta(hours=1))
        done = 0
        ending: list[Settlement] = []
        while True:
            token = secrets.token_hex(8)
            claim = self.commands.claim(CHUNK, 10**10, token, 5, solo_ok=True, worker="", kept=_KEPT)
            calls: list[Call[Any]] = [claim]
            if ending:
                calls.insert(0, self.commands.settle(ending, _KEPT))
            deliveries = (await self._send(calls))[-1].deliveries
            ending = [Settlement(each.id, token, "ack") for each in deliveries]
            if not ending:
                break
            done += len(ending)
            progress("claim and settle", done, count)
        if done != count:
            raise SystemExit(f"{count} jobs were enqueued and {done} run")

    async def _send(self, calls: Sequence[Call[Any]]) -> list[Any]:
        answers = await results(self.link, calls)
        for entry in await self._raw("SLOWLOG", "GET", "1000"):
            words = entry[3]
            if words[0].upper() == b"EVALSHA" and words[1] in _NAMES:
                self.times[_NAMES[words[1]]].append(int(entry[2]))
        await self._raw("SLOWLOG", "RESET")
        return answers

    async def _memory(self) -> int:
        info: bytes = await self._raw("INFO", "memory")
        return int(info.split(b"used_memory:")[1].split(b"\r\n")[0])

    async def _raw(self, *words: Any) -> Any:
        (reply,) = await self.link.send(words)
        if isinstance(reply, ServerError):
            raise reply
        return reply


def show(bench: Bench, figures: dict[str, Any]) -> None:
    """A table."""
    print(f"{'script':10} {'calls':>8} {'p50 us':>8} {'p99':>8} {'p99.9':>8} {'max':>8}")
    for name, times in bench.times.items():
        shares = [percentile(times, share) for share in (0.5, 0.99, 0.999)]
        print(f"{name:10} {len(times):8,} " + " ".join(f"{each:8,}" for each in (*shares, max(times))))
    print(
        f"memory, MB: {figures['before'] / 1e6:.1f} before, {figures['full'] / 1e6:.1f} full, "
        f"{figures['after'] / 1e6:.1f} after; keys left: {figures['left'] or 'none'}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure once; the exit code."""
    parser = options(__doc__ or "")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="how many (default 1,000,000)")
    given = parser.parse_args(argv)

    async def measure(url: str) -> tuple[Bench, dict[str, Any]]:
        bench = Bench(url, given.jobs)
        try:
            return bench, await bench.run()
        finally:
            await bench.link.close()

    with server_url(given.url) as url:
        bench, figures = asyncio.run(measure(url))
    if given.json:
        print(json.dumps({"scripts": bench.times, **figures}))
    else:
        show(bench, figures)
    slow = [name for name, times in bench.times.items() if percentile(times, 0.999) >= LIMIT_US]
    left = figures["left"] or figures["after"] > figures["before"] + SPARE
    return int(bool(slow or left))


if __name__ == "__main__":
    sys.exit(main())
