"""Renewal: a thread with a connection of its own keeps the leases of running jobs, whatever the event loop does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from zqueue.commands import CHUNK
from zqueue.connect import TIMEOUT_S, Address, Link
from zqueue.errors import QueueUnavailable
from zqueue.job import Job
from zqueue.replies import Settled
from zqueue.sending import ask
from zqueue.shards import Shard

_LOG: Final = logging.getLogger("zqueue")

_SHORTEST_TIMEOUT_S: Final = 0.5


@dataclass(eq=False, slots=True)
class Held:
    """A job this worker has claimed.

    Attributes:
        shard: The shard it is on.
        until: When the lease ends unless renewed, on the monotonic clock.
        job: What runs; None when it did not decode.
        task: Runs it.
        settling: Its run is over; it is renewed until it is settled, but a loss does not matter any more.
        lost: Its lease is lost, or it was cancelled: its outcome is nobody's business.
        last: This is its last permitted delivery.
        thread: The thread of a sync handler, once it runs.
    """

    key: tuple[bytes, str]
    shard: Shard
    job: Job[Any] | None
    until: float
    last: bool = False
    task: asyncio.Task[Any] | None = None
    thread: asyncio.Future[Any] | None = None
    settling: bool = False
    lost: bool = False

    @property
    def name(self) -> str:
        """The job's id, for people."""
        return self.key[0].decode("utf-8", "backslashreplace")


class LeaseKeeper:
    """Renews every lease of a worker, each third of a lease, a hundred in a call.

    Args:
        on_lost: Called *in this thread* with a job whose lease could not be renewed, and why: ``gone`` (cancelled) or
            ``stolen`` (another worker has claimed it).
    """

    def __init__(
        self, address: Address, shards: Sequence[Shard], lease_us: int, on_lost: Callable[[Held, Settled], None]
    ) -> None:
        self._address = address
        self._shards = shards
        self._lease_us = lease_us
        self._on_lost = on_lost
        self._held: dict[tuple[bytes, str], Held] = {}
        self._thread = threading.Thread(target=self._run, name="zqueue leases", daemon=True)
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end; what is still held will expire."""
        self._stop.set()
        loop, woken = self._loop, self._woken
        if loop is not None and woken is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself, and its loop with it
                loop.call_soon_threadsafe(woken.set)

    def join(self) -> None:
        """Block until the thread has ended, or for 5 s should the server not answer it."""
        self._thread.join(timeout=5)

    def add(self, held: Held) -> None:
        """Renew this lease from now on."""
        self._held[held.key] = held

    def remove(self, held: Held) -> None:
        """Forget it: it is settled, or lost."""
        self._held.pop(held.key, None)

    def _run(self) -> None:
        asyncio.run(self._renew_for_ever())

    async def _renew_for_ever(self) -> None:
        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        async with asyncio.TaskGroup() as group:  # a shard whose server is away does not hold up the others
            for shard in self._shards:
                group.create_task(self._renew_shard(shard, self._woken))

    async def _renew_shard(self, shard: Shard, woken: asyncio.Event) -> None:
        interval = self._lease_us / 3e6
        # A connection that went silent while nothing ran must be found out while there is lease left to renew.
        timeout = min(TIMEOUT_S, max(interval, _SHORTEST_TIMEOUT_S))
        link = Link(self._address, timeout=timeout, key=shard.keys.wake)
        while not self._stop.is_set():
            pause = interval
            held = [each for each in list(self._held.values()) if each.shard is shard]
            try:
                await self._renew(link, shard, held)
            except QueueUnavailable as error:
                _LOG.warning("could not renew %d leases: %s", len(held), error)
                pause = min(interval / 4, 1.0)
            except Exception:  # this thread is all that keeps the jobs
                _LOG.exception("could not renew %d leases", len(held))
            try:
                await asyncio.wait_for(woken.wait(), pause)
            except TimeoutError:
                continue
        await link.close()

    async def _renew(self, link: Link, shard: Shard, held: Sequence[Held]) -> None:
        for at in range(0, len(held), CHUNK):
            chunk = held[at : at + CHUNK]
            asked = time.monotonic()
            answers = await ask(link, shard.commands.extend([each.key for each in chunk], self._lease_us))
            for each, answer in zip(chunk, answers, strict=True):
                if answer == "ok":
                    each.until = asked + self._lease_us / 1e6
                elif not each.settling:
                    self._on_lost(each, answer)
