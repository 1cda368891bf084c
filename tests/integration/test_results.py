"""Awaiting what a handler returned: told by the server, through lost subscriptions and restarts, for many at once."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import zqueue
from tests.asking import ask_server, calls, until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue.embedded import Server

pytestmark = pytest.mark.xdist_group("servers")

KEPT = timedelta(minutes=1)
SOON_S = 1.0
"""Well under the 5 s after which a waiter looks again by itself."""


@pytest.fixture
async def queue(valkey: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue that keeps results."""
    async with zqueue.Queue(unique_name(), valkey.url, keep_done=KEPT) as fresh:
        yield fresh


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[zqueue.Queue]:
    """The same on a server of its own."""
    with Server(tmp_path / "valkey") as server:
        async with zqueue.Queue(unique_name(), server.url, keep_done=KEPT) as fresh:
            yield fresh


async def handler(job: zqueue.Job) -> Any:
    """Return the payload, but for a few words."""
    if job.payload == "fail":
        raise ValueError("no luck")
    if job.payload == "bury":
        raise zqueue.Bury("enough")
    return job.payload


async def subscribed(queue: zqueue.Queue) -> bool:
    """Whether somebody listens to the endings of the queue."""
    _channel, count = await ask_server(queue, "PUBSUB", "NUMSUB", queue.shards[0].keys.ended)
    return bool(count)


@pytest.mark.parametrize("value", [None, 0, False, "", [], {"a": [1, None, "é"]}, 1.5, "x" * 10_000])
async def test_what_a_handler_returns_is_the_result(queue: zqueue.Queue, value: object) -> None:
    """Anything JSON can carry, of a job that has ended already or ends later; `get` shows it too."""
    job = await queue.enqueue(value)
    waiting = asyncio.create_task(job.result(timeout=10))
    async with working(zqueue.Worker(queue, handler)):
        assert await waiting == value
    assert await queue.result(job.id) == value
    record = await queue.get(job.id)
    assert record is not None
    assert (record.state, record.result, record.attempts) == (zqueue.JobState.DONE, value, 0)


async def test_a_result_comes_without_being_asked_for(alone: zqueue.Queue) -> None:
    """While a job runs its waiter asks nothing, and hears of the end at once."""
    go_on = asyncio.Event()

    async def slow(job: zqueue.Job) -> float:
        await go_on.wait()
        return time.monotonic()

    async with working(zqueue.Worker(alone, slow)):
        job = await alone.enqueue(0)
        waiting = asyncio.create_task(job.result(timeout=20))
        await until(lambda: subscribed(alone))
        await asyncio.sleep(0.2)  # the second look, after the subscription
        before = (await calls(alone))["evalsha"]
        await asyncio.sleep(1.5)
        asked = (await calls(alone))["evalsha"] - before
        go_on.set()
        ended = await waiting
    assert time.monotonic() - ended < SOON_S
    assert asked <= 1, "a renewal perhaps, no look at the job"


async def test_many_waiters(queue: zqueue.Queue) -> None:
    """300 jobs with two waiters each: all hear, each the right one, over one subscription; nothing is left after."""
    async with working(zqueue.Worker(queue, handler)):
        jobs = await queue.enqueue_many([zqueue.NewJob(number, delay=0.01 * (number % 20)) for number in range(300)])
        results = await asyncio.gather(*(job.result(timeout=20) for job in [*jobs, *jobs]))
        _channel, count = await ask_server(queue, "PUBSUB", "NUMSUB", queue.shards[0].keys.ended)
    assert results == [*range(300), *range(300)]
    assert count == 1
    assert queue.connections().endings[0]._awaited == {}


async def test_a_lost_subscription_is_made_anew(alone: zqueue.Queue) -> None:
    """The subscriber is thrown out, again and again; what ends meanwhile is heard of at once when it is back."""
    let_go: dict[str, asyncio.Event] = {f"{n}": asyncio.Event() for n in range(3)}

    async def slow(job: zqueue.Job) -> str:
        await let_go[job.id].wait()
        return job.id

    async with working(zqueue.Worker(alone, slow)):
        for job_id, event in let_go.items():
            job = await alone.enqueue(0, id=job_id)
            waiting = asyncio.create_task(job.result(timeout=20))
            await until(lambda: subscribed(alone))
            await ask_server(alone, "CLIENT", "KILL", "TYPE", "pubsub")
            event.set()
            began = time.monotonic()
            assert await waiting == job_id
            assert time.monotonic() - began < 2 * SOON_S


