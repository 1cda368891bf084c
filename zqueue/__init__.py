"""A job scheduler on Redis sorted sets: schedule a job for a microsecond, run it once it is due, survive anything."""

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
from zqueue.retry import Backoff, Retry, exponential, fixed, steps

__all__ = [
    "Backoff",
    "Bury",
    "CorruptJob",
    "InvalidJob",
    "JobNotFound",
    "LeaseLost",
    "PayloadTooLarge",
    "QueueUnavailable",
    "Retry",
    "RetryLater",
    "Snooze",
    "ZQueueError",
    "exponential",
    "fixed",
    "steps",
]
