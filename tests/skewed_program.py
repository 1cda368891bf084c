"""A producer or a worker as a program, for tests that give it a wrong clock: ``python -m tests.skewed_program``.

Each event is a line of JSON that says what the program's wall clock shows, and what the server's clock shows.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import datetime, timedelta
from typing import Any

import orjson

import zqueue
from tests.asking import server_time_us

SECOND = timedelta(seconds=1)
SCHEDULE = zqueue.every(SECOND)


async def say(queue: zqueue.Queue, what: str, **fields: Any) -> None:
    """One event, in one write."""
    clocks = {"wall_us": time.time_ns() // 1000, "server_us": await server_time_us(queue)}
    os.write(sys.stdout.fileno(), orjson.dumps({"what": what, **clocks, **fields}) + b"\n")


def _us(moment: datetime | None) -> int:
    assert moment is not None
    return round(moment.timestamp() * 1_000_000)


async def produce(queue: zqueue.Queue) -> None:
    """Jobs with every kind of time, a schedule, and the results of those jobs."""
    tag = os.getpid()
    jobs = [await queue.enqueue({}, id=f"delay-{tenths}-{tag}", delay=SECOND * tenths / 10) for tenths in range(21)]
    jobs.append(await queue.enqueue({"fail": True}, id=f"retry-{tag}"))
    jobs.append(await queue.enqueue({"seconds": 2.5}, id=f"long-{tag}"))
    moved = await queue.enqueue({}, id=f"moved-{tag}", delay=3600)
    assert await queue.reschedule(moved.id, delay=SECOND)
    jobs.append(moved)
    at = await queue.enqueue({}, id=f"at-{tag}", at=queue.now() + SECOND)
    jobs.append(at)
    slot = await queue.recur("tick", SCHEDULE, {}, misfire="all")
    await say(queue, "produced", now_us=_us(queue.now()), slot_us=_us(slot), at_us=_us(at.due_at))
    results = await asyncio.gather(*(job.result(timeout=20) for job in jobs))
    await say(queue, "results", ids=[job.id for job in jobs], results=results)


async def work(queue: zqueue.Queue) -> None:
    """Run jobs until the standard input ends."""
    worker = zqueue.Worker(queue, lambda job: handle(queue, job), lease=SECOND, concurrency=100)
    running = asyncio.create_task(worker.run())
    await say(queue, "up")
    await asyncio.to_thread(sys.stdin.read)
    worker.stop()
    await running


async def handle(queue: zqueue.Queue, job: zqueue.Job[Any]) -> str:
    """Say it started, and take as long, or fail as often, as the payload says."""
    await say(queue, "start", id=job.id, due_us=job.due_us, attempt=job.attempt)
    await asyncio.sleep(job.payload.get("seconds", 0))
    if job.payload.get("fail") and job.attempt == 1:
        raise ValueError("as it was told")
    return job.id


async def main(role: str, name: str, url: str) -> None:
    """Be one or the other."""
    retry = zqueue.Retry(2, zqueue.fixed(1))
    async with zqueue.Queue(name, url, retry=retry, keep_done=timedelta(minutes=1)) as queue:
        await (produce if role == "producer" else work)(queue)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
