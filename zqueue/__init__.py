"""A job scheduler on Redis sorted sets: schedule a job for a microsecond, run it once it is due, survive anything."""

from zqueue import blocking as blocking
from zqueue import testing as testing
from zqueue.embedded import Server as EmbeddedServer
from zqueue.envelope import NewJob
from zqueue.errors import (
    Bury,
    CorruptJob,
    DuplicateJob,
    InvalidJob,
    JobFailed,
    JobNotFound,
    LeaseLost,
    NotReplicated,
    PayloadTooLarge,
    QueueUnavailable,
    ResultNotKept,
    RetryLater,
    Snooze,
    UnknownTask,
    ZQueueError,
)
from zqueue.ids import new_id
from zqueue.job import Job, JobRecord, JobState, Priority, current_job
from zqueue.queue import Queue
from zqueue.recurring import Recurring
from zqueue.replies import Stats
from zqueue.retry import Backoff, Retry, exponential, fixed, steps
from zqueue.schedule import Schedule, cron, every
from zqueue.tasks import Task
from zqueue.worker import Worker, run

__all__ = [
    "Backoff",
    "Bury",
    "CorruptJob",
    "DuplicateJob",
    "EmbeddedServer",
    "InvalidJob",
    "Job",
    "JobFailed",
    "JobNotFound",
    "JobRecord",
    "JobState",
    "LeaseLost",
    "NewJob",
    "NotReplicated",
    "PayloadTooLarge",
    "Priority",
    "Queue",
    "QueueUnavailable",
    "Recurring",
    "ResultNotKept",
    "Retry",
    "RetryLater",
    "Schedule",
    "Snooze",
    "Stats",
    "Task",
    "UnknownTask",
    "Worker",
    "ZQueueError",
    "cron",
    "current_job",
    "every",
    "exponential",
    "fixed",
    "new_id",
    "run",
    "steps",
]
