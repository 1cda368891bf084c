"""A queue of three shards, each on another node of a Cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from tests.servers.cluster import ClusterServers
from zqueue import Job, NewJob, Queue, Worker
from zqueue.keys import ORDER

pytestmark = pytest.mark.xdist_group("servers")


def _spread(cluster: ClusterServers) -> Queue:
    """A queue, whose name hashes to three nodes."""
    while True:
        queue = Queue(unique_name(), cluster.url, shards=3)
        if len({cluster.owner(shard.keys.wake).port for shard in queue.shards}) == 3:
            return queue


async def test_each_node_has_its_share(cluster: ClusterServers) -> None:
    """Jobs of one batch lie on all three nodes, in keys of one hash tag each; one worker runs them all, each once."""
    ran: list[str] = []

    async def handler(job: Job[Any]) -> None:
        ran.append(job.id)

    async with _spread(cluster) as queue:
        jobs = await queue.enqueue_many(NewJob(n) for n in range(300))
        hashes = [shard.keys.all[ORDER.index("jobs")] for shard in queue.shards]
        shares = [cluster.owner(key).ask("HLEN", key) for key in hashes]
        assert sum(shares) == 300
        assert min(shares) > 50
        async with working(Worker(queue, handler)):
            await wait_until(lambda: len(ran) >= 300)
        assert sorted(ran) == sorted(job.id for job in jobs)


async def test_a_dead_node_holds_up_no_other(cluster: ClusterServers) -> None:
    """While the master of one shard is dead, the jobs of the others are enqueued and run; then its own are too."""
    ran: set[str] = set()

    async def handler(job: Job[Any]) -> None:
        ran.add(job.id)

    async with _spread(cluster) as queue, working(Worker(queue, handler)):
        ids = {queue.shard(f"{n}").index: f"{n}" for n in range(50)}
        for each in ids.values():
            await queue.enqueue("warm", id=each)
        await wait_until(lambda: len(ran) == 3)
        ran.clear()
        cluster.owner(queue.shards[0].keys.wake).kill()
        held_up = asyncio.create_task(queue.enqueue("held up", id=ids[0]))
        for index in (1, 2):
            await queue.enqueue("not held up", id=ids[index])
        await wait_until(lambda: ran == {ids[1], ids[2]})
        assert not held_up.done(), "the failover takes longer than all of this"
        await held_up
        await wait_until(lambda: ids[0] in ran, timeout=20)
