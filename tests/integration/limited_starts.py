"""A rated group beside free jobs: when each starts, at what cost. ``python -m tests.integration.limited_starts``."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise

import zqueue
from tests.asking import ask_server, calls
from tests.conftest import unique_name, wait_until
from zqueue.connect import Link
from zqueue.embedded import Server


@dataclass
class Starts:
    """What was seen.

    Attributes:
        limited: When each limited job started, on the monotonic clock, in order; and their ids.
        free_late_s: How long after they were enqueued the jobs of the other groups, and of none, started.
        parked: How often a job was put among the parked.
        put_back: How often a job was put back into a lane.
        scripts: Calls of scripts in all, from the first job to the last.
    """

    limited: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    free_late_s: list[float] = field(default_factory=list)
    parked: int = 0
    put_back: int = 0
    scripts: int = 0

    def errors_ms(self, rate: float) -> list[float]:
        """How far the time between each two starts is from what the rate says, smallest first."""
        return sorted(abs(later - sooner - 1 / rate) * 1000 for sooner, later in pairwise(self.limited))


async def limited_starts(url: str, jobs: int, rate: float) -> Starts:
    """Run *jobs* of a group at *rate* a second, burst 1, and as many free ones, half of them of another group.

    The server at *url* must be nobody else's.
    """
    seen = Starts()
    async with zqueue.Queue(unique_name(), url) as queue:
        enqueued = 0.0

        async def handler(job: zqueue.Job) -> None:
            now = time.monotonic()
            if job.group == "limited":
                seen.limited.append(now)
                seen.ids.append(job.id)
            else:
                seen.free_late_s.append(now - enqueued)

        await queue.set_limit("limited", rate=rate, burst=1)
        await queue.set_limit("roomy", rate=100_000, burst=100_000, concurrency=1000)
        worker = zqueue.Worker(queue, handler)
        task = asyncio.create_task(worker.run())
        await wait_until(lambda: worker.last_claim is not None)
        await ask_server(queue, "CONFIG", "SET", "notify-keyspace-events", "Kz")
        told = asyncio.create_task(_listen(queue, seen))
        before = (await calls(queue))["evalsha"]
        enqueued = time.monotonic()
        for at in range(0, jobs, 100):  # each limited job before a free one
            chunk = range(at, min(at + 100, jobs))
            await queue.enqueue_many([zqueue.NewJob(0, id=f"limited{n:05}", group="limited") for n in chunk])
            await queue.enqueue_many([zqueue.NewJob(0, id=f"z{n:05}", group=(None, "roomy")[n % 2]) for n in chunk])
        await wait_until(lambda: len(seen.limited) == jobs, jobs / rate + 30)
        worker.stop()
        await task
        seen.scripts = (await calls(queue))["evalsha"] - before
        told.cancel()
        await asyncio.wait([told])
    return seen


async def _listen(queue: zqueue.Queue, seen: Starts) -> None:
    """Count what is put into the sorted sets: an enqueue puts all of its jobs at once."""
    prefix = f"__keyspace@0__:{queue.shards[0].keys.prefix}"
    link = Link(queue.address)
    try:
        message = (await link.send(("SUBSCRIBE", f"{prefix}parked", f"{prefix}due:1")))[0]
        while True:
            if message[0] == b"message" and message[2] == b"zadd":
                if message[1].endswith(b"parked"):
                    seen.parked += 1
                else:
                    seen.put_back += 1
            message = await link.receive()
    finally:
        await link.close()


def main() -> None:
    """Print what was seen on an embedded server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--rate", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zq") as folder, Server(folder) as server:
        seen = asyncio.run(limited_starts(server.url, options.jobs, options.rate))
    errors = seen.errors_ms(options.rate)
    print(f"{options.jobs} jobs at {options.rate:g}/s: in order {seen.ids == sorted(seen.ids)};", end=" ")
    print(f"apart to within {errors[len(errors) // 2]:.2f} ms (median), {errors[int(len(errors) * 0.99)]:.2f} (p99)")
    print(f"free jobs started within {max(seen.free_late_s) * 1000:.1f} ms")
    print(f"parked {seen.parked} times, into a lane {seen.put_back} times, {seen.scripts} calls of scripts")


if __name__ == "__main__":
    main()
