"""The producer when the connection breaks: a call takes effect once, and every caller hears what became of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import unique_name
from tests.integration.conftest import StartServer
from tests.proxy import Fault, Proxy, Request, at, seeded
from tests.queue_state import command
from zqueue import Job, JobRecord, JobState, NewJob, Queue, QueueUnavailable
from zqueue.connect import Address, Link
from zqueue.embedded import Server


async def _ids(queue: Queue) -> list[str]:
    return [job.id for job in await queue.jobs(JobState.SCHEDULED, limit=1000)]


@pytest.mark.parametrize("fault", [Fault.CUT_REPLY, Fault.CUT_REQUEST])
async def test_an_enqueue_whose_reply_is_cut_takes_effect_once(valkey: Server, fault: Fault) -> None:
    """It is sent again with its nonce; the answer is the first one's: the job was created."""
    async with Proxy(valkey, at("enqueue", (1, 2, 3), fault)) as proxy, Queue(unique_name(), proxy.url) as queue:
        job = await queue.enqueue("x", id="a", delay=60)
        assert job.created
        assert len(set(proxy.seen("enqueue"))) == 1, "the same call, four times"
        assert proxy.faults == 3
        assert await queue.get("a") == JobRecord("a", "x", due_us=job.due_us, score_us=job.due_us)


async def test_a_job_that_finished_before_the_call_was_repeated(valkey: Server) -> None:
    """The reply is lost, the job runs and is gone, the call is sent again: the job does not run again."""
    async with Proxy(valkey) as proxy, Queue(unique_name(), proxy.url) as queue:
        direct = Queue(queue.name, valkey.url)
        cut = at("enqueue", (1,), Fault.CUT_REPLY)

        def plan(request: Request) -> Fault | float | None:
            return cut(request) or (0.1 if "enqueue" in request.names else None)  # the repetition is slow

        proxy.plan = plan
        enqueued = asyncio.create_task(queue.enqueue("x", id="a"))
        async with asyncio.timeout(10), direct:
            while not await direct.cancel("a"):  # noqa: ASYNC110 - it has to be asked
                await asyncio.sleep(0)
            job = await enqueued
            assert job.created
            assert await direct.get("a") is None


async def test_a_reply_that_never_comes(valkey: Server) -> None:
    """Cut every time, the call fails in the end, says that it may have taken effect, and has taken it once."""
    async with (
        Proxy(valkey, at("enqueue", range(1, 6), Fault.CUT_REPLY)) as proxy,
        Queue(unique_name(), proxy.url) as queue,
    ):
        with pytest.raises(QueueUnavailable, match=r"the call may have taken effect$"):
            await queue.enqueue("x", id="a", delay=60)
        assert await _ids(queue) == ["a"]
        assert not (await queue.enqueue("x", id="a")).created, "repeating is safe"


async def test_many_batches_over_a_bad_line(valkey: Server) -> None:
    """Two thousand jobs, every third round trip cut before or after the script ran: each is there, each once."""
    faults = (Fault.CUT_REPLY, Fault.CUT_REQUEST)
    async with (
        Proxy(valkey, seeded(7, 0.33, faults, frozenset({"enqueue"}))) as proxy,
        Queue(unique_name(), proxy.url) as queue,
    ):
        jobs: list[Job] = []
        for n in range(0, 2000, 100):
            made = await queue.enqueue_many([NewJob(1, id=f"{m:04}", delay=60) for m in range(n, n + 100)])
            jobs += made
        assert proxy.faults > 3
        assert all(job.created for job in jobs)
        assert (await queue.stats()).scheduled == 2000


async def test_every_caller_of_a_lost_batch_hears_of_it(start_server: StartServer) -> None:
    """A server that is gone fails all who wait, at once, and those who come later when they come; then it is back."""
    server = start_server()
    async with Queue("q", f"unix://{server.socket}") as queue:
        await queue.enqueue("connect", delay=60)
        server.stop()
        calls = (queue.enqueue(n, id=f"{n}", delay=60) for n in range(300))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each).__mro__[1] for each in answers} == {QueueUnavailable}
        with pytest.raises(QueueUnavailable, match="is unavailable"):
            await queue.enqueue_many([NewJob(1) for _ in range(250)])
        server.ensure()
        assert (await queue.enqueue(0, id="0", delay=60)).created


async def test_a_refused_chunk_fails_its_own_callers(start_server: StartServer) -> None:
    """What the server refuses fails those whose jobs it was, with the server's words."""
    server = start_server()
    link = Link(Address(server.url))
    async with Queue("q", server.url) as queue:
        await queue.enqueue(1, id="a", delay=60)
        await command(link, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(QueueUnavailable, match="'maxmemory'"):
            await queue.enqueue_many([NewJob(1) for _ in range(250)])
        await command(link, "CONFIG", "SET", "maxmemory", "0")
        assert await _ids(queue) == ["a"]
    await link.close()


async def test_a_sender_that_is_cancelled_leaves_nobody_waiting(queue: Queue) -> None:
    """When a loop is taken down its tasks are cancelled: whoever waits for the sender is cancelled with it."""
    await queue.enqueue("connect", delay=60)
    producer = queue.connections().producers[0]
    caller = asyncio.create_task(queue.enqueue(1, delay=60))
    for _ in range(3):  # the caller hands its job over, and the sender takes it up
        await asyncio.sleep(0)
    assert producer._sender is not None
    assert not producer._waiting
    producer._sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (await queue.enqueue(2, delay=60)).created
