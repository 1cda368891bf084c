"""Times and durations at the border of the library."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from zqueue.clock import ServerClock, duration_us, instant_us, moment
from zqueue.errors import InvalidJob
from zqueue.testing import FakeClock

YEAR = 366 * 86_400
"""Seconds; the longest duration is a thousand of these."""


@pytest.mark.parametrize(
    ("duration", "us"),
    [
        (timedelta(0), 0),
        (timedelta(microseconds=1), 1),
        (timedelta(days=1, microseconds=7), 86_400_000_007),
        (0, 0),
        (30, 30_000_000),
        (0.25, 250_000),
        (1.0000014, 1_000_001),
        (1000 * YEAR, 1000 * YEAR * 1_000_000),
    ],
)
def test_durations(duration: timedelta | float, us: int) -> None:
    """A timedelta or a number of seconds becomes whole microseconds."""
    assert duration_us("delay", duration) == us


@pytest.mark.parametrize(
    "duration",
    [-1, -0.001, timedelta(microseconds=-1), 1000 * YEAR + 1, 1e308, 10**400, math.inf, -math.inf, timedelta.max],
)
def test_a_duration_out_of_bounds(duration: timedelta | float) -> None:
    """Negative or beyond 1,000 years is refused with the argument's name, whatever its type can hold."""
    with pytest.raises(InvalidJob, match=r"^delay must be between 0 and 1,000 years, not "):
        duration_us("delay", duration)


@pytest.mark.parametrize("duration", [math.nan, True, "5", None, b"", [1]])
def test_no_duration_at_all(duration: object) -> None:
    """NaN, a truth value or a string is no duration."""
    with pytest.raises(InvalidJob, match=r"^delay must be a timedelta or seconds, not "):
        duration_us("delay", duration)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "us"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC), 1_000_005),
        (datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 1_893_456_000_000_000),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 0),
        (datetime.min.replace(tzinfo=UTC), 0),
        (datetime.max.replace(tzinfo=UTC), 253_402_300_799_999_999),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), 253_402_300_799_999_999 + 14 * 3_600_000_000),
        (datetime(2026, 10, 25, 2, 30, fold=0, tzinfo=ZoneInfo("Europe/Berlin")), 1_792_888_200_000_000),
        (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), 1_792_891_800_000_000),
    ],
)
def test_instants(at: datetime, us: int) -> None:
    """An aware datetime becomes microseconds; before 1970 counts as 1970, a repeated hour is the one its fold says."""
    assert instant_us("at", at) == us


def test_a_naive_datetime_is_shown() -> None:
    """A time without a zone is refused: nobody can know which instant it is."""
    with pytest.raises(InvalidJob, match=r"^at must be an aware datetime; 2030-01-01T09:00:00 has no time zone$"):
        instant_us("at", datetime(2030, 1, 1, 9))  # noqa: DTZ001


@pytest.mark.parametrize("at", ["2030-01-01T00:00:00Z", 1893456000, None, datetime(2030, 1, 1, tzinfo=UTC).date()])
def test_no_datetime_at_all(at: object) -> None:
    """A string, a number or a date is no instant."""
    with pytest.raises(InvalidJob, match=r"^at must be an aware datetime, not "):
        instant_us("at", at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("us", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_893_456_000_000_001, datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        (253_402_300_800_000_000, datetime.max.replace(tzinfo=UTC)),
        (1e300, datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_moments(us: float, expected: datetime) -> None:
    """Microseconds come back as a datetime in UTC; what no datetime can hold is the last moment."""
    assert moment(us) == expected
    assert moment(us).tzinfo is UTC


def test_the_servers_clock_is_carried_on_by_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once heard, the server's time goes on with the monotonic clock, whatever the wall clock says."""
    mono = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: mono[0])
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000)
    clock = ServerClock()
    assert clock.now_us() == 5_000
    clock.heard(1_000_000_000)
    mono[0] += 2.5
    assert clock.now_us() == 1_002_500_000
    clock.heard(7)
    assert clock.now_us() == 7


def test_a_fake_clock_stands_until_moved() -> None:
    """The clock for users' tests shows what it was set to and moves by what it is told, back as well."""
    clock = FakeClock(datetime(2031, 5, 1, tzinfo=UTC))
    assert clock.now() == datetime(2031, 5, 1, tzinfo=UTC)
    clock.advance(timedelta(days=1, microseconds=3))
    assert clock.now() == datetime(2031, 5, 2, 0, 0, 0, 3, tzinfo=UTC)
    clock.advance(timedelta(days=-1))
    assert clock.now_us() == 1_935_360_000_000_003
    assert FakeClock().now() == datetime(2030, 1, 1, tzinfo=UTC)
