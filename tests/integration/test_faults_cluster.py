"""A Cluster, and servers behind sentinels, that lose a master, a replica, or a slot, while a queue is in use."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import unique_name
from tests.integration.load import Load
from tests.servers.cluster import ClusterServers
from tests.servers.node import Node, wait
from tests.servers.sentinel import SentinelServers
from zqueue import NotReplicated, Queue

pytestmark = pytest.mark.xdist_group("servers")

BOUND_S = 15.0
"""Work goes on this long after a failover at the latest."""


async def _survive(load: Load, kill: Callable[[], None], failed_over: Callable[[], bool]) -> None:
    """Kill a master under load, and hold the queue to its promise."""
    kill()
    await asyncio.to_thread(wait, failed_over, "a failover")
    took = await load.ran_again()
    print(f"work went on {took:.2f} s after the failover; the longest enqueue took {load.longest_s:.2f} s")
    assert took < BOUND_S
    await load.stop()
    assert load.failed == []
    assert load.acknowledged - load.runs.keys() == set()


def _is_master(node: Node) -> bool:
    return node.info("replication")["role"] == "master"


async def test_a_master_of_a_cluster_dies_under_load(cluster: ClusterServers) -> None:
    """Work goes on once its replica took over; no job that a replica was known to have is lost."""
    async with Queue(unique_name(), cluster.url, replicas=1) as queue, Load(queue) as load:
        master = cluster.owner(queue.shards[0].keys.wake)
        replica = cluster.replica_of(master)
        await _survive(load, master.kill, lambda: _is_master(replica))
        assert load.unsafe, "the new master has no replica yet"


async def test_a_master_behind_sentinels_dies_under_load(sentinel: SentinelServers) -> None:
    """Work goes on once the sentinels agreed on another one; no job that a replica was known to have is lost."""
    async with Queue(unique_name(), sentinel.url, replicas=1) as queue, Load(queue) as load:
        master = sentinel.master
        await _survive(load, master.kill, lambda: sentinel.master is not master)


@pytest.mark.parametrize("how", ["key by key", "at once"])
async def test_a_slot_moves_under_load(cluster: ClusterServers, how: str) -> None:
    """To another node and back: no caller hears of it, and every job runs, once."""
    async with Queue(unique_name(), cluster.url) as queue, Load(queue) as load:
        wake = queue.shards[0].keys.wake
        source = cluster.owner(wake)
        for target in (cluster.another_master(source), source):
            if how == "key by key":
                await asyncio.to_thread(cluster.migrate, wake, target)
            elif not await asyncio.to_thread(cluster.migrate_at_once, wake, target):
                pytest.skip("only Valkey 9 moves slots at once")
            assert cluster.owner(wake) is target
            print(f"a job ran {await load.ran_again():.2f} s after the slot had moved")
        await load.stop()
        print(f"the longest enqueue took {load.longest_s:.2f} s")
        assert load.failed + load.errors == []
        assert load.runs == Counter(load.acknowledged)


@pytest.mark.parametrize("where", ["cluster", "sentinel"])
async def test_a_frozen_replica(where: str, request: pytest.FixtureRequest) -> None:
    """The jobs are enqueued, and who asked for a replica hears that none has them; thawed, the same call is content."""
    servers: ClusterServers | SentinelServers = request.getfixturevalue(where)
    async with Queue(unique_name(), servers.url, replicas=1) as queue:
        await queue.enqueue("x", id="safe", delay=60)
        if isinstance(servers, ClusterServers):
            replicas = [servers.replica_of(servers.owner(queue.shards[0].keys.wake))]
        else:
            replicas = [node for node in servers.nodes if node is not servers.master]
        for replica in replicas:
            replica.freeze()
        await queue.stats()  # another connection, which wrote nothing: to it a replica would seem to have everything
        with pytest.raises(NotReplicated, match="the jobs are enqueued, but on 0 of 1 replicas"):
            await queue.enqueue("x", id="unsafe", delay=60)
        with pytest.raises(NotReplicated):
            await queue.enqueue("x", id="unsafe", delay=60)
        assert await queue.missing(["safe", "unsafe"]) == []
        for replica in replicas:
            replica.thaw()
        started = time.monotonic()
        job = await queue.enqueue("x", id="unsafe", delay=60)
        assert not job.created
        assert time.monotonic() - started < 5
