"""Commands that look: ``stats``, ``jobs``, ``show`` and ``recurring``."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Final

import click

from zqueue.cli import documents
from zqueue.cli.asking import Asked, about_a_queue
from zqueue.cli.failures import NotFound
from zqueue.cli.messages import tell
from zqueue.cli.printing import Document
from zqueue.cli.progress import progress
from zqueue.cli.reading import read_length
from zqueue.errors import QueueUnavailable
from zqueue.job import JobRecord, JobState
from zqueue.queue import Queue

_PAGE: Final = 1000
_STATES: Final = click.Choice([str(state) for state in JobState])


@click.command()
@click.option("--watch", is_flag=True, help="Again and again, until Ctrl-C.")
@click.option("--every", type=read_length, metavar="DURATION", default="1s", show_default=True, help="With --watch.")
@about_a_queue
def stats(asked: Asked, watch: bool, every: timedelta) -> None:
    """Show how much waits, runs, and has failed."""

    async def look(queue: Queue) -> Document:
        return documents.of_stats(queue.name, await queue.stats())

    async def keep_looking(queue: Queue) -> None:
        while True:
            try:
                document = await look(queue)
            except QueueUnavailable as error:
                tell(f"{error}; looking again in {every.total_seconds():g} s")
            else:
                if asked.printer.for_people:
                    click.clear()
                asked.printer.one(document, queue.now())
            await asyncio.sleep(every.total_seconds())

    async def look_once(queue: Queue) -> None:
        asked.printer.one(await look(queue), queue.now())

    with contextlib.suppress(KeyboardInterrupt):
        asked.run(keep_looking if watch else look_once)


@click.command()
@click.option("--state", type=_STATES, default="scheduled", show_default=True, help="Of which.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=100, show_default=True, help="Most jobs to show.")
@click.option("--after", type=documents.read_cursor, metavar="CURSOR", help="Go on where another page ended.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@about_a_queue
def jobs(asked: Asked, state: str, limit: int, after: JobRecord | None, everything: bool) -> None:
    """List the jobs in a state, in the order in which they will run, or ended."""
    wanted = JobState(state)
    columns: tuple[str, ...] = (
        documents.ENDED_COLUMNS if wanted in (JobState.DONE, JobState.DEAD) else documents.JOB_COLUMNS
    )
    if asked.printer.for_people:
        columns = tuple(key for key in columns if key != "state")  # which is what was asked for
    if after is not None and after.state is not wanted:
        raise click.BadParameter(f"this cursor is of {after.state} jobs", param_hint="--after")

    async def pages(queue: Queue) -> None:
        last, left = after, limit
        known = await queue.stats()
        total = {"scheduled": known.scheduled, "leased": known.leased, "done": known.done, "dead": known.dead}[state]
        with progress("Listing jobs", total, visible=not asked.printer.for_people) as advance:
            while everything or left:
                size = _PAGE if everything else min(left, _PAGE)
                page = await queue.jobs(wanted, size, last)
                found = [{**documents.of_job(job), "cursor": documents.cursor(job)} for job in page]
                asked.printer.rows(found, columns, queue.now())
                advance(len(page))
                left -= len(page)
                if len(page) < size:
                    return
                last = page[-1]
        if last is not None and total > limit:
            tell(f"{limit:,} of {total:,} shown; go on with --after {documents.cursor(last)}, or take --all")

    asked.run(pages)


@click.command()
@click.argument("job_id", metavar="ID")
@about_a_queue
def show(asked: Asked, job_id: str) -> None:
    """Show everything that is known of one job."""

    async def look(queue: Queue) -> None:
        job = await queue.get(job_id)
        if job is None:
            raise NotFound(
                f"queue {queue.name!r} has no job {job_id!r}: it never was, has run, or was cancelled",
                "jobs that have run are kept only with keep_done; zqueue jobs lists what there is",
            )
        await queue.stats()  # tells the server's time
        asked.printer.one(documents.of_job(job), queue.now())

    asked.run(look)


@click.command()
@about_a_queue
def recurring(asked: Asked) -> None:
    """List the schedules, and when each fires next."""

    async def look(queue: Queue) -> None:
        found = [documents.of_recurring(each) for each in await queue.recurring()]
        await queue.stats()  # tells the server's time
        asked.printer.rows(found, documents.RECURRING_COLUMNS, queue.now())

    asked.run(look)
