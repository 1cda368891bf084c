"""The changes of the clocks: each expected instant follows from the rule of its zone, which stands beside it.

Days without a year are of 2026; instants are in UTC.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.unit.test_schedule import at
from zqueue.schedule import Cron, cron

NEW_YORK = (
    "America/New_York"  # -05:00, in summer -04:00. Gap 2:00-3:00 on 8 Mar 07:00Z, overlap 1:00-2:00, 1 Nov 06:00Z
)
BERLIN = "Europe/Berlin"  # +01:00, +02:00. Gap 2:00-3:00 on 29 Mar 01:00Z, overlap 2:00-3:00 on 25 Oct 01:00Z
LORD_HOWE = "Australia/Lord_Howe"  # +10:30, +11:00. Overlap 1:30-2:00 on 4 Apr 15:00Z, gap 2:00-2:30 on 3 Oct 15:30Z
CHATHAM = "Pacific/Chatham"  # +12:45, +13:45. Overlap 2:45-3:45 on 4 Apr 14:00Z, gap 2:45-3:45 on 26 Sep 14:00Z
TROLL = "Antarctica/Troll"  # +00:00, +02:00. Gap 1:00-3:00 on 29 Mar 01:00Z, overlap 1:00-3:00 on 25 Oct 01:00Z
APIA = "Pacific/Apia"  # 2011: -10:00 until 29 Dec 24:00, which was 31 Dec 00:00 +14:00, 30 Dec 10:00Z. No 30 Dec there
CAIRO = "Africa/Cairo"  # +02:00, +03:00. Gap 0:00-1:00 on 23 Apr 22:00Z
NUUK = "America/Nuuk"  # -02:00, -01:00. Gap 23:00-24:00 on 28 Mar, 29 Mar 01:00Z

MATRIX = {
    "New York, gap, daily": (NEW_YORK, "30 2 * * *", ["03-07 07:30", "03-08 07:00", "03-09 06:30"]),
    "New York, gap, twice daily": (
        NEW_YORK,
        "0,30 2 * * *",
        ["03-07 07:00", "03-07 07:30", "03-08 07:00", "03-09 06:00", "03-09 06:30"],
    ),
    "New York, gap, weekly": (NEW_YORK, "30 2 * * sun", ["03-01 07:30", "03-08 07:00", "03-15 06:30"]),
    "New York, gap, hourly": (NEW_YORK, "0 * * * *", ["03-08 06:00", "03-08 07:00", "03-08 08:00"]),
    "New York, gap, quarters": (NEW_YORK, "*/15 * * * *", ["03-08 06:30", "03-08 06:45", "03-08 07:00", "03-08 07:15"]),
    "New York, gap, minutes of 2 h": (NEW_YORK, "*/30 2 * * *", ["03-07 07:00", "03-07 07:30", "03-09 06:00"]),
    "New York, overlap, daily": (NEW_YORK, "30 1 * * *", ["10-31 05:30", "11-01 05:30", "11-02 06:30"]),
    "New York, overlap, daily after": (NEW_YORK, "0 2 * * *", ["10-31 06:00", "11-01 07:00", "11-02 07:00"]),
    "New York, overlap, weekly": (NEW_YORK, "30 1 * * sun", ["10-25 05:30", "11-01 05:30", "11-08 06:30"]),
    "New York, overlap, hourly": (NEW_YORK, "0 * * * *", ["11-01 04:00", "11-01 05:00", "11-01 06:00", "11-01 07:00"]),
    "New York, overlap, minutes of 1 h": (
        NEW_YORK,
        "*/30 1 * * *",
        ["10-31 05:30", "11-01 05:00", "11-01 05:30", "11-01 06:00", "11-01 06:30", "11-02 06:00"],
    ),
    "Berlin, gap, daily": (BERLIN, "30 2 * * *", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
    "Berlin, gap, weekly": (BERLIN, "30 2 * * sun", ["03-22 01:30", "03-29 01:00", "04-05 00:30"]),
    "Berlin, gap, hourly": (BERLIN, "30 * * * *", ["03-28 23:30", "03-29 00:30", "03-29 01:30", "03-29 02:30"]),
    "Berlin, overlap, daily": (BERLIN, "30 2 * * *", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
    "Berlin, overlap, weekly": (BERLIN, "30 2 * * sun", ["10-18 00:30", "10-25 00:30", "11-01 01:30"]),
    "Berlin, overlap, hourly": (BERLIN, "30 * * * *", ["10-24 23:30", "10-25 00:30", "10-25 01:30", "10-25 02:30"]),
    "Lord Howe, gap, daily": (LORD_HOWE, "15 2 * * *", ["10-02 15:45", "10-03 15:30", "10-04 15:15"]),
    "Lord Howe, gap, daily after": (LORD_HOWE, "45 2 * * *", ["10-02 16:15", "10-03 15:45", "10-04 15:45"]),
    "Lord Howe, gap, weekly": (LORD_HOWE, "15 2 * * sun", ["09-26 15:45", "10-03 15:30", "10-10 15:15"]),
    "Lord Howe, gap, hourly": (LORD_HOWE, "0 * * * *", ["10-03 13:30", "10-03 14:30", "10-03 16:00", "10-03 17:00"]),
    "Lord Howe, gap, hourly at 40": (LORD_HOWE, "40 * * * *", ["10-03 15:10", "10-03 15:40", "10-03 16:40"]),
    "Lord Howe, gap, minutes of 3 h": (LORD_HOWE, "*/30 3 * * *", ["10-02 17:00", "10-03 16:00", "10-03 16:30"]),
    "Lord Howe, overlap, daily": (LORD_HOWE, "45 1 * * *", ["04-03 14:45", "04-04 14:45", "04-05 15:15"]),
    "Lord Howe, overlap, weekly": (LORD_HOWE, "45 1 * * sun", ["03-28 14:45", "04-04 14:45", "04-11 15:15"]),
    "Lord Howe, overlap, hourly": (
        LORD_HOWE,
        "0 * * * *",
        ["04-04 13:00", "04-04 14:00", "04-04 15:30", "04-04 16:30"],
    ),
    "Lord Howe, overlap, hourly at 40": (LORD_HOWE, "40 * * * *", ["04-04 14:40", "04-04 15:10", "04-04 16:10"]),
    "Chatham, gap, daily": (CHATHAM, "0 3 * * *", ["09-25 14:15", "09-26 14:00", "09-27 13:15"]),
    "Chatham, gap, weekly": (CHATHAM, "0 3 * * sun", ["09-19 14:15", "09-26 14:00", "10-03 13:15"]),
    "Chatham, gap, hourly": (CHATHAM, "0 * * * *", ["09-26 13:15", "09-26 14:15", "09-26 15:15"]),
    "Chatham, overlap, daily": (CHATHAM, "0 3 * * *", ["04-03 13:15", "04-04 13:15", "04-05 14:15"]),
    "Chatham, overlap, weekly": (CHATHAM, "0 3 * * sun", ["03-28 13:15", "04-04 13:15", "04-11 14:15"]),
    "Chatham, overlap, hourly": (CHATHAM, "0 * * * *", ["04-04 13:15", "04-04 14:15", "04-04 15:15"]),
    "Troll, gap, daily": (TROLL, "30 1 * * *", ["03-28 01:30", "03-29 01:00", "03-29 23:30"]),
    "Troll, gap, daily in its second hour": (TROLL, "30 2 * * *", ["03-28 02:30", "03-29 01:00", "03-30 00:30"]),
    "Troll, gap, weekly": (TROLL, "30 1 * * sun", ["03-22 01:30", "03-29 01:00", "04-04 23:30"]),
    "Troll, gap, hourly": (TROLL, "0 * * * *", ["03-29 00:00", "03-29 01:00", "03-29 02:00"]),
    "Troll, gap, every second hour": (TROLL, "0 */2 * * *", ["03-28 22:00", "03-29 00:00", "03-29 02:00"]),
    "Troll, overlap, daily": (TROLL, "30 1 * * *", ["10-23 23:30", "10-24 23:30", "10-26 01:30"]),
    "Troll, overlap, weekly": (TROLL, "30 1 * * sun", ["10-17 23:30", "10-24 23:30", "11-01 01:30"]),
    "Troll, overlap, hourly": (
        TROLL,
        "0 * * * *",
        ["10-24 22:00", "10-24 23:00", "10-25 00:00", "10-25 01:00", "10-25 02:00", "10-25 03:00"],
    ),
    "Apia's lost day, daily": (
        APIA,
        "0 2 * * *",
        ["2011-12-28 12:00", "2011-12-29 12:00", "2011-12-30 10:00", "2011-12-30 12:00", "2011-12-31 12:00"],
    ),
    "Apia's lost day, weekly": (APIA, "0 2 * * fri", ["2011-12-23 12:00", "2011-12-30 10:00", "2012-01-05 12:00"]),
    "Apia's lost day, monthly": (APIA, "0 2 30 * *", ["2011-11-30 12:00", "2011-12-30 10:00", "2012-01-29 12:00"]),
    "Apia's lost day, hourly": (APIA, "0 * * * *", ["2011-12-30 09:00", "2011-12-30 10:00", "2011-12-30 11:00"]),
    "Cairo, gap at midnight, daily": (CAIRO, "0 0 * * *", ["04-22 22:00", "04-23 22:00", "04-24 21:00"]),
    "Cairo, gap at midnight, minutes": (CAIRO, "*/30 0 * * *", ["04-22 22:00", "04-22 22:30", "04-24 21:00"]),
    "Nuuk, gap before midnight, daily": (NUUK, "30 23 * * *", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
}


def _instants(expected: list[str]) -> list[datetime]:
    return [at(each if each.startswith("20") else f"2026-{each}") for each in expected]


@pytest.mark.parametrize(("zone", "expr", "expected"), MATRIX.values(), ids=MATRIX)
def test_slots_around_a_change_of_the_clocks(zone: str, expr: str, expected: list[str]) -> None:
    """A fixed time once a day, in a gap at its end, in an overlap at the first; a frequent one at each real match.

    The answer is the same from whatever instant between two slots it is asked.
    """
    schedule, slots = cron(expr, tz=zone), _instants(expected)
    for before, slot in zip([slots[0] - timedelta(seconds=1), *slots], slots, strict=False):
        moment = before
        while moment < slot:
            assert schedule.next_after(moment) == slot, moment
            moment += max((slot - before) / 97, timedelta(seconds=1))
        assert schedule.next_after(slot - timedelta(microseconds=1)) == slot


@pytest.mark.parametrize("second_pass", ["11-01 06:00", "11-01 06:10", "11-01 06:30", "11-01 06:59"])
def test_asked_during_the_repeated_hour(second_pass: str) -> None:
    """At 1:10 for the second time, 1:30 has already been: the next one is tomorrow's, and not in the past."""
    schedule = cron("30 1 * * *", tz=NEW_YORK)
    assert schedule.next_after(at(f"2026-{second_pass}")) == at("2026-11-02 06:30")


