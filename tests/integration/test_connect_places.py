"""Finding the server: by asking the nodes of a Cluster, by asking sentinels, and when one of them does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest

from tests.conftest import unique_name
from tests.queue_state import command
from tests.servers.cluster import ClusterServers
from tests.servers.sentinel import SentinelServers
from zqueue.connect import Address, Link, LinkLost, is_refusal
from zqueue.connect.place import HOP_S

pytestmark = pytest.mark.xdist_group("servers")

Connect = Callable[..., Link]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`connect(url, key=...)`: a link of the test's own."""
    async with contextlib.AsyncExitStack() as stack:

        def one(url: str, key: bytes | None = None) -> Link:
            link = Link(Address(url), key=key)
            stack.push_async_callback(link.close)
            return link

        yield one


async def _port(link: Link) -> int:
    """Which server a link leads to."""
    _name, port = await command(link, "CONFIG", "GET", "port")
    return int(port)


async def _until_it_answers(link: Link, *words: str | bytes) -> list[LinkLost]:
    """Send until there is an answer, 20 s at most; what was lost meanwhile."""
    losses = []
    async with asyncio.timeout(20):
        while True:
            try:
                await link.send(words)
            except LinkLost as lost:
                losses.append(lost)
            else:
                return losses
            await asyncio.sleep(0.05)


async def test_a_key_leads_to_its_node(cluster: ClusterServers, connect: Connect) -> None:
    """In a Cluster each link is at the master that owns its key, whatever the seed; without a key at some master."""
    keys = [b"{%d}" % n for n in range(12)]
    links = [connect(cluster.url, key) for key in keys]
    assert [await _port(link) for link in links] == [cluster.owner(key).port for key in keys]
    assert len({await _port(link) for link in links}) == 3
    assert (await command(connect(cluster.url), "ROLE"))[0] == b"master"
    replica = cluster.replica_of(cluster.owner(keys[0]))
    assert await _port(connect(f"redis+cluster://127.0.0.1:{replica.port}", keys[0])) == cluster.owner(keys[0]).port


async def test_a_slot_that_moved(cluster: ClusterServers, connect: Connect) -> None:
    """MOVED is a refusal in the place of the reply; the next send goes to the new owner."""
    key = b"{%s}" % unique_name().encode()
    link = connect(cluster.url, key)
    assert await link.send(("SET", key, "1")) == [b"OK"]
    source = cluster.owner(key)
    target = cluster.another_master(source)
    await asyncio.to_thread(cluster.migrate, key, target)
    (moved,) = await link.send(("GET", key))
    assert is_refusal(moved)
    assert link.client_id is None
    assert await link.send(("GET", key)) == [b"1"]
    assert await _port(link) == target.port


async def test_a_slot_on_its_way(cluster: ClusterServers, connect: Connect) -> None:
    """Between two nodes a key that is not there yet is refused with ASK, several keys with TRYAGAIN, by their owner."""
    name = unique_name()
    here, gone = (f"{{{name}}}{each}".encode() for each in "ab")
    link = connect(cluster.url, here)
    await link.send(("SET", here, "1"))
    source = cluster.owner(here)
    target = cluster.another_master(source)
    slot = source.ask("CLUSTER", "KEYSLOT", here)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
    try:
        (ask,) = await link.send(("GET", gone))
        (try_again,) = await link.send(("MGET", here, gone))
        assert (is_refusal(ask), is_refusal(try_again)) == (True, True)
        assert await link.send(("GET", here)) == [b"1"]
    finally:
        source.ask("CLUSTER", "SETSLOT", slot, "STABLE")
    assert await link.send(("GET", gone)) == [None]


