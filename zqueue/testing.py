"""For the tests of programs that use zqueue: time that a test moves by hand, on a real server."""

from __future__ import annotations

import dataclasses
import functools
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from zqueue.clock import Duration, duration_us, instant_us, moment
from zqueue.commands import CHUNK, Call, Commands
from zqueue.envelope import NewJob
from zqueue.errors import Bury, InvalidJob, ZQueueError
from zqueue.job import Job
from zqueue.queue import Queue
from zqueue.replies import read_scores
from zqueue.worker import Worker

_MOST_MOVES: Final = 1000
_DELIVERIES: Final = 5


class FakeClock:
    """A clock that stands still until it is moved; give it to a `Queue` as ``clock=``.

    The scripts of that queue then use its time instead of the server's: on a real server a job of next year is due as
    soon as the clock says so.
    """

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now_us = instant_us("start", start)

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self._now_us

    def now(self) -> datetime:
        """The time it shows."""
        return moment(self._now_us)

    def advance(self, by: timedelta) -> None:
        """Move it, forward or back."""
        self._now_us += by // timedelta(microseconds=1)

    def travel_to(self, moment: datetime) -> None:
        """Set it, to an aware datetime."""
        self._now_us = instant_us("moment", moment)


async def run_until_idle(worker: Worker, clock: FakeClock | None = None, *, limit: Duration | None = None) -> int:
    """Run what is due; with the queue's *clock*, move that on to whatever comes next, until nothing does.

    What comes next is a job's due time, a retry, the slot of a schedule or a limit, or the end of a lease whose worker
    is gone. When nothing but schedules is left, which never end, it is idle; and so is a paused queue.

    Args:
        limit: How far to move the clock at most. Schedules are then followed all the way.

    Returns:
        How many runs there were.

    Raises:
        ZQueueError: Without a limit, and after 1,000 moves of the clock, there still is something to come: a job
            that fails or snoozes for ever, say, or one that the worker has no handler for.
    """
    queue, ran, moves = worker.queue, 0, 0
    end_us = None if clock is None or limit is None else clock.now_us() + duration_us("limit", limit)
    before: tuple[int, int] | None = None
    while True:
        claimed = await worker.tick()
        ran += claimed
        stats = await queue.stats()
        left = (stats.due, stats.parked)
        if claimed or (stats.due and left != before):
            before = left
            continue
        if clock is None or stats.paused:
            return ran
        next_us = await _next_us(queue, clock.now_us(), limited=stats.due > 0, schedules=end_us is not None)
        if next_us is None or (end_us is not None and next_us > end_us):
            return ran
        if end_us is None and moves == _MOST_MOVES:
            raise ZQueueError(f"not idle after {moves:,} moves of the clock: more to do at {moment(next_us)}")
        clock.travel_to(moment(next_us))
        moves += 1
        before = None


async def _next_us(queue: Queue, after_us: int, *, limited: bool, schedules: bool) -> int | None:
    """The first moment after this one at which the queue has something for a worker; None when there is none.

    Args:
        limited: Jobs are due that no worker may start: look at the limits too.
        schedules: Schedules count even if there is nothing else.
    """

    async def first(*names: str) -> list[int]:
        found: list[dict[bytes, int]] = []
        for name in names:
            found += await queue.ask_all(functools.partial(_first, name, after_us))
        return [us for each in found for us in each.values()]

    jobs = await first("due:0", "due:1", "due:2", "leased", *(("gates", "tat") if limited else ()))
    return min(jobs + await first("fires"), default=None) if jobs or schedules else None


def _first(name: str, after_us: int, commands: Commands) -> Call[dict[bytes, int]]:
    """The first member of a sorted set of times that is later than this one."""
    words = (f"({after_us}", "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
    return Call(("ZRANGE", f"{commands.keys.prefix}{name}", *words), read_scores)


async def seed(
    queue: Queue,
    *,
    scheduled: Iterable[NewJob] = (),
    leased: Iterable[NewJob] = (),
    done: Iterable[NewJob] = (),
    dead: Iterable[NewJob] = (),
    lease: Duration = timedelta(seconds=10),
) -> None:
    """Put jobs into these states, each by the way that it gets there in life.

    Args:
        leased: Claimed now, for the length of *lease*, by a worker that is gone.
        done: Returned None. Each keeps its result.
        dead: Buried, with the reason ``seeded``.

    Raises:
        InvalidJob: A done job is not kept, or the queue has jobs that are due, which would run.
    """
    done = list(done)
    if not all(job.keep_done or queue.keep_done_us for job in done):
        raise InvalidJob("a done job is kept only if it, or its queue, has a keep_done")
    if (await queue.stats()).due:
        raise InvalidJob("seed is for a queue without jobs that are due: they would run")
    for jobs, handler in ((dead, _bury), (done, _nothing)):
        await _enqueue_now(queue, jobs)
        await run_until_idle(Worker(queue, handler))
    await _enqueue_now(queue, leased)
    claim = (CHUNK, duration_us("lease", lease), secrets.token_hex(8), _DELIVERIES)
    more = True
    while more:
        each_shard = await queue.ask_all(
            lambda commands: commands.claim(*claim, solo_ok=True, worker="", kept=queue.kept)
        )
        more = any(claimed.deliveries for claimed in each_shard)
    await queue.enqueue_many(scheduled)


async def _enqueue_now(queue: Queue, jobs: Iterable[NewJob]) -> None:
    await queue.enqueue_many(dataclasses.replace(job, at=None, delay=None) for job in jobs)


async def _bury(job: Job[Any]) -> None:
    raise Bury("seeded")


async def _nothing(job: Job[Any]) -> None:
    """Be done."""