@pytest.mark.parametrize(
    ("expr", "frequent"),
    [
        ("30 1 * * *", False),
        ("0,30 1,2 * * *", False),
        ("0-29 1-5 * * *", False),
        ("*/10 30 1 * * *", False),  # with seconds
        ("30 * * * *", True),
        ("* 1 * * *", True),
        ("*/30 1 * * *", True),
        ("5/30 1 * * *", True),
        ("30 1-9/2 * * *", True),
        ("30 0-23 * * *", True),  # all hours, in other words
        ("0-59 1 * * *", True),
        ("0 30 * * * *", True),  # with seconds
    ],
)
def test_what_makes_a_pattern_frequent(expr: str, frequent: bool) -> None:
    """A wildcard or a step in minute or hour: such a pattern runs in both passes of the repeated hour."""
    schedule = cron(expr, tz=NEW_YORK)
    second_pass = at("2026-11-01 06:00")
    assert (schedule.next_after(second_pass) < second_pass + timedelta(hours=1)) is frequent


def test_seconds_in_a_gap_are_one_slot() -> None:
    """All that a pattern names within the gap happens at its end, once."""
    schedule = cron("20,40 30 2 * * *", tz=NEW_YORK)
    assert _after(schedule, "2026-03-08 06:59", 2) == [at("2026-03-08 07:00"), at("2026-03-09 06:30:20")]


def test_a_second_is_never_lost_or_doubled() -> None:
    """An expression that matches each second is each second of real time, through gap and overlap."""
    schedule = cron("* * * * * *", tz=LORD_HOWE)
    for change in ("2026-04-04 15:00", "2026-10-03 15:30"):
        start = at(change) - timedelta(seconds=3)
        expected = [start + timedelta(seconds=count) for count in range(1, 7)]
        assert _after(schedule, str(start.replace(tzinfo=None)), 6) == expected


def _after(schedule: Cron, moment: str, count: int) -> list[datetime]:
    slots = [at(moment)]
    for _ in range(count):
        slots.append(schedule.next_after(slots[-1]))
    return slots[1:]
