"""A job, as its producer, its handler and an inspector see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic

from zqueue.clock import Duration, moment
from zqueue.errors import ZQueueError
from zqueue.retry import Retry

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    R = TypeVar("R", default=Any)  # so that a handler may say Job, and mean a job of whatever result
else:
    from typing import TypeVar

    R = TypeVar("R")


class Priority(IntEnum):
    """The lane a job waits in; a lane is looked at only when those before it have nothing due."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class JobState(StrEnum):
    """Which sorted set a job is in."""

    SCHEDULED = "scheduled"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"


@dataclass(slots=True)
class JobInfo:
    """What a `Job` and a `JobRecord` have in common.

    Attributes:
        group: Shares the limits that were set for this name.
        state: Its `JobState`. In a handler, what the worker's ``lifespan`` yielded (`JobState.LEASED` without one).
        due_us: When it is (or was) due, microseconds since the epoch; None once done or dead.
        attempts: Failed attempts so far.
        deliveries: Claims since the last finished attempt, this one included: 2 in a handler means that a worker
            died, or lost its lease, while running it.
        error: Why the last attempt failed, or why the job is dead.
        timeout: Longest run of its handler; None for no limit of its own.
        keep_done: How long it is kept, with its result, once it is done; zero: not at all.
        score_us: Its score in the sorted set of its state, in microseconds since the epoch: when it is due, when its
            lease ends, or when it ended. None in a handler.
        parked: It is due, and waits for the limit of its group.
    """

    id: str
    payload: Any
    name: str = ""
    group: str | None = None
    state: Any = JobState.SCHEDULED
    priority: Priority = Priority.NORMAL
    due_us: int | None = None
    attempts: int = 0
    deliveries: int = 0
    error: str | None = None
    retry: Retry | None = None
    timeout: timedelta | None = None
    keep_done: timedelta = timedelta(0)
    score_us: int | None = None
    parked: bool = False

    @property
    def attempt(self) -> int:
        """The number of the present run, from 1."""
        return self.attempts + 1

    @property
    def due_at(self) -> datetime | None:
        """When it is (or was) due, in UTC; None once done or dead."""
        return None if self.due_us is None else moment(self.due_us)

    @property
    def ended_at(self) -> datetime | None:
        """When it was done, or died, in UTC; None before."""
        ended = self.state in (JobState.DONE, JobState.DEAD)
        return moment(self.score_us) if ended and self.score_us is not None else None


@dataclass(slots=True)
class JobRecord(JobInfo):
    """A job as inspection shows it.

    Attributes:
        progress: What its handler last said of itself, while it runs.
        result: What its handler returned, once it is done.
    """

    progress: Any = None
    result: Any = None


@dataclass(slots=True)
class Job(JobInfo, Generic[R]):
    """A job as it was enqueued, and as a handler gets it.

    Attributes:
        created: In an answer to enqueue: False when the id was taken and this is the job that holds it.
    """

    created: bool = False
    await_result: Callable[[str, Duration | None], Awaitable[R]] | None = field(default=None, repr=False, compare=False)
    report: Callable[[Any], Awaitable[None]] | None = field(default=None, repr=False, compare=False)

    async def result(self, timeout: Duration | None = None) -> R:
        """What its handler returns, as soon as it has; see `Queue.result` for what it raises."""
        if self.await_result is None:
            raise ZQueueError(f"job {self.id!r} did not come from enqueue: ask its queue for the result")
        return await self.await_result(self.id, timeout)

    async def progress(self, value: Any) -> None:
        """In a handler: show *value*, anything JSON can carry, to whoever looks at the job while it runs.

        Raises:
            InvalidJob: It is not JSON.
            LeaseLost: Another worker has the job by now, or it was cancelled; nothing was written.
            QueueUnavailable: The server could not be reached.
        """
        if self.report is None:
            raise ZQueueError(f"job {self.id!r} does not run here: progress is for its handler")
        await self.report(value)


CURRENT: Final[ContextVar[Job[Any]]] = ContextVar("zqueue_job")
"""The job of the run that this code is part of."""


def current_job() -> Job[Any]:
    """In a handler or a task, and in what it calls: the job that runs.

    Raises:
        ZQueueError: No job runs here.
    """
    try:
        return CURRENT.get()
    except LookupError:
        raise ZQueueError("current_job() is for handlers: no job runs here") from None
