"""The queue as producers and inspectors see it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, TypeVar

from zqueue.clock import Clock, Duration, ServerClock, duration_us, moment
from zqueue.commands import CHUNK, FORMAT, Call, Commands, Dead, claim_format
from zqueue.connect import Address, Link, Links
from zqueue.errors import InvalidJob, QueueUnavailable
from zqueue.job import Job, JobState, NewJob, Priority, checked_text
from zqueue.keys import Keys
from zqueue.producer import Enqueued, Producer
from zqueue.replies import Stats
from zqueue.retry import Retry
from zqueue.sending import ask, send

R = TypeVar("R")

_MOST_A_PAGE: Final = 1000


class Queue:
    """A named queue on a server.

    Connects when first used, so that making one, and ``async with``, never fail because a server is away. One object
    serves one event loop at a time, from any number of tasks.

    Args:
        name: 1 to 64 of ``A-Z a-z 0-9 _ . -``.
        url: ``redis://`` ``rediss://`` ``unix://``, or ``embedded:///folder``, which starts a Valkey with its files in
            that folder. None takes ``ZQUEUE_URL`` from the environment at first use.
        retry: For jobs that do not say themselves.
        max_payload: Bytes of a job's JSON at most.
        keep_dead: How long dead jobs are kept; applied by this queue's workers.
        keep_max: How many dead jobs are kept.
        clock: A clock to use instead of the server's, in tests.

    Raises:
        InvalidJob: An argument is not as described; the message names it.
    """

    def __init__(
        self,
        name: str,
        url: str | None = None,
        *,
        retry: Retry | None = None,
        max_payload: int = 256 * 1024,
        keep_dead: Duration = timedelta(days=30),
        keep_max: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        if retry is not None and not isinstance(retry, Retry):
            raise InvalidJob(f"retry must be a Retry, not {retry!r}")
        for what, count in (("max_payload", max_payload), ("keep_max", keep_max)):
            if type(count) is not int or count < 0:
                raise InvalidJob(f"{what} must be a whole number of at least 0, not {count!r}")
        self.name = name
        self.retry = Retry() if retry is None else retry
        self.max_payload = max_payload
        self.commands = Commands(Keys(name), clock)
        self.dead = Dead(duration_us("keep_dead", keep_dead), keep_max)
        self._clock = clock
        self.server_clock = ServerClock()
        self._address = None if url is None else Address(url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._links: Links
        self._producer: Producer
        self._format_checked = False

    @property
    def address(self) -> Address:
        """Where its server is.

        Raises:
            InvalidJob: No URL was given, and ``ZQUEUE_URL`` is not set.
        """
        if self._address is None:
            url = os.environ.get("ZQUEUE_URL")
            if not url:
                raise InvalidJob(f"queue {self.name!r} has no URL: give it one, or set ZQUEUE_URL")
            self._address = Address(url)
        return self._address

    async def __aenter__(self) -> Queue:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what is being enqueued and close the connections; the queue may be used again."""
        if self._loop is not None:
            self._loop = None
            await self._producer.close()
            await self._links.close()

    def now(self) -> datetime:
        """The server's time: as it was in the last reply, carried on by the monotonic clock.

        The wall clock's before the server was first heard.
        """
        return moment(self.server_clock.now_us() if self._clock is None else self._clock.now_us())

    async def enqueue(
        self,
        payload: object,
        *,
        id: str | None = None,
        at: datetime | None = None,
        delay: Duration | None = None,
        priority: Priority = Priority.NORMAL,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        name: str = "",
    ) -> Job:
        """Schedule a job; see `NewJob` for the arguments.

        Calls made at the same time share a round trip. A job of the same *id*, in whatever state, is kept: it is what
        comes back, with ``created`` False.

        Raises:
            InvalidJob: An argument is not as described; the message names it.
            QueueUnavailable: The server could not be reached; the message says whether the job may be there.
                Repeating with the same *id* is safe.
        """
        new = NewJob(payload, id, at, delay, priority, retry, timeout, name)
        (job,) = await self.enqueue_many((new,))
        return job

    async def enqueue_many(self, jobs: Iterable[NewJob]) -> list[Job]:
        """Schedule many jobs, in order, in as few round trips as possible.

        All are checked before the first is sent. More than 100 go in several steps: should the server be lost between
        two of them, some jobs are there and some are not; repeating with the same ids is safe.

        Raises:
            InvalidJob: One of the jobs is not as it must be; nothing was sent.
            QueueUnavailable: The server could not be reached.
        """
        jobs = list(jobs)
        if not jobs:
            return []
        encoded = [job.encode(self.max_payload) for job in jobs]
        await self._ready()
        answers = await self._producer.enqueue(encoded)
        return [
            _enqueued(job, ids[0].decode(), answer) for job, ids, answer in zip(jobs, encoded, answers, strict=True)
        ]

    async def get(self, job_id: str) -> Job | None:
        """A job in any state; None when there is none (it ran, or was cancelled, or never was).

        Raises:
            CorruptJob: What is stored under this id does not decode.
            QueueUnavailable: The server could not be reached.
        """
        return await self._ask(self.commands.get(checked_text("id", job_id)))

    async def cancel(self, job_id: str) -> bool:
        """Take a job away, whether it waits or runs; the handler of a running one is cancelled at its next renewal.

        Returns:
            Whether there was one to cancel: False when it has ended, or is dead, or never was.

        Raises:
            QueueUnavailable: The server could not be reached; the job may be cancelled. Repeating is safe.
        """
        (cancelled,) = await self._ask(self.commands.cancel([checked_text("id", job_id)]))
        return cancelled

    async def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of *ids* with no job, in any state.

        Raises:
            InvalidJob: One of them cannot be an id.
            QueueUnavailable: The server could not be reached.
        """
        asked = [checked_text("id", each) for each in ids]
        found: list[str] = []
        for at in range(0, len(asked), CHUNK):
            chunk = await self._ask(self.commands.missing(asked[at : at + CHUNK]))
            found.extend(chunk)
        return found

    async def jobs(self, state: JobState, limit: int = 100, after: Job | None = None) -> list[Job]:
        """A page of the jobs in a state.

        Scheduled jobs come by lane and due time, leased ones by the end of their lease, dead ones by the time of death.

        Args:
            limit: At most this many, 1 to 1,000.
            after: The last job of the page before; it need not exist any more.

        Raises:
            InvalidJob: The limit or the state is none.
            QueueUnavailable: The server could not be reached.
        """
        if type(limit) is not int or not 1 <= limit <= _MOST_A_PAGE:
            raise InvalidJob(f"limit must be from 1 to {_MOST_A_PAGE:,}, not {limit!r}")
        if state not in list(JobState):
            raise InvalidJob(f"state must be one of {', '.join(JobState)}, not {state!r}")
        return await self._ask(self.commands.jobs(JobState(state), limit, after))

    async def stats(self) -> Stats:
        """The size of everything.

        Raises:
            QueueUnavailable: The server could not be reached.
        """
        now_us, stats = await self._ask(self.commands.stats())
        self.server_clock.heard(now_us)
        return stats

    async def incarnation(self) -> str:
        """A name for the server's present life and for what it holds of this queue.

        Two equal answers: in between, the server was not restarted and the queue's keys were not lost. Who keeps a
        record of what has to be in the queue compares the two, to know when to look whether all of it still is.

        Raises:
            QueueUnavailable: The server could not be reached.
        """
        await self._ready()
        async with self._links.one() as link:
            run_id, made, born = await send(link, self.commands.incarnation())
        for answer in (run_id, made, born):
            if isinstance(answer, QueueUnavailable):
                raise answer
        return f"{run_id}-{born}"

    async def _ask(self, call: Call[R]) -> R:
        await self._ready()
        async with self._links.one() as link:
            return await ask(link, call)

    async def _ready(self) -> None:
        """Belong to the running loop, and have looked at the queue's format once."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._links = Links(self.address)
            self._producer = Producer(self.commands, Link(self.address), self.server_clock)
            self._loop = loop
        if not self._format_checked:
            async with self._links.one() as link:
                await check_format(link, self.commands.keys)
            self._format_checked = True


async def check_format(link: Link, keys: Keys) -> None:
    """Claim the queue's keys for this format, or find that they are in another.

    Raises:
        InvalidJob: They are in a format that this version does not read.
        QueueUnavailable: The server could not be reached, or does not let the keys be claimed.
    """
    made, found = await send(link, claim_format(keys))
    if found == FORMAT:
        return
    for answer in (found, made):
        if isinstance(answer, QueueUnavailable):
            raise answer
    raise InvalidJob(f"{keys.meta.decode()} says format {found!r}; this version of zqueue reads {FORMAT!r}")


def _enqueued(new: NewJob, job_id: str, answer: Enqueued) -> Job:
    if isinstance(answer, Job):
        return answer
    timeout = None if new.timeout is None else timedelta(microseconds=duration_us("timeout", new.timeout))
    return Job(
        job_id,
        new.payload,
        new.name,
        priority=Priority(new.priority),
        due_us=answer,
        score_us=answer,
        retry=new.retry,
        timeout=timeout,
        created=answer is not None,
    )
