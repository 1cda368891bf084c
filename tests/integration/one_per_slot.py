"""Many workers, one schedule: the jobs each slot made. ``python -m tests.integration.one_per_slot --seconds 60``."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import zqueue
from tests.asking import server_time_us, until
from tests.conftest import unique_name
from zqueue.embedded import Server


@dataclass
class Outcome:
    """What ran.

    Attributes:
        expected: The slots there were.
        runs: How many jobs ran for each.
        late_ms: How long after its slot each of them started, by the server's clock.
        busy: How many workers ran any.
    """

    expected: list[datetime]
    runs: Counter[datetime] = field(default_factory=Counter)
    late_ms: list[float] = field(default_factory=list)
    busy: int = 0


async def one_per_slot(url: str, workers: int, seconds: int, every_s: float = 1.0) -> Outcome:
    """Run *workers*, each a client of its own, on one schedule for so many *seconds*; each of them says it at start."""
    name, schedule = unique_name(), zqueue.every(every_s)
    outcome = Outcome([])
    ran_by: Counter[int] = Counter()

    def handler_of(number: int) -> Any:
        async def handle(job: zqueue.Job[Any]) -> None:
            assert job.due_at is not None
            outcome.late_ms.append((await server_time_us(queues[number]) / 1000) - job.due_at.timestamp() * 1000)
            outcome.runs[job.due_at] += 1
            ran_by[number] += 1

        return handle

    queues = [zqueue.Queue(name, url) for _ in range(workers)]
    crew = [zqueue.Worker(queue, handler_of(number)) for number, queue in enumerate(queues)]
    tasks = [asyncio.create_task(worker.run()) for worker in crew]
    await until(lambda: _all_up(crew), 60)
    slots = await asyncio.gather(*(queue.recur("tick", schedule, 0, misfire="all") for queue in queues))
    first = slots[0]
    last = first + timedelta(seconds=seconds) - timedelta(seconds=every_s)
    outcome.expected = [first + timedelta(seconds=every_s) * count for count in range(round(seconds / every_s))]

    async def is_over() -> bool:
        return outcome.runs[last] > 0

    await until(is_over, seconds + 30)
    assert await queues[0].unrecur("tick")
    for worker in crew:
        worker.stop()
    await asyncio.gather(*tasks)
    for queue in queues:
        await queue.close()
    for slot in [each for each in outcome.runs if each > last]:  # of those that came before the end was seen
        del outcome.runs[slot]
    outcome.busy = len(ran_by)
    return outcome


async def _all_up(crew: list[zqueue.Worker]) -> bool:
    return all(worker.last_claim is not None for worker in crew)


def main() -> None:
    """Print what happened on an embedded server; the exit code is 1 unless each slot made exactly one job."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zq") as folder, Server(folder) as server:
        started = time.process_time()
        outcome = asyncio.run(one_per_slot(server.url, options.workers, options.seconds))
        spent = time.process_time() - started
    exactly_one = outcome.runs == Counter(outcome.expected)
    late = sorted(outcome.late_ms)
    print(
        f"{options.workers} workers, {options.seconds} s: {len(outcome.expected)} slots, {outcome.runs.total()} jobs,"
    )
    print(f"exactly one each: {exactly_one}; run by {outcome.busy} of the workers")
    print(f"started after {late[len(late) // 2]:.1f} ms (median), {late[-1]:.1f} ms (last); {spent:.1f} s of CPU")
    raise SystemExit(not exactly_one)


if __name__ == "__main__":
    main()
