"""A job as it is stored: checked and encoded when it is enqueued, decoded when it is claimed or looked at.

The envelope is one digit for the lane and then JSON, which begins with the group if there is one (`lua/_limits.lua`
reads it there). It is never rewritten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeVar, get_args

import orjson

from zqueue.clock import Duration, duration_us, instant_us
from zqueue.errors import CorruptJob, InvalidJob, PayloadTooLarge
from zqueue.ids import new_id
from zqueue.job import JobInfo, Priority
from zqueue.retry import Retry

J = TypeVar("J", bound=JobInfo)

OnConflict = Literal["keep", "replace", "raise"]
"""What to do when the id is taken: keep the job that holds it, replace it, or raise `DuplicateJob`."""

Encoded = tuple[bytes, bytes, bytes, bytes]
"""A job as the enqueue script takes it: id, envelope, when, ``1`` to replace the holder of its id."""


@dataclass(slots=True)
class NewJob:
    """A job to enqueue.

    Attributes:
        payload: Anything JSON can carry.
        id: Names the job; an id is taken while its job is scheduled, leased, kept done, or dead. None makes one.
        at: When it is due, an aware datetime; the past is due at once.
        delay: How long from now, by the server's clock, instead of `at`.
        retry: How often and when it runs again after a failure; None leaves it to its task, or the queue.
        timeout: Longest run of the handler, above 0; None leaves it to its task, or for no limit.
        name: Which handler of a worker's mapping, or which task, takes it.
        group: Shares the limits that were set for this name.
        on_conflict: When the id is taken: ``keep`` the job that holds it; ``replace`` it unless it is running;
            ``raise`` `DuplicateJob`.
        keep_done: How long it is kept, with its result, once it is done; None leaves it to the queue.
    """

    payload: Any
    id: str | None = None
    at: datetime | None = None
    delay: Duration | None = None
    priority: Priority = Priority.NORMAL
    retry: Retry | None = None
    timeout: Duration | None = None
    name: str = ""
    group: str | None = None
    on_conflict: OnConflict = "keep"
    keep_done: Duration | None = None

    def encode(self, max_payload: int, keep_done_us: int = 0) -> Encoded:
        """Check everything and give what the enqueue script takes.

        Args:
            max_payload: Bytes of the encoded payload at most.
            keep_done_us: For a job that does not say itself.

        Raises:
            InvalidJob: Something is not as it must be; the message names it.
            PayloadTooLarge: The payload is over *max_payload* bytes.
        """
        if self.on_conflict not in get_args(OnConflict):
            raise InvalidJob(f"on_conflict must be keep, replace or raise, not {self.on_conflict!r}")
        when = self._when()
        job_id = new_id() if self.id is None else checked_text("id", self.id)
        replace = b"1" if self.on_conflict == "replace" else b""
        return job_id.encode(), self.envelope(max_payload, keep_done_us), when, replace

    def envelope(self, max_payload: int, keep_done_us: int = 0) -> bytes:
        """What is stored; see `encode`."""
        payload = dump_json("the payload", self.payload)
        if len(payload) > max_payload:
            raise PayloadTooLarge(len(payload), max_payload)
        try:
            lane = Priority(self.priority)
        except ValueError:
            raise InvalidJob(f"priority must be a Priority, not {self.priority!r}") from None
        options = self._options(keep_done_us)
        group = b"" if self.group is None else b'"group":%b,' % orjson.dumps(checked_text("group", self.group))
        tail = b"," + orjson.dumps(options)[1:] if options else b"}"
        return b'%d{%b"payload":%b%b' % (lane, group, payload, tail)

    def _options(self, keep_done_us: int) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.name:
            options["name"] = checked_text("name", self.name)
        if self.retry is not None:
            if not isinstance(self.retry, Retry):
                raise InvalidJob(f"retry must be a Retry, not {self.retry!r}")
            options["retry"] = self.retry.to_json()
        if self.timeout is not None:
            options["timeout_us"] = checked_timeout(self.timeout)
        if self.keep_done is not None:
            keep_done_us = duration_us("keep_done", self.keep_done)
        if keep_done_us:
            options["keep_done_us"] = keep_done_us
        return options

    def _when(self) -> bytes:
        if self.at is None and self.delay is None:
            return b""
        return when(self.at, self.delay)


def when(at: datetime | None, delay: Duration | None) -> bytes:
    """A due time as the scripts take it, from either of the two.

    Raises:
        InvalidJob: Both are given, or none, or one is not as it must be.
    """
    if at is not None and delay is not None:
        raise InvalidJob("give at or delay, not both")
    if at is not None:
        return b"%d" % instant_us("at", at)
    if delay is None:
        raise InvalidJob("give at or delay")
    return b"+%d" % duration_us("delay", delay)


def checked_timeout(timeout: Duration) -> int:
    """A timeout in us.

    Raises:
        InvalidJob: It is none, or 0.
    """
    timeout_us = duration_us("timeout", timeout)
    if timeout_us == 0:
        raise InvalidJob("timeout must be longer than 0: every run would fail at once")
    return timeout_us


_STRICT: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


def dump_json(what: str, value: Any) -> bytes:
    """*value* as JSON, if that can carry it.

    Raises:
        InvalidJob: It cannot; the message starts with *what*.
    """
    try:
        encoded = orjson.dumps(value, option=_STRICT)
    except (TypeError, ValueError) as error:
        raise InvalidJob(f"{what} is not JSON: {error}") from None
    if b"null" in encoded and _has_nan(value):  # orjson writes NaN and infinities as null
        raise InvalidJob(f"{what} is not JSON: it holds a NaN or an infinity")
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


_LANES: Final = {ord(f"{lane:d}"): lane for lane in Priority}
_NOT_KEPT: Final = timedelta(0)


def decode_job(kind: type[J], job_id: bytes, envelope: bytes | None, **known: Any) -> J:
    """A job of *kind* from its id and envelope; *known* are the other attributes.

    Raises:
        CorruptJob: The envelope is missing or not one.
    """
    shown = job_id.decode("utf-8", "backslashreplace")
    if not envelope:
        raise CorruptJob(shown, f"job {shown!r} has no envelope")
    try:
        stored = orjson.loads(envelope[1:])
        name, group = stored.get("name", ""), stored.get("group")
        retry, timeout_us, kept_us = stored.get("retry"), stored.get("timeout_us"), stored.get("keep_done_us")
        if not isinstance(name, str) or not isinstance(group, str | None):
            raise TypeError(f"its name is {name!r}, its group {group!r}")
        return kind(
            shown,
            stored["payload"],
            name,
            group,
            priority=_LANES[envelope[0]],
            retry=None if retry is None else Retry.from_json(retry),
            timeout=None if timeout_us is None else timedelta(microseconds=timeout_us),
            keep_done=timedelta(microseconds=kept_us) if kept_us else _NOT_KEPT,
            **known,
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise CorruptJob(shown, f"job {shown!r} has an envelope that does not decode: {error}") from error
