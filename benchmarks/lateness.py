"""How late a handler starts after its job's due time, on a worker that has nothing else to do.

Three figures for each event loop, in milliseconds. *p50* and *p99*: jobs scheduled one by one, spread over the coming
seconds, one idle worker. *handover*: two workers of one slot each; the one that the wake token reached is busy, and a
job falls due: how late it starts on the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import zqueue
from benchmarks.measure import LOOPS, options, percentile, progress, server_url, spread

Figures = dict[str, float]


async def spread_out(url: str, jobs: int, seconds: float) -> Figures:
    """Lateness of *jobs* jobs at random times within *seconds*, on one idle worker."""
    late: list[float] = []
    done = asyncio.Event()

    async def handler(job: zqueue.Job) -> None:
        now_us = time.time_ns() / 1000
        assert job.due_us is not None
        late.append((now_us - job.due_us) / 1000)
        if len(late) == jobs:
            done.set()

    async with zqueue.Queue(f"bench-{secrets.token_hex(4)}", url) as queue:
        worker = zqueue.Worker(queue, handler)
        running = asyncio.create_task(worker.run())
        start = datetime.now(UTC) + timedelta(seconds=1)
        step = timedelta(seconds=seconds / jobs)
        await queue.enqueue_many([zqueue.NewJob(n, at=start + n * step) for n in range(jobs)])
        await asyncio.wait_for(done.wait(), seconds + 30)
        worker.stop()
        await running
    return {"p50": percentile(late, 0.5), "p99": percentile(late, 0.99), "max": max(late)}


async def handover(url: str, tries: int) -> Figures:
    """Lateness of a job that falls due while the worker that was woken is busy and another one is free."""
    late: list[float] = []
    ended = asyncio.Event()

    async def handler(job: zqueue.Job) -> None:
        if job.payload == "long":
            await asyncio.sleep(0.2)
            return
        assert job.due_us is not None
        late.append((time.time_ns() / 1000 - job.due_us) / 1000)
        ended.set()

    name = f"bench-{secrets.token_hex(4)}"
    async with zqueue.Queue(name, url) as one, zqueue.Queue(name, url) as other:
        workers = [zqueue.Worker(queue, handler, concurrency=1) for queue in (one, other)]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        for _ in range(tries):
            await asyncio.sleep(0.1)
            ended.clear()
            await one.enqueue("long")
            await one.enqueue("short", delay=0.05)
            await asyncio.wait_for(ended.wait(), 10)
            await asyncio.sleep(0.2)
        for worker in workers:
            worker.stop()
        await asyncio.gather(*running)
    return {"handover": percentile(late, 0.5), "handover max": max(late)}


def run_on(loop: str, work: Callable[[], Awaitable[Figures]]) -> Figures:
    """Run *work* on a new loop of this kind."""
    factory: Any = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:

        async def main() -> Figures:
            return await work()

        return runner.run(main())


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Every figure of every round, by loop; the loops take turns."""
    found: dict[str, dict[str, list[float]]] = {loop: {} for loop in LOOPS}
    with server_url(arguments.url) as url:
        for turn in range(arguments.rounds):
            for loop in LOOPS:
                figures = run_on(loop, lambda: spread_out(url, arguments.jobs, arguments.seconds))
                figures |= run_on(loop, lambda: handover(url, 5))
                for name, value in figures.items():
                    found[loop].setdefault(name, []).append(value)
            progress("lateness", turn + 1, arguments.rounds)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000, help="jobs in a round (default 1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="over which they are spread (default 5)")
    parsed = parser.parse_args(arguments)
    found = measure(parsed)
    if parsed.json:
        json.dump(found, sys.stdout, indent=2)
        print()
        return
    print(f"Lateness in ms, {parsed.jobs} jobs over {parsed.seconds:g} s, {parsed.rounds} rounds")
    print(f"{'loop':8} {'figure':14} {'median':>10} {'least':>10} {'most':>10}")
    for loop, figures in found.items():
        for name, values in figures.items():
            print(f"{loop:8} {name:14} {spread(values)}")
    for loop, limit in (("asyncio", 5), ("uvloop", 3)):
        print(f"{loop}: p99 {statistics.median(found[loop]['p99']):.2f} ms, the target is under {limit} ms")


if __name__ == "__main__":
    main()
