"""The names of a queue's keys. The one place where a key name is made; Lua gets them all in KEYS."""

from __future__ import annotations

import re

from zqueue.errors import InvalidJob

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)

ORDER = (
    *("due:0", "due:1", "due:2", "leased", "jobs", "claims", "attempts", "dead", "wake", "workers"),
    *("done", "results", "progress", "recurring", "fires", "paused", "ended"),
    *("parked", "gates", "tat", "running", "limits", "groups"),
)
"""The fixed KEYS list of every script; `lua/_prelude.lua` binds names to it in this order.

`ended` is a channel and never exists as a key. It stands here so that a Cluster whose slot is on its way from one node
to another refuses each script at its start, and none can fail half-way.
"""


class Keys:
    """The keys of one shard of a queue. All carry one hash tag, so a Cluster keeps them on one node.

    Args:
        name: The queue's.
        shard: Which of its shards; None for a queue that has only one.

    Attributes:
        all: The fixed KEYS list, in the order of `ORDER`.
        wake: The list that holds at most one token: "look at the head".
        ended: The channel on which the ids of ended jobs are published.
        meta: The hash that says when these keys were first made.
        format: The hash that says which format the queue is in and how many shards it has.
    """

    def __init__(self, name: str, shard: int | None = None) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidJob(f"a queue name is 1 to 64 of A-Z a-z 0-9 _ . -, not {name!r}")
        self.prefix = f"zq:{{{name}}}:" if shard is None else f"zq:{{{name}:{shard}}}:"
        self.all = tuple(f"{self.prefix}{key}".encode() for key in ORDER)
        self.wake = self.all[ORDER.index("wake")]
        self.ended = self.all[ORDER.index("ended")]
        self.recurring = self.all[ORDER.index("recurring")]
        self.fires = self.all[ORDER.index("fires")]
        self.meta = f"{self.prefix}meta".encode()
        self.format = f"zq:{{{name}}}:meta".encode()

    def call(self, producer: str) -> bytes:
        """Where the last enqueue call of *producer* is remembered for 60 s."""
        return f"{self.prefix}call:{producer}".encode()
