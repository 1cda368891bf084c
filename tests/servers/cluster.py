"""A Cluster of three masters and three replicas."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import hiredis
import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tests.servers.node import PLAIN, Node, free_ports, wait

MASTERS: Final = 3
NODE_TIMEOUT_MS: Final = 2500
"""After so long without an answer a master is replaced."""
_KEY_S: Final = 0.05
"""How long a key is on its way, as large ones are."""
_OPTIONS: Final = (
    *(
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        "nodes.conf",
        "--cluster-node-timeout",
        str(NODE_TIMEOUT_MS),
    ),
    *("--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"),
)


class Member(NamedTuple):
    """A node as another one sees it.

    Attributes:
        master: The id of its master; empty when it is one.
    """

    id: str
    port: int
    flags: frozenset[str]
    master: str
    slots: frozenset[int]


class ClusterServers:
    """The nodes, as a context: started, joined, and ended with it."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(2 * MASTERS)
        self.nodes = [Node(folder / str(port), port, (*PLAIN, *_OPTIONS)) for port in ports]

    @property
    def url(self) -> str:
        """What to give to a Queue: two of the nodes, the others are learnt."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    @property
    def socket(self) -> Path:
        """There is none: a test that needs one server's is skipped."""
        pytest.skip("this test handles its server")

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End them all."""
        for node in self.nodes:
            node.kill()

    def owner(self, key: bytes) -> Node:
        """The master that has a key."""
        slot = key_slot(key)
        (port,) = (member.port for member in self.members() if slot in member.slots and "fail" not in member.flags)
        return self._node(port)

    def replica_of(self, master: Node) -> Node:
        """The replica of a master."""
        members = self.members()
        (number,) = (member.id for member in members if member.port == master.port)
        return self._node(next(member.port for member in members if member.master == number))

    def another_master(self, than: Node) -> Node:
        """A master that is not this one."""
        return next(node for node in self._masters() if node is not than)

    def heal(self) -> None:
        """Thaw and restart what a test froze and killed; returns when every slot has a master with a replica."""
        for node in self.nodes:
            node.thaw()
            node.start()
        wait(self._is_healthy, "a healthy Cluster")

    def migrate(self, key: bytes, target: Node) -> None:
        """Move the slot of *key* with what is in it, key by key and slowly, while everybody goes on using it."""
        slot, source = key_slot(key), self.owner(key)
        target_id, source_id = target.ask("CLUSTER", "MYID"), source.ask("CLUSTER", "MYID")
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            time.sleep(_KEY_S)
        others = [node for node in self._masters() if node not in (target, source)]
        for node in (target, source, *others):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def migrate_at_once(self, key: bytes, target: Node) -> bool:
        """Move the slot of *key* as Valkey 9 does: copied aside, then handed over in one moment.

        Returns:
            False when the servers cannot do so.
        """
        slot, source = key_slot(key), self.owner(key)
        try:
            source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.ask("CLUSTER", "MYID"))
        except hiredis.ReplyError as error:
            if "unknown subcommand" not in str(error).lower():
                raise
            return False
        wait(lambda: all(self._port_of(slot, node) == target.port for node in self._masters()), "a slot that moved")
        return True

    def members(self) -> list[Member]:
        """All nodes, as one that answers sees them."""
        for node in self.nodes:
            if node.alive and not node.frozen and (members := _members(node)) is not None:
                return members
        raise AssertionError("no node answers")

    def _port_of(self, slot: int, witness: Node) -> int | None:
        return next((each.port for each in _members(witness) or () if slot in each.slots), None)

    def _masters(self) -> list[Node]:
        members = self.members()
        return [self._node(each.port) for each in members if "master" in each.flags and "fail" not in each.flags]

    def _node(self, port: int) -> Node:
        return next(node for node in self.nodes if node.port == port)

    def _join(self) -> None:
        masters, replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]
        bounds = [REDIS_CLUSTER_HASH_SLOTS * n // MASTERS for n in range(MASTERS + 1)]
        for n, node in enumerate(masters):
            node.ask("CLUSTER", "ADDSLOTS", *range(bounds[n], bounds[n + 1]))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port)
        wait(lambda: all(len(_members(node) or ()) == len(self.nodes) for node in self.nodes), "all nodes have met")
        for master, replica in zip(masters, replicas, strict=True):
            replica.ask("CLUSTER", "REPLICATE", master.ask("CLUSTER", "MYID"))
        wait(self._is_healthy, "a healthy Cluster")

    def _is_healthy(self) -> bool:
        for node in self.nodes:
            members = _members(node)
            if members is None or any("fail" in flag for member in members for flag in member.flags):
                return False
            masters = {member.id for member in members if member.slots}
            if {member.master for member in members if member.master} != masters:
                return False
            if "cluster_state:ok" not in node.ask("CLUSTER", "INFO"):
                return False
            if node.info("replication").get("master_link_status", "up") != "up":
                return False
        return True


def _members(node: Node) -> list[Member] | None:
    """What a node says of all; None when it does not answer."""
    try:
        lines = node.ask("CLUSTER", "NODES").splitlines()
    except OSError:
        return None
    members = []
    for line in lines:
        number, place, flags, master, _ping, _pong, _epoch, _state, *ranges = line.split()
        slots: set[int] = set()
        for each in ranges:
            if not each.startswith("["):  # a slot on its way
                first, _, last = each.partition("-")
                slots.update(range(int(first), int(last or first) + 1))
        port = int(place.split("@")[0].rpartition(":")[2])
        members.append(Member(number, port, frozenset(flags.split(",")), master.strip("-"), frozenset(slots)))
    return members
