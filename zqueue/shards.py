"""The parts over which a queue's jobs are spread, and the connections of one event loop to them."""

from __future__ import annotations

import asyncio
import re
import zlib
from dataclasses import dataclass
from typing import Final

from zqueue.clock import ServerClock
from zqueue.commands import Commands
from zqueue.connect import Address, Link, Links
from zqueue.endings import Endings
from zqueue.keys import Keys
from zqueue.producer import Durability, Producer

_FIRED: Final = re.compile(r"(.+?)(@\d{4}-\d\d-\d\dT[\d:.]+Z)+", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a queue: its keys, which a Cluster keeps on one node, and the calls on them."""

    index: int
    keys: Keys
    commands: Commands


def shard_of(name: str, shards: int) -> int:
    """The shard of a job, or of a schedule; the jobs that a schedule makes (NAME@SLOT) are where it is."""
    if shards == 1:
        return 0
    fired = _FIRED.fullmatch(name)
    return zlib.crc32((fired[1] if fired else name).encode("utf-8", "replace")) % shards


class Connections:
    """What one event loop uses to talk to a queue's shards; index by the shard's."""

    def __init__(self, address: Address, shards: tuple[Shard, ...], clock: ServerClock, durability: Durability) -> None:
        self.links = [Links(address, key=shard.keys.wake) for shard in shards]
        self.producers = [
            Producer(shard.commands, Link(address, key=shard.keys.wake), clock, durability) for shard in shards
        ]
        self.endings = [Endings(address, shard.keys) for shard in shards]
        self.checking = asyncio.Lock()

    async def close(self) -> None:
        """Wait for what is being enqueued, and close what is not in use."""
        for producer in self.producers:
            await producer.close()
        for links in self.links:
            await links.close()
        for endings in self.endings:
            await endings.close()
