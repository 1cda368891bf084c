"""What is scheduled: a job as a producer states it, as the server keeps it, and as a handler sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, Final

import orjson

from zqueue.clock import Duration, duration_us, instant_us, moment
from zqueue.errors import CorruptJob, InvalidJob, PayloadTooLarge
from zqueue.ids import new_id
from zqueue.retry import Retry


class Priority(IntEnum):
    """The lane a job waits in; a lane is looked at only when those before it have nothing due."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class JobState(StrEnum):
    """Which sorted set a job is in."""

    SCHEDULED = "scheduled"
    LEASED = "leased"
    DEAD = "dead"


@dataclass(slots=True)
class Job:
    """A job, as inspection shows it and as a handler gets it.

    Attributes:
        state: Where it is. `LEASED` in a handler.
        due_us: When it is (or was) due, microseconds since the epoch; None once dead.
        attempts: Failed attempts so far.
        deliveries: Claims since the last finished attempt, this one included: 2 in a handler means that a worker
            died, or lost its lease, while running it.
        error: Why the last attempt failed, or why the job is dead.
        score_us: Its score in the sorted set of its state, in microseconds since the epoch: when it is due, when its
            lease ends, or when it died. None in a handler.
        created: In an answer to enqueue: False when the id was taken and this is the job that holds it.
    """

    id: str
    payload: Any
    name: str = ""
    state: JobState = JobState.SCHEDULED
    priority: Priority = Priority.NORMAL
    due_us: int | None = None
    attempts: int = 0
    deliveries: int = 0
    error: str | None = None
    retry: Retry | None = None
    timeout: timedelta | None = None
    score_us: int | None = None
    created: bool = False

    @property
    def attempt(self) -> int:
        """The number of the present run, from 1."""
        return self.attempts + 1

    @property
    def due_at(self) -> datetime | None:
        """When it is (or was) due, in UTC; None once dead."""
        return None if self.due_us is None else moment(self.due_us)

    @property
    def ended_at(self) -> datetime | None:
        """When it died, in UTC; None unless dead."""
        return moment(self.score_us) if self.state is JobState.DEAD and self.score_us is not None else None


@dataclass(slots=True)
class NewJob:
    """A job to enqueue.

    Attributes:
        payload: Anything JSON can carry.
        id: Names the job; while a job of this id exists, enqueueing another returns the existing one. None makes one.
        at: When it is due, an aware datetime; the past is due at once.
        delay: How long from now, by the server's clock, instead of `at`.
        retry: How often and when it runs again after a failure; None leaves it to the queue.
        timeout: Longest run of the handler, above 0; None for no limit.
        name: Which handler of a worker's mapping takes it.
    """

    payload: Any
    id: str | None = None
    at: datetime | None = None
    delay: Duration | None = None
    priority: Priority = Priority.NORMAL
    retry: Retry | None = None
    timeout: Duration | None = None
    name: str = ""

    def encode(self, max_payload: int) -> tuple[bytes, bytes, bytes]:
        """Check everything and give what the enqueue script takes: id, envelope, when.

        Raises:
            InvalidJob: Something is not as it must be; the message names it.
            PayloadTooLarge: The payload is over *max_payload* bytes.
        """
        payload = _dump(self.payload)
        if len(payload) > max_payload:
            raise PayloadTooLarge(len(payload), max_payload)
        options: dict[str, Any] = {}
        if self.name:
            options["name"] = checked_text("name", self.name)
        if self.retry is not None:
            if not isinstance(self.retry, Retry):
                raise InvalidJob(f"retry must be a Retry, not {self.retry!r}")
            options["retry"] = self.retry.to_json()
        if self.timeout is not None:
            options["timeout_us"] = duration_us("timeout", self.timeout)
            if options["timeout_us"] == 0:
                raise InvalidJob("timeout must be longer than 0: every run would fail at once")
        try:
            lane = Priority(self.priority)
        except ValueError:
            raise InvalidJob(f"priority must be a Priority, not {self.priority!r}") from None
        tail = b"," + orjson.dumps(options)[1:] if options else b"}"
        name = new_id() if self.id is None else checked_text("id", self.id)
        return name.encode(), b'%d{"payload":%b%b' % (lane, payload, tail), self._when()

    def _when(self) -> bytes:
        if self.at is None:
            return b"" if self.delay is None else b"+%d" % duration_us("delay", self.delay)
        if self.delay is not None:
            raise InvalidJob("give at or delay, not both")
        return b"%d" % instant_us("at", self.at)


_STRICT: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


def _dump(payload: Any) -> bytes:
    try:
        encoded = orjson.dumps(payload, option=_STRICT)
    except (TypeError, ValueError) as error:
        raise InvalidJob(f"the payload is not JSON: {error}") from None
    if b"null" in encoded and _has_nan(payload):  # orjson writes NaN and infinities as null
        raise InvalidJob("the payload is not JSON: it holds a NaN or an infinity")
    return encoded


def _has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_nan, value))


def checked_text(what: str, text: str) -> str:
    """*text*, if it is 1 to 200 bytes of UTF-8 without control characters.

    Raises:
        InvalidJob: It is not; the message starts with *what*.
    """
    if not isinstance(text, str):
        raise InvalidJob(f"{what} must be a string, not {text!r}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidJob(f"{what} holds a lone surrogate: {text!r}") from None
    if not 1 <= size <= 200:
        raise InvalidJob(f"{what} must be 1 to 200 bytes long, not {size}")
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise InvalidJob(f"{what} holds a control character: {text!r}")
    return text


def decode_job(job_id: bytes, envelope: bytes | None, **known: Any) -> Job:
    """A job from its id and envelope; *known* are the other attributes of `Job`.

    Raises:
        CorruptJob: The envelope is missing or not one.
    """
    shown = job_id.decode("utf-8", "backslashreplace")
    if not envelope:
        raise CorruptJob(shown, f"job {shown!r} has no envelope")
    try:
        stored = orjson.loads(envelope[1:])
        name = stored.get("name", "")
        retry = stored.get("retry")
        timeout_us = stored.get("timeout_us")
        if not isinstance(name, str):
            raise TypeError(f"its name is {name!r}")
        return Job(
            shown,
            stored["payload"],
            name,
            priority=Priority(envelope[0] - ord("0")),
            retry=None if retry is None else Retry.from_json(retry),
            timeout=None if timeout_us is None else timedelta(microseconds=timeout_us),
            **known,
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise CorruptJob(shown, f"job {shown!r} has an envelope that does not decode: {error}") from error
