"""What users of other queues complain of, about workers that die, hang or leave. See `docs/features.md`."""

from __future__ import annotations

import asyncio

import zqueue
from tests.conftest import unique_name, wait_until
from tests.integration.script_bench import Bench
from tests.integration.working import working
from tests.proxy import Fault, Proxy, at
from zqueue.connect import Link
from zqueue.embedded import Server
from zqueue.shards import Shard


class Impatient(zqueue.Queue):
    """A queue whose workers wait half a second for an answer, and not ten."""

    def link(self, shard: Shard, *, timeout: float | None = None) -> Link:
        """A connection of one's own to a shard's server."""
        return super().link(shard, timeout=0.5 if timeout is None else timeout)


async def test_a_silent_server_does_not_hang_a_worker(valkey: Server) -> None:
    """A master that takes a worker's claim and never answers: `last_claim` stands still, until another line works."""
    ran: list[str] = []
    async with Proxy(valkey) as proxy, Impatient(unique_name(), proxy.url) as far:
        worker = zqueue.Worker(far, lambda job: ran.append(job.id), lease=2)
        async with working(worker), zqueue.Queue(far.name, valkey.url) as near:
            await wait_until(lambda: worker.last_claim is not None)
            proxy.plan = at("claim", [1, 2], Fault.BLACKHOLE)
            await near.enqueue(0, id="x")
            await wait_until(lambda: proxy.faults == 1)
            stood, runs = worker.last_claim, list(ran)
            await wait_until(lambda: proxy.faults == 2)
            assert (worker.last_claim, runs) == (stood, [])
            await wait_until(lambda: ran == ["x"])
            assert worker.last_claim != stood


async def test_recovery_leaves_alone_what_has_ended(bench: Bench) -> None:
    """A run that ends after its lease, but before anybody else came, has ended: the next claim does not revive it."""
    await bench.put("a", "b")
    assert await bench.claim_ids() == ["a", "b"]
    bench.advance(3600)
    assert await bench.settle("a", verb="ack", delay=60, text="1") == ["ok"]
    assert await bench.settle("b", verb="bury", text="no") == ["ok"]
    ended = await bench.state()
    assert await bench.claim_ids(token="beef") == []
    assert await bench.state() == ended
    assert (ended["done"], ended["dead"]) == ({"a": 3600_000_000}, {"b": 3600_000_000})


async def test_whoever_rescues_a_job_may_die_too(bench: Bench) -> None:
    """Five workers die with a job, one after the other: each time the next one gets it when that lease ends."""
    await bench.put("a")
    for death in range(5):
        assert await bench.claim_ids(token=f"{death:04x}", most=10) == ["a"]
        bench.advance(9.9)
        assert await bench.claim_ids(token="beef", most=10) == []
        bench.advance(0.1)
    assert (await bench.state()).keys() == {"leased", "jobs", "claims", "wake"}, "no lock, and no list of the dead"


async def test_what_ends_while_its_worker_leaves_is_kept(valkey: Server) -> None:
    """A job that ends during the drain, leases after the worker was told to stop, has run once and has its result."""
    go_on, runs = asyncio.Event(), []

    async def handle(job: zqueue.Job) -> str:
        runs.append(job.deliveries)
        await go_on.wait()
        return "made it"

    async with zqueue.Queue(unique_name(), valkey.url, keep_done=60) as queue:
        job = await queue.enqueue(0)
        worker = zqueue.Worker(queue, handle, lease=0.2)
        leaving = asyncio.create_task(worker.run())
        await wait_until(lambda: runs == [1])
        worker.stop()
        async with working(zqueue.Worker(queue, handle, lease=0.2)):  # would take the job if its lease ended
            await asyncio.wait([leaving], timeout=0.8)
            assert not leaving.done()
            go_on.set()
            assert await job.result(timeout=10) == "made it"
            await asyncio.wait_for(leaving, 10)
    assert runs == [1]
