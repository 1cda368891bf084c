"""Schedules: what they accept, when they fire next, how they are kept. Changes of the clocks: `test_schedule_dst`."""

from __future__ import annotations

import re
import sys
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from zqueue.errors import InvalidJob
from zqueue.schedule import Cron, Every, Schedule, cron, every, schedule_from_json

NAIVE = datetime(2026, 11, 24)  # noqa: DTZ001 - what it is for
LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


def at(text: str) -> datetime:
    """An instant from its ISO form, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _following(schedule: Schedule, moment: datetime, count: int) -> list[datetime]:
    slots = []
    for _ in range(count):
        moment = schedule.next_after(moment)
        slots.append(moment)
    return slots


@pytest.mark.parametrize(
    ("schedule", "moment", "expected"),
    [
        (cron("0 9 * * mon-fri"), "2026-11-20 09:00:00", ["2026-11-23 09:00", "2026-11-24 09:00"]),
        (cron("0 9 * * mon-fri"), "2026-11-20 08:59:59.999999", ["2026-11-20 09:00", "2026-11-23 09:00"]),
        (cron("0 9 * * mon-fri"), "2026-11-20 09:00:00.000001", ["2026-11-23 09:00"]),
        (cron("*/20 * * * *"), "2026-12-31 23:30:00", ["2026-12-31 23:40", "2027-01-01 00:00", "2027-01-01 00:20"]),
        (cron("0 0 L * *"), "2026-11-24 00:00:00", ["2026-11-30 00:00", "2026-12-31 00:00"]),
        (cron("0 0 * * 1#2"), "2026-11-24 00:00:00", ["2026-12-14 00:00", "2027-01-11 00:00"]),
        (cron("0 12 29 2 *"), "2026-11-24 00:00:00", ["2028-02-29 12:00", "2032-02-29 12:00"]),
        (cron("0 12 29 2 *"), "2096-02-29 12:00:00", ["2104-02-29 12:00"]),  # 2100 is no leap year
        (cron("0 0 13 * fri"), "2026-11-24 00:00:00", ["2026-11-27 00:00", "2026-12-04 00:00"]),  # the 13th or a Friday
        (cron("0 0 13 * */5"), "2026-11-24 00:00:00", ["2026-12-13 00:00"]),  # the 13th, and a Sunday or Friday
        (cron("30 */2 0 1 1 *"), "2026-11-24 00:00:00", ["2027-01-01 00:00:30", "2027-01-01 00:02:30"]),
        (every(1), "2026-11-24 09:00:00.25", ["2026-11-24 09:00:01", "2026-11-24 09:00:02"]),
        (every(timedelta(hours=8)), "2026-11-24 08:00:00", ["2026-11-24 16:00", "2026-11-25 00:00"]),
        (every(0.1), "2026-11-24 09:00:00", ["2026-11-24 09:00:00.1", "2026-11-24 09:00:00.2"]),
        (every(timedelta(days=365_000)), "1970-01-01 00:00:00", ["2969-05-03 00:00", "3968-09-03 00:00"]),
    ],
)
def test_the_next_slots(schedule: Schedule, moment: str, expected: list[str]) -> None:
    """The first slot strictly after a moment, and those that follow it."""
    assert _following(schedule, at(moment), len(expected)) == [at(each) for each in expected]


def test_slots_are_in_utc_whatever_is_asked() -> None:
    """A moment of any time zone is taken; the answer is in UTC."""
    slot = cron("0 9 * * *", tz="Asia/Kolkata").next_after(
        datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=-5)))
    )
    assert (slot, slot.tzinfo) == (at("2026-11-25 03:30"), UTC)  # 06:00Z is 11:30 there


def test_slots_of_every_do_not_depend_on_its_start() -> None:
    """They are the multiples of the interval since the epoch: 7 days are from Thursday to Thursday."""
    assert every(timedelta(days=7)).next_after(at("2026-11-24 12:34")) == at("2026-11-26")


def test_the_rarest_pattern_is_found() -> None:
    """A fifth Monday of February comes once in 28 or 40 years."""
    assert _following(cron("0 0 * 2 mon#5"), at("2026-01-01"), 3) == [
        at("2044-02-29"),
        at("2072-02-29"),
        at("2112-02-29"),
    ]


def test_equal_by_parameters() -> None:
    """Two schedules made from the same parameters are one, as a member of a set too; spaces do not matter."""
    schedules = [
        cron("0 9 * * *"),
        cron(" 0  9 * * *\n", tz="UTC"),
        cron("0 9 * * *", tz="Europe/Berlin"),
        every(60),
        every(timedelta(minutes=1)),
        every(61),
    ]
    assert len(set(schedules)) == 4
    assert isinstance(schedules[0], Schedule)


def test_readable() -> None:
    """What a table and a log show."""
    schedules = (cron("0 9 * * *", tz="Europe/Berlin"), every(90))
    assert [str(each) for each in schedules] == ["0 9 * * * (Europe/Berlin)", "every 0:01:30"]
    assert [
        eval(repr(each), {"Cron": Cron, "Every": Every, "datetime": sys.modules["datetime"]}) for each in schedules
    ] == [*schedules]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: cron("61 * * * *"), "'61 * * * *': Bad minute"),
        (lambda: cron("* 24 * * *"), "'* 24 * * *': Bad hour"),
        (lambda: cron("* * * *"), "'* * * *': Wrong number of fields"),
        (lambda: cron(""), "'': Wrong number of fields"),
        (lambda: cron("@daily"), "'@daily'"),
        (lambda: cron("\x00 * * * *"), r"'\x00 * * * *'"),
        (lambda: cron("x" * 5000), "xxx: Wrong number"),
        (lambda: cron("0 0 30 2 *"), "'0 0 30 2 *': Bad day-of-month"),
        (lambda: cron("* * */20 * 1L"), "'* * */20 * 1L' never matches in the 50 years"),
        (lambda: cron(5), "not 5, 'UTC'"),  # type: ignore[arg-type]
        (lambda: cron("* * * * *", tz=None), "not '* * * * *', None"),  # type: ignore[arg-type]
        (lambda: cron("* * * * *", tz="Mars/Olympus"), "unknown time zone 'Mars/Olympus'"),
        (lambda: cron("* * * * *", tz="Europe"), "unknown time zone 'Europe'"),  # a folder
        (lambda: cron("* * * * *", tz="../../etc/passwd"), "unknown time zone '../../etc/passwd'"),
        (lambda: cron("* * * * *", tz="tzdata.zi"), "unknown time zone 'tzdata.zi'"),  # a file beside the zones
        (lambda: cron("* * * * *", tz=""), "unknown time zone ''"),
        (lambda: cron("* * * * *", tz="a\0b"), r"unknown time zone 'a\x00b'"),
        (lambda: cron("* * * * *", tz="z" * 5000), "unknown time zone 'zzz"),
        (lambda: every(0), "100 ms, not 0:00:00"),
        (lambda: every(0.0999), "100 ms, not 0:00:00.099900"),
        (lambda: every(-1), "interval must be between 0 and 1,000 years, not -1"),
        (lambda: every(timedelta(days=366_001)), "interval must be between 0 and 1,000 years"),
        (lambda: every(float("nan")), "not nan"),
        (lambda: every(float("inf")), "not inf"),
        (lambda: every("5"), "interval must be a timedelta or seconds, not '5'"),  # type: ignore[arg-type]
        (lambda: Every(5), "interval must be a timedelta of at least 100 ms, not 5"),  # type: ignore[arg-type]
        (lambda: every(60).next_after(NAIVE), "2026-11-24T00:00:00 has no time zone"),
        (lambda: cron("0 0 * * *").next_after(NAIVE), "moment must be an aware datetime; 2026-11-24T00:00:00 has no"),
        (lambda: every(60).next_after(1_800_000_000), "moment must be an aware datetime, not 1800000000"),  # type: ignore[arg-type]
        (lambda: every(60).next_after(LAST_MOMENT), "every 0:01:00 has no slot after 9999-12-31"),
        (lambda: cron("* * * * *").next_after(LAST_MOMENT), "'* * * * *' never matches in the 50 years from 9999"),
        (lambda: cron("0 0 * * *", tz="Asia/Tokyo").next_after(LAST_MOMENT), "never matches in the 50 years from 9999"),
    ],
)
def test_nonsense_is_refused_by_name(make: Callable[[], object], named: str) -> None:
    """What can never fire, or says nothing definite, is `InvalidJob` that quotes it - when it is made, not at 2 a.m."""
    with pytest.raises(InvalidJob, match=re.escape(named)):
        make()


@pytest.fixture
def no_time_zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python without a time zone database, as on Windows before ``pip install tzdata``."""
    zoneinfo.reset_tzpath(to=())
    for name in [each for each in sys.modules if each.startswith("tzdata")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tzdata", None)
    yield
    zoneinfo.reset_tzpath()


@pytest.mark.usefixtures("no_time_zones")
def test_without_a_time_zone_database_the_error_says_what_to_install() -> None:
    """UTC works without one; any other zone names the package that has them."""
    assert cron("0 9 * * *").next_after(at("2026-11-24")) == at("2026-11-24 09:00")
    with pytest.raises(InvalidJob, match=r"unknown time zone 'Asia/Thimphu': .* \(pip install tzdata\)"):
        cron("0 9 * * *", tz="Asia/Thimphu")


@pytest.mark.parametrize(
    ("schedule", "stored"),
    [
        (cron("0 9 * * mon-fri", tz="Europe/Berlin"), ["cron", "0 9 * * mon-fri", "Europe/Berlin"]),
        (every(timedelta(microseconds=1_500_001)), ["every", 1_500_001]),
        (every(timedelta(days=366_000)), ["every", 366_000 * 86_400_000_000]),
    ],
)
def test_what_a_queue_keeps(schedule: Schedule, stored: list[Any]) -> None:
    """A schedule survives its JSON form."""
    assert schedule.to_json() == stored
    assert schedule_from_json(stored) == schedule


@pytest.mark.parametrize(
    "stored",
    [
        None,
        5,
        "cron",
        [],
        {},
        {"cron": 1},
        ["cron"],
        ["cron", "* * * * *"],
        ["cron", "* * * * *", None],
        ["cron", "* * * * *", "Mars/Olympus"],
        ["cron", "61 * * * *", "UTC"],
        ["every"],
        ["every", "5"],
        ["every", 1.5],
        ["every", float("nan")],
        ["every", True],
        ["every", -5],
        ["every", 10**30],
        ["every", -(10**30)],
        ["hourly", 5],
        [["cron"], 5],
    ],
)
def test_a_damaged_schedule_is_an_error_at_once(stored: Any) -> None:
    """Whatever the stored value is, ValueError and nothing else."""
    with pytest.raises(ValueError):
        schedule_from_json(stored)
