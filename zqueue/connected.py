"""What a queue is: its options, its shards, and how it reaches their servers from any event loop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from zqueue.clock import Clock, Duration, ServerClock, duration_us, moment
from zqueue.commands import FORMAT, Call, Commands, Kept, claim_format, eviction_policy
from zqueue.connect import Address, Link
from zqueue.errors import InvalidJob, QueueUnavailable
from zqueue.keys import Keys
from zqueue.producer import Durability
from zqueue.retry import Retry
from zqueue.sending import ask, send
from zqueue.shards import Connections, Shard, shard_of
from zqueue.tasks import Task

R = TypeVar("R")

_LOG: Final = logging.getLogger("zqueue")
_MOST_SHARDS: Final = 1000


class Connected:
    """The part of a `Queue` that its workers share; see there for the arguments."""

    def __init__(
        self,
        name: str,
        url: str | None = None,
        *,
        shards: int = 1,
        retry: Retry | None = None,
        max_payload: int = 256 * 1024,
        keep_done: Duration = timedelta(0),
        keep_dead: Duration = timedelta(days=30),
        keep_max: int = 10_000,
        replicas: int = 0,
        fsync: bool = False,
        eviction: Literal["refuse", "warn"] = "refuse",
        clock: Clock | None = None,
    ) -> None:
        if retry is not None and not isinstance(retry, Retry):
            raise InvalidJob(f"retry must be a Retry, not {retry!r}")
        counts = {"max_payload": max_payload, "keep_max": keep_max, "replicas": replicas, "shards": shards}
        for what, count in counts.items():
            if type(count) is not int or count < 0:
                raise InvalidJob(f"{what} must be a whole number of at least 0, not {count!r}")
        if not 1 <= shards <= _MOST_SHARDS:
            raise InvalidJob(f"shards must be from 1 to {_MOST_SHARDS:,}, not {shards}")
        if eviction not in ("refuse", "warn"):
            raise InvalidJob(f"eviction must be refuse or warn, not {eviction!r}")
        self.name = name
        self.retry = Retry() if retry is None else retry
        self.max_payload = max_payload
        self.kept = Kept(duration_us("keep_dead", keep_dead), keep_max)
        self.keep_done_us = duration_us("keep_done", keep_done)
        keys = [Keys(name)] if shards == 1 else [Keys(name, index) for index in range(shards)]
        self.shards = tuple(Shard(index, each, Commands(each, clock)) for index, each in enumerate(keys))
        self.server_clock = ServerClock()
        self._tasks: dict[str, Task[Any, Any]] = {}
        self._durability = Durability(replicas, fsync)
        self._eviction = eviction
        self._clock = clock
        self._address = None if url is None else Address(url)
        self._loops: dict[asyncio.AbstractEventLoop, Connections] = {}
        self._checked = False
        self._warned = False

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any]]:
        """The tasks made with `Queue.task`, by name."""
        return MappingProxyType(self._tasks)

    def bind(self, url: str) -> None:
        """Say where its server is, if that was not known when the queue was made.

        Raises:
            InvalidJob: It has a URL already, or this is none.
        """
        if self._address is not None:
            raise InvalidJob(f"queue {self.name!r} is bound to {self._address.shown} already")
        self._address = Address(url)

    @property
    def address(self) -> Address:
        """Where its server is.

        Raises:
            InvalidJob: No URL was given, and ``ZQUEUE_URL`` is not set.
        """
        if self._address is None:
            url = os.environ.get("ZQUEUE_URL")
            if not url:
                raise InvalidJob(f"queue {self.name!r} has no URL: give it one, bind it, or set ZQUEUE_URL")
            self._address = Address(url)
        return self._address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what this event loop is enqueuing and close its connections; the queue may be used again."""
        connections = self._loops.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.close()

    def now(self) -> datetime:
        """The server's time: as it was in the last reply, carried on by the monotonic clock.

        The wall clock's before the server was first heard.
        """
        return moment(self.server_clock.now_us() if self._clock is None else self._clock.now_us())

    def link(self, shard: Shard, *, timeout: float | None = None) -> Link:
        """A connection of one's own to a shard's server."""
        options = {} if timeout is None else {"timeout": timeout}
        return Link(self.address, key=shard.keys.wake, **options)

    def connections(self) -> Connections:
        """Those of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            for other in list(self._loops):  # other threads add theirs meanwhile
                if other.is_closed():
                    self._loops.pop(other, None)
            self._loops[loop] = Connections(self.address, self.shards, self.server_clock, self._durability)
        return self._loops[loop]

    def shard(self, name: str) -> Shard:
        """The shard of a job, or of a schedule."""
        return self.shards[shard_of(name, len(self.shards))]

    async def ask(self, shard: Shard, call: Call[R]) -> R:
        """Ask one shard something."""
        await self.check()
        async with self.connections().links[shard.index].one() as link:
            return await ask(link, call)

    async def ask_all(self, calls: Callable[[Commands], Call[R]]) -> list[R]:
        """Ask every shard at the same time."""
        return await asyncio.gather(*(self.ask(shard, calls(shard.commands)) for shard in self.shards))

    async def check(self) -> None:
        """Make sure, once, that the queue's keys are in this format and that its servers will not drop them.

        Raises:
            InvalidJob: They are not, or may drop them.
            QueueUnavailable: A server could not be reached, or does not let the keys be claimed.
        """
        if self._checked:
            return
        connections = self.connections()
        async with connections.checking:
            if not self._checked:
                await self._check_format(self.shards[0].keys)
                for links in connections.links:
                    async with links.one() as link:
                        (policy,) = await send(link, [eviction_policy()])
                    self._check_eviction(policy)
                self._checked = True

    async def _check_format(self, keys: Keys) -> None:
        link = Link(self.address, key=keys.format)
        try:
            *made, found = await send(link, claim_format(keys, len(self.shards)))
        finally:
            await link.close()
        for answer in (found, *made):
            if isinstance(answer, QueueUnavailable):
                raise answer
        known, shards = found
        if known != FORMAT:
            raise InvalidJob(f"{keys.format.decode()} says format {known!r}; this version of zqueue reads {FORMAT!r}")
        if shards != b"%d" % len(self.shards):
            raise InvalidJob(f"queue {self.name!r} has {shards.decode()} shards, not {len(self.shards)}")

    def _check_eviction(self, policy: str | QueueUnavailable) -> None:
        if policy in ("noeviction", "") or isinstance(policy, QueueUnavailable):  # it does not say, or may not
            return
        trouble = f"{self.address.shown} may drop jobs when its memory is full: its maxmemory-policy is {policy}"
        if self._eviction == "refuse":
            raise InvalidJob(f'{trouble}; set noeviction there, or eviction="warn" here')
        if not self._warned:  # the shards may be on one server
            _LOG.warning("%s", trouble)
        self._warned = True