async def test_a_restarted_server_tells_as_well(tmp_path: Path) -> None:
    """A server restarted under a waiter: it hears of what ends afterwards, and of what ended before it was back."""
    let_go: dict[str, asyncio.Event] = {f"{n}": asyncio.Event() for n in range(2)}

    async def slow(job: zqueue.Job) -> str:
        await let_go[job.id].wait()
        return job.id

    server = Server(tmp_path / "valkey")
    with server:
        async with (
            zqueue.Queue(unique_name(), f"unix://{server.socket}", keep_done=KEPT) as queue,
            working(zqueue.Worker(queue, slow)),
        ):
            jobs = [await queue.enqueue(0, id=job_id) for job_id in let_go]
            waiting = [asyncio.create_task(job.result(timeout=30)) for job in jobs]
            await until(lambda: subscribed(queue))
            await asyncio.to_thread(server.stop)
            let_go["0"].set()
            await asyncio.to_thread(server.ensure)
            assert await waiting[0] == "0"
            let_go["1"].set()
            assert await waiting[1] == "1"


@pytest.mark.parametrize("word", ["fail", "bury"])
async def test_a_dead_job_has_failed(queue: zqueue.Queue, word: str) -> None:
    """Its waiter hears of it as soon as it is dead, and why; so does who asks later."""
    (job,) = await queue.enqueue_many([zqueue.NewJob(word, retry=zqueue.Retry(1))])
    waiting = asyncio.create_task(job.result(timeout=10))
    reason = {"fail": "ValueError: no luck", "bury": "enough"}[word]
    async with working(zqueue.Worker(queue, handler)):
        for each in (waiting, job.result()):
            with pytest.raises(zqueue.JobFailed) as caught:
                await each
            assert (caught.value.job_id, caught.value.error) == (job.id, reason)
            assert str(caught.value) == f"job {job.id!r} is dead: {reason}"


async def test_poison_has_failed_for_its_waiter(queue: zqueue.Queue) -> None:
    """A job that a claim buries is known to be dead within the time after which a waiter looks again."""
    job = await queue.enqueue(0)
    shard = queue.shards[0]
    claim = shard.commands.claim(1, 1000, "ab", 1, solo_ok=True, worker="", kept=queue.kept)
    await queue.ask(shard, claim)
    waiting = asyncio.create_task(job.result(timeout=20))
    async with working(zqueue.Worker(queue, handler, max_deliveries=1)):
        with pytest.raises(zqueue.JobFailed, match="poison"):
            await waiting


async def test_what_is_not_kept_is_not_awaited(valkey: Server) -> None:
    """Without keep_done a waiter hears at once that it would wait in vain; a job's own goes before the queue's."""
    async with zqueue.Queue(unique_name(), valkey.url) as queue:
        job = await queue.enqueue(1, delay=3600)
        with pytest.raises(zqueue.ResultNotKept, match=rf"^job {job.id!r} keeps no result: give it"):
            await job.result()
        with pytest.raises(zqueue.ResultNotKept):
            await queue.result("none")
        (kept,) = await queue.enqueue_many([zqueue.NewJob(2, keep_done=60)])
        waiting = asyncio.create_task(kept.result(timeout=10))
        await zqueue.Worker(queue, handler).run(burst=True)
        assert await waiting == 2


async def test_a_job_that_is_not_there(queue: zqueue.Queue) -> None:
    """Asked for a job that never was, or that is cancelled while it is awaited, a waiter is told."""
    with pytest.raises(zqueue.JobNotFound, match=r"^no job 'none'$"):
        await queue.result("none")
    job = await queue.enqueue(1, delay=3600)
    waiting = asyncio.create_task(job.result(timeout=20))
    await until(lambda: subscribed(queue))
    await queue.cancel(job.id)
    with pytest.raises(zqueue.JobNotFound):
        await waiting


