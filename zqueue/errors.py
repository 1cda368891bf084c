"""What can go wrong, one class each, and what a handler may raise to say how its job ends."""

from __future__ import annotations

from datetime import timedelta


class ZQueueError(Exception):
    """The root of every error this library raises."""


class InvalidJob(ZQueueError, ValueError):
    """A job, a queue or an option is not one this library can keep; the message names what and why."""


class PayloadTooLarge(InvalidJob):
    """A payload is larger than the queue's ``max_payload``.

    Attributes:
        size: Bytes of the encoded payload.
        limit: Bytes allowed.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"payload of {size:,} bytes is over the limit of {limit:,}")
        self.size = size
        self.limit = limit


class _JobError(ZQueueError):
    """An error about one job."""

    def __init__(self, job_id: str, message: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class JobNotFound(_JobError):
    """No job has this id (any more)."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, f"no job {job_id!r}")


class DuplicateJob(_JobError):
    """The id is taken: ``on_conflict="raise"``, or ``"replace"`` and the job that holds it is running."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(job_id, f"job {job_id!r} exists already; it is {state}")


class JobFailed(_JobError):
    """The job whose result was awaited is dead; the message ends with its last error."""

    def __init__(self, job_id: str, error: str | None) -> None:
        super().__init__(job_id, f"job {job_id!r} is dead: {error}")
        self.error = error


class ResultNotKept(_JobError):
    """The result was awaited of a job that keeps none: give it, or its queue, a ``keep_done``."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, f"job {job_id!r} keeps no result: give it, or its queue, a keep_done")


class UnknownTask(_JobError):
    """A worker claimed a job for which it has no handler; the job is given back, for another worker."""

    def __init__(self, job_id: str, name: str) -> None:
        super().__init__(job_id, f"job {job_id!r} is for {name!r}, which this worker does not know; it is given back")


class LeaseLost(_JobError):
    """A write for a job whose lease another worker holds by now, or that is gone; nothing was written."""

    def __init__(self, job_id: str, message: str = "") -> None:
        super().__init__(job_id, message or f"the lease on job {job_id!r} is lost; nothing was written")


class CorruptJob(_JobError):
    """A stored job cannot be read: its envelope is missing or does not decode."""


class QueueUnavailable(ZQueueError):
    """The server could not be reached or could not take the call.

    The message says whether the call may have taken effect. An enqueue with the same id is always safe to repeat.
    """


class NotReplicated(ZQueueError):
    """Jobs are enqueued, but not on as many replicas (or disks) as the queue asks for, within its patience.

    Enqueueing them again with the same ids is safe, and waits again.
    """


class RetryLater(ZQueueError):
    """Raised by a handler: this attempt failed, run the job again after *delay* (an attempt is spent).

    Args:
        delay: How long to wait, at least 0, instead of what the job's backoff says.
        reason: Kept as the job's last error.
    """

    def __init__(self, delay: timedelta, reason: str = "") -> None:
        super().__init__(reason or f"retry in {delay}")
        self.delay = delay


class Snooze(ZQueueError):
    """Raised by a handler: not now, run the job again after *delay* (no attempt is spent)."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__(f"snooze for {delay}")
        self.delay = delay


class Bury(ZQueueError):
    """Raised by a handler: never run this job again; it is kept among the dead with *reason*."""
