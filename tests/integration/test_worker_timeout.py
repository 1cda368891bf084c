"""Runs that are cut short: by their timeout, or because their job was cancelled."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta

import pytest

import zqueue
from tests.asking import until
from tests.conftest import wait_until
from tests.integration.working import working

TIMEOUT_S = 0.05
TOO_LONG = "TimeoutError: the handler ran for more than 0.05 s"


async def _is_dead(queue: zqueue.Queue, job_id: str) -> str | None:
    """Wait until a job is dead; its error."""

    async def died() -> bool:
        job = await queue.get(job_id)
        return job is not None and job.state is zqueue.JobState.DEAD

    await until(died)
    job = await queue.get(job_id)
    assert job is not None
    return job.error


async def test_a_timeout_cancels_an_asynchronous_handler(queue: zqueue.Queue) -> None:
    """A handler over its time is cancelled where it waits, and its attempt has failed."""
    cancelled: list[str] = []

    async def handler(job: zqueue.Job) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(job.id)
            raise

    await queue.enqueue("x", id="x", timeout=TIMEOUT_S, retry=zqueue.Retry(1))

    async with working(zqueue.Worker(queue, handler)):
        error = await _is_dead(queue, "x")

    assert (error, cancelled) == (TOO_LONG, ["x"])


async def test_a_timeout_of_its_own_is_a_failure_like_any_other(queue: zqueue.Queue) -> None:
    """A TimeoutError that a handler raises itself keeps its words."""

    async def handler(job: zqueue.Job) -> None:
        raise TimeoutError("the far end")

    await queue.enqueue("x", id="x", timeout=60, retry=zqueue.Retry(1))

    await zqueue.Worker(queue, handler).run(burst=True)

    job = await queue.get("x")
    assert job is not None
    assert job.error == "TimeoutError: the far end"


async def test_a_timed_out_thread_keeps_its_slot(queue: zqueue.Queue) -> None:
    """A thread cannot be killed: its job is settled at the timeout, its slot is free once the thread ends."""
    let_go = threading.Event()
    ran: list[str] = []

    def handler(job: zqueue.Job) -> None:
        ran.append(job.id)
        if job.id == "stuck":
            let_go.wait()

    worker = zqueue.Worker(queue, handler, concurrency=1)
    async with working(worker):
        await queue.enqueue("x", id="stuck", timeout=TIMEOUT_S, retry=zqueue.Retry(1))
        assert await _is_dead(queue, "stuck") == TOO_LONG
        await queue.enqueue("x", id="next")
        claimed = worker.last_claim
        await asyncio.sleep(0.2)  # nothing must happen meanwhile
        waiting = await queue.get("next")
        assert waiting is not None
        assert (waiting.state, ran, worker.last_claim) == (zqueue.JobState.SCHEDULED, ["stuck"], claimed)

        let_go.set()
        await wait_until(lambda: ran == ["stuck", "next"])


@pytest.mark.parametrize("lease_s", [0.3])
async def test_cancelling_a_running_job_cancels_its_handler(
    queue: zqueue.Queue, lease_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled job is gone at once, its handler hears of it at the next renewal, and nothing is written for it."""
    heard = asyncio.Event()
    started = asyncio.Event()

    async def handler(job: zqueue.Job) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.set()
            raise

    await queue.enqueue("x", id="x")
    async with working(zqueue.Worker(queue, handler, lease=lease_s)):
        await started.wait()
        assert await queue.cancel("x") is True
        assert await queue.get("x") is None
        assert await queue.cancel("x") is False
        await asyncio.wait_for(heard.wait(), 10)

    stats = await queue.stats()
    assert (stats.scheduled, stats.leased, stats.dead) == (0, 0, 0)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the lease on job 'x' is lost; nothing was written; its handler is cancelled (gone)"
    ]


async def test_a_cancelled_job_may_be_enqueued_anew_while_its_handler_still_runs(queue: zqueue.Queue) -> None:
    """The late end of a cancelled run does not touch the new job of the same id."""
    release = asyncio.Event()
    runs: list[str] = []

    async def handler(job: zqueue.Job) -> None:
        runs.append(job.payload)
        if job.payload == "old":
            await release.wait()

    await queue.enqueue("old", id="x")
    async with working(zqueue.Worker(queue, handler, lease=60, concurrency=1)):
        await wait_until(lambda: runs == ["old"])
        await queue.cancel("x")
        assert (await queue.enqueue("new", id="x")).created
        release.set()
        await wait_until(lambda: runs == ["old", "new"])

    assert await queue.get("x") is None


async def test_timeouts_do_not_outlive_their_run(queue: zqueue.Queue) -> None:
    """A job that ends in time is not cancelled later, nor is the job after it in the same slot."""
    done: list[int] = []

    async def handler(job: zqueue.Job) -> None:
        await asyncio.sleep(job.payload)
        done.append(job.payload)

    first = zqueue.NewJob(0, timeout=timedelta(milliseconds=50))
    await queue.enqueue_many([first, zqueue.NewJob(0.1)])

    await zqueue.Worker(queue, handler, concurrency=1).run(burst=True)

    assert done == [0, 0.1]
