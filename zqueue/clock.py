"""Time. Redis holds integer microseconds since the epoch (`_us`); people get aware datetimes in UTC.

Three clocks, never mixed: the *server's* clock decides what is due; the *monotonic* clock measures waits; the *wall*
clock of a client is used only until the server was first heard.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from zqueue.errors import InvalidJob

Duration = timedelta | int | float
"""A length of time: a timedelta, or a number of seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_US = 1000 * 366 * 86_400 * 1_000_000


class Clock(Protocol):
    """A clock that scripts use instead of the server's; see `zqueue.testing.FakeClock`."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""


def instant_us(name: str, moment: datetime) -> int:
    """An aware datetime as microseconds since the epoch; before 1970 counts as 1970.

    Raises:
        InvalidJob: It is naive, or no datetime.
    """
    if not isinstance(moment, datetime):
        raise InvalidJob(f"{name} must be an aware datetime, not {moment!r}")
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidJob(f"{name} must be an aware datetime; {moment.isoformat()} has no time zone")
    return max(0, (moment - _EPOCH) // _MICROSECOND)


def duration_us(name: str, duration: Duration) -> int:
    """A duration as whole microseconds, from 0 to 1,000 years.

    Raises:
        InvalidJob: It is negative, not finite, longer, or no duration.
    """
    if isinstance(duration, timedelta):
        us = duration // _MICROSECOND
    elif isinstance(duration, int | float) and not isinstance(duration, bool) and duration == duration:  # no NaN
        us = round(max(-1, min(duration, _LONGEST_US)) * 1_000_000)  # within bounds first: infinity has no integer
    else:
        raise InvalidJob(f"{name} must be a timedelta or seconds, not {duration!r}")
    if not 0 <= us <= _LONGEST_US:
        raise InvalidJob(f"{name} must be between 0 and 1,000 years, not {duration}")
    return us


def moment(us: float) -> datetime:
    """Microseconds since the epoch as an aware datetime in UTC; a time past the year 9999 is its last moment."""
    try:
        return _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


class ServerClock:
    """The server's time as last heard, carried on by the monotonic clock."""

    def __init__(self) -> None:
        self._heard: tuple[int, float] | None = None

    def heard(self, now_us: int) -> None:
        """Take note of the server's time in a reply that has just arrived; in any thread."""
        self._heard = (now_us, time.monotonic())

    def now_us(self) -> int:
        """Microseconds since the epoch; the wall clock's before the server was first heard."""
        heard = self._heard
        if heard is None:
            return time.time_ns() // 1000
        return heard[0] + round((time.monotonic() - heard[1]) * 1_000_000)
