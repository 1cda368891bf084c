"""A job scheduler on Redis sorted sets: schedule a job for a microsecond, run it once it is due, survive anything."""

from zqueue.embedded import Server as EmbeddedServer
from zqueue.errors import (
    Bury,
    CorruptJob,
    InvalidJob,
    JobNotFound,
    LeaseLost,
    PayloadTooLarge,
    QueueUnavailable,
    RetryLater,
    Snooze,
    ZQueueError,
)
from zqueue.ids import new_id
from zqueue.job import Job, JobState, NewJob, Priority
from zqueue.queue import Queue
from zqueue.replies import Stats
from zqueue.retry import Backoff, Retry, exponential, fixed, steps
from zqueue.worker import Worker, run

__all__ = [
    "Backoff",
    "Bury",
    "CorruptJob",
    "EmbeddedServer",
    "InvalidJob",
    "Job",
    "JobNotFound",
    "JobState",
    "LeaseLost",
    "NewJob",
    "PayloadTooLarge",
    "Priority",
    "Queue",
    "QueueUnavailable",
    "Retry",
    "RetryLater",
    "Snooze",
    "Stats",
    "Worker",
    "ZQueueError",
    "exponential",
    "fixed",
    "new_id",
    "run",
    "steps",
]
