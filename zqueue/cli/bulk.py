"""Commands that change many jobs at once: ``purge``, and ``requeue --all``. They ask first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Final

import click

from zqueue.cli.asking import Asked, about_a_queue
from zqueue.cli.outcomes import agree
from zqueue.cli.progress import progress
from zqueue.cli.reading import read_length
from zqueue.job import JobRecord, JobState
from zqueue.queue import Queue

_PAGE: Final = 1000
_TOGETHER: Final = 16
_TICK_S: Final = 0.2


@click.command()
@click.option("--state", type=click.Choice(["scheduled", "done", "dead"]), required=True, help="Of which.")
@click.option(
    "--older-than", type=read_length, metavar="DURATION", help="Only those that ended, or were due, this long ago."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@about_a_queue
def purge(asked: Asked, state: str, older_than: timedelta | None, yes: bool, dry_run: bool) -> None:
    """Delete jobs of a state."""
    wanted = JobState(state)

    async def work(queue: Queue) -> int:
        if dry_run or not yes:
            count = await _count(queue, wanted, older_than)
            if dry_run or not count:
                return count
            agree(f"delete {count:,} {state} jobs of queue {queue.name!r} for good", yes=yes)
        purging = asyncio.ensure_future(queue.purge(wanted, older_than=older_than))
        with progress("Deleting", None) as advance:
            while not purging.done():
                await asyncio.wait({purging}, timeout=_TICK_S)
                advance(0)
        return await purging

    count = asked.run(work)
    message = f"{'would delete' if dry_run else 'deleted'} {count:,} {state} jobs of queue {asked.queue!r}"
    asked.printer.done({"state": state, "purged": count, "dry_run": dry_run}, message)


def requeue_all(asked: Asked, *, yes: bool, dry_run: bool) -> None:
    """Let all jobs that are dead now run again; those that die meanwhile are left."""

    async def work(queue: Queue) -> int:
        total = (await queue.stats()).dead
        if dry_run or not total:
            return total
        agree(f"requeue {total:,} dead jobs of queue {queue.name!r}", yes=yes)
        now, count = queue.now(), 0
        with progress("Requeueing", total) as advance:
            async for page in _pages(queue, JobState.DEAD):
                ids = [job.id for job in page if _ended_by(job, now)]
                for start in range(0, len(ids), _TOGETHER):
                    count += sum(await asyncio.gather(*map(queue.requeue, ids[start : start + _TOGETHER])))
                    advance(_TOGETHER)
                if len(ids) < len(page):
                    break
        return count

    count = asked.run(work)
    message = f"{'would requeue' if dry_run else 'requeued'} {count:,} dead jobs of queue {asked.queue!r}"
    asked.printer.done({"requeued": count, "dry_run": dry_run}, message)


async def _pages(queue: Queue, state: JobState) -> AsyncIterator[list[JobRecord]]:
    last: JobRecord | None = None
    while page := await queue.jobs(state, _PAGE, last):
        yield page
        last = page[-1]


async def _count(queue: Queue, state: JobState, older_than: timedelta | None) -> int:
    """How many jobs `purge` would delete."""
    known = await queue.stats()
    total = {JobState.SCHEDULED: known.scheduled, JobState.DONE: known.done, JobState.DEAD: known.dead}[state]
    if older_than is None:
        return total
    before, count = queue.now() - older_than, 0
    with progress("Counting", total) as advance:
        async for page in _pages(queue, state):
            count += sum(_ended_by(job, before) for job in page)
            advance(len(page))
    return count


def _ended_by(job: JobRecord, moment: datetime) -> bool:
    when = job.due_at if job.state is JobState.SCHEDULED else job.ended_at
    return when is not None and when <= moment and not job.parked
