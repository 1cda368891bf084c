"""Looking at a queue's jobs, and changing what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from zqueue.clock import Duration, duration_us
from zqueue.commands import CAP_S, CHUNK
from zqueue.connected import Connected
from zqueue.envelope import checked_text, when
from zqueue.errors import InvalidJob, JobFailed, JobNotFound, ResultNotKept
from zqueue.job import JobInfo, JobRecord, JobState
from zqueue.replies import Stats, add_stats

_MOST_A_PAGE: Final = 1000
_PURGEABLE: Final = (JobState.SCHEDULED, JobState.DONE, JobState.DEAD)


class Controlled(Connected):
    """The part of a `Queue` for inspectors and operators."""

    async def get(self, job_id: str) -> JobRecord | None:
        """A job in any state; None when there is none (it ran and was not kept, or was cancelled, or never was).

        Raises:
            CorruptJob: What is stored under this id does not decode.
            QueueUnavailable: The server could not be reached.
        """
        shard = self.shard(checked_text("id", job_id))
        return await self.ask(shard, shard.commands.get(job_id))

    async def result(self, job_id: str, timeout: Duration | None = None) -> Any:
        """What a job's handler returned, as soon as it has; told by the server, not polled for.

        Args:
            timeout: The longest wait; None for no limit.

        Raises:
            TimeoutError: The job has not ended within *timeout*.
            JobFailed: It is dead.
            ResultNotKept: It does not keep its result: neither it nor the queue has a ``keep_done``.
            JobNotFound: There is no such job (any more).
            QueueUnavailable: The server could not be reached.
        """
        limit = None if timeout is None else duration_us("timeout", timeout) / 1e6
        endings = self.connections().endings[self.shard(checked_text("id", job_id)).index]
        try:
            async with asyncio.timeout(limit) as timer:
                with endings.of(job_id) as ended:
                    while True:
                        ended.clear()
                        record = await self.get(job_id)
                        if record is not None and record.state is JobState.DONE:
                            return record.result
                        self._check_hope(job_id, record)
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(CAP_S):
                                await ended.wait()
        except TimeoutError:
            if not timer.expired():
                raise
            raise TimeoutError(f"job {job_id!r} has not ended within {limit:g} s") from None

    def _check_hope(self, job_id: str, record: JobRecord | None) -> None:
        """Raise if a job's result will never come."""
        if record is None and self.keep_done_us:
            raise JobNotFound(job_id)
        if record is not None and record.state is JobState.DEAD:
            raise JobFailed(job_id, record.error)
        if record is None or not record.keep_done:
            raise ResultNotKept(job_id)

    async def cancel(self, job_id: str) -> bool:
        """Take a job away, whether it waits or runs; the handler of a running one is cancelled at its next renewal.

        Returns:
            Whether there was one to cancel: False when it has ended, or never was.

        Raises:
            QueueUnavailable: The server could not be reached; the job may be cancelled. Repeating is safe.
        """
        shard = self.shard(checked_text("id", job_id))
        (cancelled,) = await self.ask(shard, shard.commands.cancel([job_id]))
        return cancelled

    async def reschedule(self, job_id: str, *, at: datetime | None = None, delay: Duration | None = None) -> bool:
        """Give a waiting job another due time, later or earlier.

        Returns:
            Whether there was one: False when it runs, has ended, or never was.

        Raises:
            InvalidJob: Not exactly one of *at* and *delay* is given, or it is not as it must be.
            QueueUnavailable: The server could not be reached; the job may have its new time. Repeating is safe.
        """
        shard = self.shard(checked_text("id", job_id))
        (moved,) = await self.ask(shard, shard.commands.reschedule(when(at, delay), [job_id]))
        return moved

    async def requeue(self, job_id: str) -> bool:
        """Let a dead job run again, now and with all its attempts.

        Returns:
            Whether there was a dead one.

        Raises:
            QueueUnavailable: The server could not be reached; the job may be alive. Repeating is safe.
        """
        shard = self.shard(checked_text("id", job_id))
        (revived,) = await self.ask(shard, shard.commands.requeue([job_id]))
        return revived

    async def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of *ids* with no job, in any state.

        Raises:
            InvalidJob: One of them cannot be an id.
            QueueUnavailable: The server could not be reached.
        """
        asked = [checked_text("id", each) for each in ids]
        found: set[str] = set()
        for shard in self.shards:
            there = [each for each in asked if self.shard(each) is shard]
            for at in range(0, len(there), CHUNK):
                gone = await self.ask(shard, shard.commands.missing(there[at : at + CHUNK]))
                found.update(gone)
        return [each for each in asked if each in found]

    async def jobs(self, state: JobState, limit: int = 100, after: JobInfo | None = None) -> list[JobRecord]:
        """A page of the jobs in a state.

        Scheduled jobs come by lane and due time, and last the parked ones by group; leased ones by the end of their
        lease, done and dead ones by when they ended.

        Args:
            limit: At most this many, 1 to 1,000.
            after: The last job of the page before; it need not exist any more.

        Raises:
            InvalidJob: The limit or the state is none.
            QueueUnavailable: The server could not be reached.
        """
        if type(limit) is not int or not 1 <= limit <= _MOST_A_PAGE:
            raise InvalidJob(f"limit must be from 1 to {_MOST_A_PAGE:,}, not {limit!r}")
        known = _state(state, tuple(JobState))
        pages = await self.ask_all(lambda commands: commands.jobs(known, limit, after))
        return list(heapq.merge(*pages, key=_position))[:limit] if len(pages) > 1 else pages[0]

    async def stats(self) -> Stats:
        """The size of everything.

        Raises:
            QueueUnavailable: The server could not be reached.
        """
        answers = await self.ask_all(lambda commands: commands.stats())
        self.server_clock.heard(answers[0][0])
        return add_stats([stats for _now_us, stats in answers])

    async def purge(self, state: JobState, *, older_than: Duration | None = None) -> int:
        """Delete the jobs of a state: scheduled, done or dead.

        In steps of 100, so that the server is never held up; jobs that are added meanwhile go too.

        Args:
            older_than: Only those that ended, or were due, at least so long ago; parked jobs are then left alone.

        Returns:
            How many.

        Raises:
            InvalidJob: The state is not one of the three: cancel the jobs that run.
            QueueUnavailable: The server could not be reached; some jobs are deleted. Repeating is safe.
        """
        known = _state(state, _PURGEABLE)
        age_us = None if older_than is None else duration_us("older_than", older_than)
        purged = 0
        for shard in self.shards:
            step = CHUNK
            while step == CHUNK:
                step = await self.ask(shard, shard.commands.purge(known, age_us, CHUNK))
                purged += step
        return purged

    async def pause(self) -> None:
        """Let nothing be claimed, and no schedule make jobs, until `resume`. What runs runs on.

        Raises:
            QueueUnavailable: The server could not be reached.
        """
        await self.ask_all(lambda commands: commands.pause(paused=True))

    async def resume(self) -> None:
        """Let jobs be claimed again.

        Raises:
            QueueUnavailable: The server could not be reached.
        """
        await self.ask_all(lambda commands: commands.pause(paused=False))


def _state(state: JobState, known: tuple[JobState, ...]) -> JobState:
    """*state*, if it is one of *known*, be it as a plain string."""
    if state not in known:
        raise InvalidJob(f"state must be one of {', '.join(known)}, not {state!r}")
    return JobState(state)


def _position(job: JobInfo) -> tuple[bool, int, int, bytes]:
    """Where a job comes on a page, as the scripts order one."""
    lane = int(job.priority) if job.state is JobState.SCHEDULED else 0
    return job.parked, lane, job.score_us or 0, job.id.encode("utf-8", "surrogateescape")
