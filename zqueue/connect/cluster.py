"""A Cluster: the node that owns the slot of a key, as any of its nodes tells.

Redirections are not followed: a reply that redirects means that the map is old, or that a slot is on its way from one
node to another, during which a script with several keys cannot run anywhere. Either way the commands are sent again,
a little later, to the node that owns the slot then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot

from zqueue.connect.place import Dial, Endpoint, Guides
from zqueue.connect.trouble import NotReady


class Cluster:
    """The nodes of one Cluster.

    Args:
        seeds: Some of its nodes; the others are learnt from them.
    """

    moves = True

    def __init__(self, dial: Dial, seeds: Iterable[Endpoint]) -> None:
        self._dial = dial
        self._guides = Guides(dial, seeds)
        self._owners: dict[int, Endpoint] = {}

    async def locate(self, key: bytes | None) -> AbstractConnection:
        """A connection to the owner of the slot of *key*; without a key, to some master.

        Raises:
            NotReady: Nobody owns the slot.
            RedisError: No node answers, or it is no Cluster.
        """
        slot = key_slot(key or b"")
        owner = self._owners.get(slot)
        if owner is None:
            owner = await self._guides.ask(("CLUSTER", "SLOTS"), lambda reply, guide: self._learn(reply, guide, slot))
            self._owners[slot] = owner
        return self._dial(host=owner.host, port=owner.port)

    def forget(self, key: bytes | None) -> None:
        """Ask again who owns the slot of *key*."""
        self._owners.pop(key_slot(key or b""), None)

    def _learn(self, reply: list[Any], guide: Endpoint, slot: int) -> Endpoint:
        """The owner of *slot*, from ranges like ``[0, 5460, [host, port, id], ...]`` with the master first."""
        ranges = [(first, last, [endpoint_of(node, guide) for node in nodes]) for first, last, *nodes in reply]
        self._guides.know(node for _, _, nodes in ranges for node in nodes)
        for first, last, nodes in ranges:
            if first <= slot <= last:
                return nodes[0]
        raise NotReady(f"no node of the Cluster owns slot {slot}")


def endpoint_of(node: list[Any], guide: Endpoint) -> Endpoint:
    """A node's address; one that does not know its own is where it was asked, as the protocol has it."""
    host = (node[0] or b"").decode()
    return Endpoint(guide.host if host in ("", "?") else host, node[1])
