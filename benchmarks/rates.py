"""Jobs a second through one process: enqueueing in bulk, a thousand at once, one by one; and draining."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any

import zqueue
from benchmarks.measure import options, progress, server_url, spread

_PAYLOAD = {"to": "someone@example.com", "text": "x" * 150}


async def rates(url: str, jobs: int) -> dict[str, float]:
    """One round on a queue of its own."""
    found = {}
    done = 0

    async def handler(_job: zqueue.Job) -> None:
        nonlocal done
        done += 1

    async with zqueue.Queue(f"bench-{secrets.token_hex(4)}", url) as queue:
        await queue.enqueue(_PAYLOAD)
        start = time.perf_counter()
        await queue.enqueue_many([zqueue.NewJob(_PAYLOAD) for _ in range(jobs)])
        found["bulk enqueue"] = jobs / (time.perf_counter() - start)
        start = time.perf_counter()
        await asyncio.gather(*(queue.enqueue(_PAYLOAD) for _ in range(1000)))
        found["1,000 at once"] = 1000 / (time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(1000):
            await queue.enqueue(_PAYLOAD)
        found["one by one"] = 1000 / (time.perf_counter() - start)
        start = time.perf_counter()
        await zqueue.Worker(queue, handler, concurrency=100).run(burst=True)
        found["drain"] = done / (time.perf_counter() - start)
    return found


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs enqueued in bulk in a round (default 20000)")
    parsed = parser.parse_args(arguments)
    found: dict[str, list[float]] = {}
    with server_url(parsed.url) as url:
        for turn in range(parsed.rounds):
            factory: Any = _loop_factory()
            with asyncio.Runner(loop_factory=factory) as runner:
                for name, value in runner.run(rates(url, parsed.jobs)).items():
                    found.setdefault(name, []).append(value)
            progress("rates", turn + 1, parsed.rounds)
    if parsed.json:
        json.dump(found, sys.stdout, indent=2)
        print()
        return
    print(f"Jobs a second, {parsed.rounds} rounds, uvloop where it is installed, payload of about 200 bytes")
    print(f"{'figure':14} {'median':>10} {'least':>10} {'most':>10}")
    for name, values in found.items():
        print(f"{name:14} {spread(values)}")


if __name__ == "__main__":
    main()