async def test_a_killed_master_of_a_cluster(cluster: ClusterServers, connect: Connect) -> None:
    """Until its replica takes over nothing is sent, and it is worth waiting; then the link leads to the replica."""
    key = b"{%s}" % unique_name().encode()
    link = connect(cluster.url, key)
    await link.send(("SET", key, "1"))
    master = cluster.owner(key)
    replica = cluster.replica_of(master)
    assert await command(link, "WAIT", 1, 5000) == 1
    master.kill()
    losses = await _until_it_answers(link, "GET", key)
    assert (losses[0].sent, losses[0].refused) == (True, False), "the broken connection"
    assert {(each.sent, each.refused) for each in losses[1:]} == {(False, True)}
    assert await link.send(("GET", key)) == [b"1"]
    assert await _port(link) == replica.port


async def test_a_killed_master_behind_sentinels(sentinel: SentinelServers, connect: Connect) -> None:
    """The sentinels still name the dead master: nothing is sent. Then they name another one."""
    link = connect(sentinel.url)
    master = sentinel.master
    assert await _port(link) == master.port
    master.kill()
    losses = await _until_it_answers(link, "PING")
    assert (losses[0].sent, losses[0].refused) == (True, False), "the broken connection"
    assert {(each.sent, each.refused) for each in losses[1:]} == {(False, True)}
    assert await _port(link) == sentinel.master.port != master.port


async def test_a_frozen_guide_costs_a_moment(
    cluster: ClusterServers, sentinel: SentinelServers, connect: Connect
) -> None:
    """A node or a sentinel that takes the connection and does not answer: the next one is asked."""
    key = b"{%s}" % unique_name().encode()
    frozen = cluster.replica_of(cluster.owner(key))
    frozen.freeze()
    sentinel.sentinels[0].freeze()
    started = time.monotonic()
    link = connect(f"redis+cluster://127.0.0.1:{frozen.port},127.0.0.1:{cluster.owner(key).port}", key)
    assert await _port(link) == cluster.owner(key).port
    assert await command(connect(sentinel.url), "PING") == b"PONG"
    assert 2 * HOP_S <= time.monotonic() - started < 2 * HOP_S + 3


async def test_a_frozen_master_is_left_soon(sentinel: SentinelServers, connect: Connect) -> None:
    """A new connection to a master that does not answer is given up early, as not ready."""
    sentinel.master.freeze()
    started = time.monotonic()
    with pytest.raises(LinkLost, match=r"the master does not answer within 1\.5 s; the call had no effect") as caught:
        await connect(sentinel.url).send(("PING",))
    assert caught.value.refused
    assert time.monotonic() - started < HOP_S + 1.5


async def test_nobody_to_ask(connect: Connect) -> None:
    """Where no node and no sentinel answers at all, no failover is coming: told at once, and as no refusal."""
    for url in ("redis+cluster://127.0.0.1:1,127.0.0.1:2", "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main"):
        with pytest.raises(LinkLost, match=r"is unavailable: .*[Cc]onnect") as caught:
            await connect(url).send(("PING",))
        assert (caught.value.sent, caught.value.refused) == (False, False)


async def test_urls_of_another_topology(cluster: ClusterServers, sentinel: SentinelServers, connect: Connect) -> None:
    """A node of a Cluster, a server of none, no sentinel, another name, a password: the message says which it is."""
    node = cluster.another_master(cluster.owner(b"x")).port
    for url, words in (
        (f"redis://127.0.0.1:{node}", r"is a node of a Cluster, whose URL starts with redis\+cluster://"),
        (f"redis+cluster://:data-secret@127.0.0.1:{sentinel.master.port}", "cluster support disabled"),
        (f"redis+sentinel://127.0.0.1:{node}/main", "unknown command"),
        (sentinel.url.replace("/main/", "/other/"), "knows no master named 'other'"),
        (sentinel.url.replace("guard-secret", "wrong-secret"), "invalid username-password pair"),
        (sentinel.url.replace("data-secret", "wrong-secret"), "invalid username-password pair"),
    ):
        with pytest.raises(LinkLost, match=words) as caught:
            await connect(url).send(("GET", "x"))
        assert (caught.value.sent, caught.value.refused) == (False, False)
        assert "secret" not in str(caught.value)