async def test_a_timeout(queue: zqueue.Queue, caplog: pytest.LogCaptureFixture) -> None:
    """Who waits no longer than so long hears that the job has not ended, and leaves nothing behind."""
    job = await queue.enqueue(1, delay=3600)
    for timeout in (0.05, timedelta(milliseconds=50), 0):
        with pytest.raises(TimeoutError, match=rf"^job {job.id!r} has not ended within 0(\.05)? s$"):
            await job.result(timeout)
    assert queue.connections().endings[0]._awaited == {}
    for bad in (-1, "soon", float("nan")):
        with pytest.raises(zqueue.InvalidJob, match=r"^timeout must be"):
            await job.result(bad)  # type: ignore[arg-type]
    await queue.close()
    gc.collect()
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_waiter_that_gives_up_hinders_no_other(queue: zqueue.Queue) -> None:
    """One of two waiters for a job is cancelled; the other one hears."""
    job = await queue.enqueue(5, delay=0.3)
    quitter, other = (asyncio.create_task(job.result(timeout=20)) for _ in range(2))
    async with working(zqueue.Worker(queue, handler)):
        await asyncio.sleep(0.05)
        quitter.cancel()
        assert await other == 5
    assert quitter.cancelled()


async def test_kept_results_are_bounded_by_age_and_count(valkey: Server) -> None:
    """A result is kept for keep_done, and no more than keep_max of them."""
    async with zqueue.Queue(unique_name(), valkey.url, keep_done=0.4, keep_max=5) as queue:
        jobs = await queue.enqueue_many([zqueue.NewJob(n) for n in range(20)])
        worker = zqueue.Worker(queue, handler, concurrency=2)
        await worker.run(burst=True)
        done = await queue.jobs(zqueue.JobState.DONE)
        assert len(done) == 5
        assert {job.id for job in done} <= {job.id for job in jobs[10:]}
        with pytest.raises(zqueue.JobNotFound):
            await jobs[0].result()
        await asyncio.sleep(0.4)
        await queue.enqueue(99, id="last")
        await worker.run(burst=True)
        assert [job.id for job in await queue.jobs(zqueue.JobState.DONE)] == ["last"]


async def test_a_result_that_cannot_be_kept(valkey: Server) -> None:
    """A result over the limit, or that JSON cannot carry, fails the attempt; of a job that keeps none it is nothing."""

    async def handler(job: zqueue.Job) -> Any:
        return {"big": "x" * 200, "odd": object(), "fine": "ok"}[job.payload]

    async with zqueue.Queue(unique_name(), valkey.url, max_payload=100, retry=zqueue.Retry(1)) as queue:
        jobs = [
            zqueue.NewJob(word, id=f"{word}-{keep}", keep_done=keep)
            for word in ("big", "odd", "fine")
            for keep in (0, 9)
        ]
        await queue.enqueue_many(jobs)
        await zqueue.Worker(queue, handler).run(burst=True)
        dead = {job.id: str(job.error) for job in await queue.jobs(zqueue.JobState.DEAD)}
        assert sorted(dead) == ["big-9", "odd-9"]
        assert "the result of 202 bytes is over the limit of 100" in dead["big-9"]
        assert "the result is not JSON" in dead["odd-9"]
        assert await queue.result("fine-9") == "ok"


async def test_progress_is_shown_and_fenced(queue: zqueue.Queue) -> None:
    """What a handler says of itself is seen while it runs, goes with its run, and is refused once the job is gone."""
    said: list[Any] = []
    go_on = asyncio.Event()

    async def handler(job: zqueue.Job) -> str:
        await job.progress({"percent": 50})
        said.append(1)
        await go_on.wait()
        try:
            await job.progress("too late")
        except zqueue.LeaseLost as lost:
            said.append(lost.job_id)
        return "done"

    job = await queue.enqueue(0, id="x")
    async with working(zqueue.Worker(queue, handler, lease=60)):
        await wait_until(lambda: said == [1])
        record = await queue.get("x")
        assert record is not None
        assert (record.state, record.progress) == (zqueue.JobState.LEASED, {"percent": 50})
        await queue.cancel("x")
        go_on.set()
        await wait_until(lambda: said == [1, "x"])
    assert await queue.get(job.id) is None
    with pytest.raises(zqueue.ZQueueError, match="progress is for its handler"):
        await job.progress(1)
