"""The shape of what is printed. These keys and their order are public: programs read them (`docs/cli.md`)."""

from __future__ import annotations

import dataclasses
from typing import Any, Final
from urllib.parse import quote, unquote

import click

from zqueue.clock import moment
from zqueue.job import JobInfo, JobRecord, JobState, Priority
from zqueue.recurring import Recurring
from zqueue.replies import Stats

JOB_COLUMNS: Final = ("id", "state", "due_at", "priority", "name", "group", "attempts", "error", "payload")
"""The fields of a job's line. A row's first field is always what other commands take."""
ENDED_COLUMNS: Final = ("id", "state", "ended_at", "priority", "name", "group", "attempts", "error", "payload")
"""The same of jobs that are done or dead, which are due no more."""
RECURRING_COLUMNS: Final = ("name", "next_at", "schedule", "misfire", "task", "payload")
OUTCOME_COLUMNS: Final = ("id", "outcome", "state")


def of_job(job: JobInfo) -> dict[str, Any]:
    """A job."""
    leased = job.state is JobState.LEASED and job.score_us is not None
    return {
        "id": job.id,
        "name": job.name,
        "group": job.group,
        "state": str(job.state),
        "parked": job.parked,
        "priority": job.priority.name.lower(),
        "due_at": job.due_at,
        "lease_ends_at": moment(job.score_us) if leased and job.score_us is not None else None,
        "ended_at": job.ended_at,
        "attempts": job.attempts,
        "deliveries": job.deliveries,
        "error": job.error,
        "timeout_s": job.timeout,
        "keep_done_s": job.keep_done,
        "retry": None if job.retry is None else dataclasses.asdict(job.retry),
        "payload": job.payload,
        "progress": job.progress if isinstance(job, JobRecord) else None,
        "result": job.result if isinstance(job, JobRecord) else None,
    }


def of_stats(queue: str, stats: Stats) -> dict[str, Any]:
    """The size of a queue."""
    return {
        "queue": queue,
        "scheduled": stats.scheduled,
        "due": stats.due,
        "parked": stats.parked,
        "leased": stats.leased,
        "done": stats.done,
        "dead": stats.dead,
        "paused": stats.paused,
        "workers": stats.workers,
        "next_due_at": stats.next_due_at,
        "oldest_due_age_s": stats.oldest_due_age,
    }


def of_recurring(each: Recurring) -> dict[str, Any]:
    """A schedule."""
    return {
        "name": each.name,
        "next_at": each.next_at,
        "schedule": str(each.schedule),
        "misfire": each.misfire,
        "task": each.task,
        "payload": each.payload,
    }


def cursor(job: JobRecord) -> str:
    """Where the next page of jobs starts: after this one, even when it is gone by then."""
    group = quote(job.group or "", safe="") if job.parked else ""
    return f"{job.state}/{job.priority:d}/{job.score_us}/{group}/{quote(job.id, safe='')}"


def read_cursor(text: str) -> JobRecord:
    """As much of a job as a page needs to start after it.

    Raises:
        BadParameter: It is not what `cursor` made.
    """
    try:
        state, priority, score_us, group, job_id = text.split("/")
        return JobRecord(
            unquote(job_id),
            None,
            state=JobState(state),
            priority=Priority(int(priority)),
            score_us=int(score_us),
            group=unquote(group) or None,
            parked=bool(group),
        )
    except ValueError:
        raise click.BadParameter("it is not the cursor of a page; take the one that the page before gave") from None
