"""Commands that change single jobs: ``enqueue``, ``cancel``, ``requeue`` and ``reschedule``."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any, Final

import click

from zqueue.cli import documents
from zqueue.cli.asking import Asked, about_a_queue
from zqueue.cli.bulk import requeue_all
from zqueue.cli.outcomes import Deed, do_to_each, listed
from zqueue.cli.reading import read_length, read_moment, read_payload
from zqueue.envelope import NewJob, OnConflict
from zqueue.job import Job, JobState, Priority
from zqueue.queue import Queue

_WAITING: Final = frozenset({JobState.SCHEDULED})
_CANCEL: Final = Deed("cancelled", _WAITING | {JobState.LEASED}, Queue.cancel)
_REQUEUE: Final = Deed("requeued", frozenset({JobState.DEAD}), Queue.requeue)

_LANES: Final = [lane.name.lower() for lane in Priority]
_CONFLICTS: Final = ["keep", "replace", "raise"]

_at = click.option("--at", type=read_moment, metavar="TIME", help="When it is due, like 2026-11-24T09:00:00+01:00.")
_delay = click.option("--delay", type=read_length, metavar="DURATION", help="How long from now, like 90, 5m or 2h.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would become of each, and change nothing.")
_ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")


@click.command()
@click.argument("payload", type=str)
@click.option("--id", "job_id", metavar="ID", help="Names the job; while there is one of this id, it is kept.")
@_at
@_delay
@click.option(
    "--priority", type=click.Choice(_LANES), default="normal", help="Which lane it waits in.  [default: normal]"
)
@click.option("--group", metavar="NAME", help="Whose limits it shares.")
@click.option("--name", metavar="NAME", default="", help="Which handler, or task, takes it.")
@click.option("--keep-done", type=read_length, metavar="DURATION", help="How long it is kept, with its result.")
@click.option(
    "--on-conflict", type=click.Choice(_CONFLICTS), default="keep", help="If the id is taken.  [default: keep]"
)
@about_a_queue
def enqueue(
    asked: Asked,
    payload: str,
    job_id: str | None,
    at: datetime | None,
    delay: timedelta | None,
    priority: str,
    group: str | None,
    name: str,
    keep_done: timedelta | None,
    on_conflict: OnConflict,
) -> None:
    """Schedule a job and print its id.

    PAYLOAD is JSON; - reads it from stdin.
    """
    _not_both(at, delay)
    value = read_payload(sys.stdin.read() if payload == "-" else payload)

    new = NewJob(
        value,
        job_id,
        at,
        delay,
        Priority[priority.upper()],
        name=name,
        group=group,
        on_conflict=on_conflict,
        keep_done=keep_done,
    )

    async def schedule(queue: Queue) -> Job[Any]:
        (job,) = await queue.enqueue_many([new])
        return job

    job = asked.run(schedule, make=True)
    due = "" if job.due_at is None else f", due {job.due_at:%Y-%m-%dT%H:%M:%SZ}"
    message = (
        f"job {job.id} is {job.state}{due}" if job.created else f"kept the job of this id, which is {job.state}{due}"
    )
    asked.printer.done({**documents.of_job(job), "created": job.created}, message, job.id)


@click.command()
@_ids
@_dry_run
@about_a_queue
def cancel(asked: Asked, ids: tuple[str, ...], dry_run: bool) -> None:
    """Take jobs away, whether they wait or run.

    The handler of a running one is cancelled. - reads ids from stdin.
    """
    do_to_each(asked, listed(ids), _CANCEL, dry_run=dry_run)


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "everything", is_flag=True, help="All jobs that are dead now.")
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
@_dry_run
@about_a_queue
def requeue(asked: Asked, ids: tuple[str, ...], everything: bool, yes: bool, dry_run: bool) -> None:
    """Let dead jobs run again, now and with all their attempts. - reads ids from stdin."""
    if everything == bool(ids):
        raise click.UsageError("give ids, or --all")
    if everything:
        requeue_all(asked, yes=yes, dry_run=dry_run)
    else:
        do_to_each(asked, listed(ids), _REQUEUE, dry_run=dry_run)


@click.command()
@_ids
@_at
@_delay
@_dry_run
@about_a_queue
def reschedule(asked: Asked, ids: tuple[str, ...], at: datetime | None, delay: timedelta | None, dry_run: bool) -> None:
    """Give waiting jobs another due time. - reads ids from stdin."""
    _not_both(at, delay)
    if at is None and delay is None:
        raise click.UsageError("say when: --at TIME, or --delay DURATION")

    async def act(queue: Queue, job_id: str) -> bool:
        return await queue.reschedule(job_id, at=at, delay=delay)

    do_to_each(asked, listed(ids), Deed("rescheduled", _WAITING, act), dry_run=dry_run)


def _not_both(at: datetime | None, delay: timedelta | None) -> None:
    if at is not None and delay is not None:
        raise click.UsageError("give --at or --delay, not both")
