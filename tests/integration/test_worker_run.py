"""`zqueue.run` as the whole of a program: signals, exit codes, and what becomes of the jobs."""

from __future__ import annotations

import signal

import pytest

import zqueue
from tests.worker_process import worker_process
from zqueue.embedded import Server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_jobs_end(queue: zqueue.Queue, valkey: Server, number: int) -> None:
    """The first signal claims no more, lets what runs end, and the program ends well."""
    await queue.enqueue({"do": "hang", "seconds": 0.5}, id="x")
    async with worker_process(queue, valkey.url) as worker:
        await worker.says("start")
        worker.send(number)
        assert await worker.ended() == 0

    assert [event["what"] for event in worker.events] == ["up", "start", "end", "down"]
    assert await queue.get("x") is None


async def test_a_drain_that_is_over_gives_back(queue: zqueue.Queue, valkey: Server) -> None:
    """After a signal and the drain, what still runs is cancelled and given back as it was."""
    await queue.enqueue({"do": "hang"}, id="x")
    async with worker_process(queue, valkey.url, drain=0.1) as worker:
        await worker.says("start")
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0

    assert [event["what"] for event in worker.events] == ["up", "start", "cancelled", "down"]
    await _is_fresh(queue)


async def test_a_second_signal_ends_at_once(queue: zqueue.Queue, valkey: Server) -> None:
    """The second signal does not wait for the drain, and gives back all the same."""
    await queue.enqueue({"do": "hang"}, id="x")
    async with worker_process(queue, valkey.url, drain=3600) as worker:
        await worker.says("start")
        worker.send(signal.SIGTERM)
        worker.send(signal.SIGINT)
        assert await worker.ended() == 0

    assert [event["what"] for event in worker.events] == ["up", "start", "cancelled", "down"]
    await _is_fresh(queue)


async def _is_fresh(queue: zqueue.Queue) -> None:
    job = await queue.get("x")
    assert job is not None
    assert (job.state, job.attempts, job.deliveries) == (zqueue.JobState.SCHEDULED, 0, 0)
