"""Enqueueing in batches that grow under load and add no delay when idle.

Calls that arrive while a batch is on its way wait for it and then go together: one round trip, however many they are.
A batch is cut into chunks, each sent with a nonce under a call key of its own (`call:PRODUCER`), one batch at a time;
so a chunk whose reply was lost is sent again and takes effect once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from zqueue.clock import ServerClock
from zqueue.commands import CHUNK, Call, Commands, replicated, synced
from zqueue.connect import Link
from zqueue.envelope import Encoded
from zqueue.errors import NotReplicated, QueueUnavailable
from zqueue.job import Job
from zqueue.sending import send

Enqueued = int | Job[Any] | None
"""What became of a job: its due time, us; or the job that held its id already; or None when that one has just ended."""

_CHUNKS: Final = 16
"""Chunks in one round trip."""
_REPLICATED_MS: Final = 1000
"""How long replicas and disks are waited for."""


class Durability(NamedTuple):
    """What an enqueue waits for, beyond the server's word: so many replicas, and append-only files on disk."""

    replicas: int = 0
    fsync: bool = False

    def calls(self) -> list[Call[Any]]:
        """What goes behind the enqueue calls, on the very connection that wrote: another one would not wait for it."""
        if self.fsync:
            return [synced(self.replicas, _REPLICATED_MS)]
        return [replicated(self.replicas, _REPLICATED_MS)] if self.replicas else []

    def check(self, answers: Sequence[Any]) -> NotReplicated | None:
        """What the answers to `calls` say."""
        for answer in answers:
            own, replicas = answer if isinstance(answer, list) else (1, answer)
            if isinstance(answer, QueueUnavailable):
                return NotReplicated(f"the jobs are enqueued, but it cannot be known how safely: {answer}")
            if replicas < self.replicas:
                return NotReplicated(f"the jobs are enqueued, but on {replicas} of {self.replicas} replicas")
            if own < self.fsync:
                return NotReplicated("the jobs are enqueued, but not yet in the append-only file on disk")
        return None


class Producer:
    """Enqueues for one event loop, over one connection."""

    def __init__(self, commands: Commands, link: Link, clock: ServerClock, durability: Durability) -> None:
        self._durability = durability
        self._commands = commands
        self._link = link
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._waiting: deque[tuple[Encoded, asyncio.Future[Enqueued]]] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def enqueue(self, jobs: Sequence[Encoded]) -> list[Enqueued]:
        """Schedule *jobs*, in order.

        A cancelled caller does not take back what it enqueued.

        Raises:
            QueueUnavailable: The server could not be reached. Chunks before the one that failed have taken effect.
            NotReplicated: They are enqueued, but not as safely as they were to be.
        """
        loop = asyncio.get_running_loop()
        futures = []
        for job in jobs:
            future: asyncio.Future[Enqueued] = loop.create_future()
            self._waiting.append((job, future))
            futures.append(future)
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(self._send_all())
        if len(futures) == 1:
            return [await futures[0]]
        results = await asyncio.gather(*futures, return_exceptions=True)
        return [_result(each) for each in results]

    async def _send_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), CHUNK * _CHUNKS))]
            chunks = [batch[at : at + CHUNK] for at in range(0, len(batch), CHUNK)]
            calls: list[Call[Any]] = [
                self._commands.enqueue(f"{self._name}.{n}", secrets.token_hex(8), [job for job, _ in chunk])
                for n, chunk in enumerate(chunks)
            ]
            try:
                answers = await send(self._link, [*calls, *self._durability.calls()])
            except QueueUnavailable as error:
                answers = [error] * len(chunks)
            except BaseException as error:
                _fail([future for _, future in [*batch, *self._waiting]], error)
                self._waiting.clear()
                raise
            unsafe = self._durability.check(answers[len(chunks) :])
            for chunk, answer in zip(chunks, answers, strict=False):
                futures = [future for _, future in chunk]
                if isinstance(answer, QueueUnavailable):
                    _fail(futures, answer)
                elif unsafe is not None:
                    _fail(futures, unsafe)
                else:
                    self._clock.heard(answer[0])
                    _succeed(futures, answer[1])

    async def close(self) -> None:
        """Wait for what is on its way, and close the connection."""
        if self._sender is not None:
            await asyncio.wait([self._sender])
        await self._link.close()


def _fail(futures: Sequence[asyncio.Future[Enqueued]], error: BaseException) -> None:
    for future in futures:
        if not future.done():
            if isinstance(error, Exception):
                future.set_exception(error)
            else:
                future.cancel()


def _succeed(futures: Sequence[asyncio.Future[Enqueued]], answers: Sequence[Enqueued]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if not future.done():
            future.set_result(answer)


def _result(outcome: Enqueued | BaseException) -> Enqueued:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
