"""Commands that do one thing to each of several jobs: what became of each, and what that means for the exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import click

from zqueue.cli import documents
from zqueue.cli.asking import Asked
from zqueue.cli.failures import Misused, NotFound, WrongState
from zqueue.cli.messages import tell
from zqueue.cli.progress import progress
from zqueue.job import JobState
from zqueue.queue import Queue

_TOGETHER: Final = 16
NOT_FOUND: Final = "not_found"
WRONG_STATE: Final = "wrong_state"


class Deed(NamedTuple):
    """What a command does to a job.

    Attributes:
        done: The word for it when it was done, as in "the job was cancelled".
        takes: The states of a job it can be done to.
        act: Does it; False when the job is not in such a state.
    """

    done: str
    takes: frozenset[JobState]
    act: Callable[[Queue, str], Awaitable[bool]]


def listed(ids: Sequence[str]) -> list[str]:
    """The ids of a command line; ``-`` alone reads them from stdin, one on a line, up to the first tab."""
    if list(ids) != ["-"]:
        return list(ids)
    return [line.split("\t")[0].rstrip("\n") for line in sys.stdin if line.strip()]


def do_to_each(asked: Asked, ids: Sequence[str], deed: Deed, *, dry_run: bool) -> None:
    """Do it to each job, print what became of them, and fail if it was not done to all."""

    async def work(queue: Queue) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        with progress("Working", len(ids)) as advance:
            for start in range(0, len(ids), _TOGETHER):
                chunk = ids[start : start + _TOGETHER]
                answers = await asyncio.gather(
                    *(_do(queue, job_id, deed, dry_run=dry_run) for job_id in chunk), return_exceptions=True
                )
                for answer in answers:
                    if isinstance(answer, BaseException):
                        raise answer
                    rows.append(answer)
                advance(len(chunk))
        asked.printer.rows(rows, documents.OUTCOME_COLUMNS, queue.now())
        return rows

    rows = asked.run(work)
    if dry_run:
        tell("a dry run: nothing was changed")
    _fail_unless_all(rows, deed, asked.queue)


async def _do(queue: Queue, job_id: str, deed: Deed, *, dry_run: bool) -> dict[str, Any]:
    outcome = deed.done
    state: JobState | None = None
    if dry_run or not await deed.act(queue, job_id):
        job = await queue.get(job_id)
        state = None if job is None else job.state
        if state is None:
            outcome = NOT_FOUND
        elif state not in deed.takes or not dry_run:
            outcome = WRONG_STATE
    return {"id": job_id, "outcome": outcome, "state": None if state is None else str(state), "dry_run": dry_run}


def _fail_unless_all(rows: Sequence[dict[str, Any]], deed: Deed, queue: str) -> None:
    takes = " or ".join(sorted(deed.takes))
    wrong = [row for row in rows if row["outcome"] == WRONG_STATE]
    if wrong:
        what = (
            f"job {wrong[0]['id']!r} is {wrong[0]['state']}"
            if len(wrong) == 1
            else f"{len(wrong):,} jobs are not {takes}"
        )
        raise WrongState(f"{what}: only a {takes} job can be {deed.done}", f"look at it: zqueue show {wrong[0]['id']}")
    missing = [row for row in rows if row["outcome"] == NOT_FOUND]
    if missing:
        which = f"job {missing[0]['id']!r}" if len(missing) == 1 else f"{len(missing):,} of these jobs"
        raise NotFound(f"queue {queue!r} does not have {which}", "zqueue jobs lists what there is")


def agree(what: str, *, yes: bool) -> None:
    """Go on only if the user wants *what*: has said so, or says so now.

    Raises:
        Misused: There is nobody to ask.
        Abort: They do not want it.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Misused(
            f"this would {what}, and nobody is here to confirm it", "add --yes to do it, or --dry-run to only count"
        )
    click.confirm(f"{what[:1].upper()}{what[1:]}?", abort=True, err=True)
