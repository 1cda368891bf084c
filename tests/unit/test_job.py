"""A job as its producer, its handler and an inspector see it."""

from __future__ import annotations

from typing import Any

import pytest

from zqueue.clock import moment
from zqueue.errors import ZQueueError
from zqueue.job import CURRENT, Job, JobRecord, JobState, current_job


def test_times_of_a_job() -> None:
    """A due time while it has one, an end only when done or dead; the run's number counts from 1."""
    us: Any = 1_900_000_000_000_000
    job = Job("a", 1, due_us=us, score_us=us, attempts=2)
    assert (job.due_at, job.ended_at, job.attempt) == (moment(us), None, 3)
    done = JobRecord("a", 1, state=JobState.DONE, score_us=us)
    assert (done.due_at, done.ended_at, done.attempt) == (None, moment(us), 1)
    dead = Job("a", 1, state=JobState.DEAD, score_us=us)
    assert (dead.due_at, dead.ended_at, dead.attempt) == (None, moment(us), 1)
    assert Job("a", 1, state=JobState.DEAD).ended_at is None


async def test_a_job_asks_who_gave_it() -> None:
    """Its result comes from the queue that enqueued it, its progress goes to the worker that runs it."""
    said: list[Any] = []

    async def result(job_id: str, timeout: Any) -> str:
        return f"{job_id} {timeout}"

    async def report(value: Any) -> None:
        said.append(value)

    job = Job[str]("a", 1, await_result=result, report=report)
    assert await job.result(timeout=5) == "a 5"
    await job.progress({"half": 0.5})
    assert said == [{"half": 0.5}]
    assert job == Job("a", 1), "who gave it is no part of what it is"
    assert "report" not in repr(job)


async def test_a_job_that_nobody_gave() -> None:
    """One made by hand can do neither, and says what would."""
    job: Job[Any] = Job("a", 1)
    with pytest.raises(ZQueueError, match=r"^job 'a' did not come from enqueue: ask its queue for the result$"):
        await job.result()
    with pytest.raises(ZQueueError, match=r"^job 'a' does not run here: progress is for its handler$"):
        await job.progress(1)


def test_the_current_job() -> None:
    """The job of this run; outside of any, an error that says so."""
    with pytest.raises(ZQueueError, match=r"^current_job\(\) is for handlers: no job runs here$"):
        current_job()
    job: Job[Any] = Job("a", 1)
    token = CURRENT.set(job)
    try:
        assert current_job() is job
    finally:
        CURRENT.reset(token)
