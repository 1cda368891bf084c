"""What becomes of slots that no worker was there for."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from tests.unit.test_schedule import at
from zqueue.errors import InvalidJob
from zqueue.schedule import GRACE, MOST_AT_ONCE, Misfire, Schedule, cron, due_slots, every

NINE = at("2026-11-24 09:00")
MINUTELY = cron("* * * * *")


def _minutes(*minutes: float) -> list[datetime]:
    return [NINE + timedelta(minutes=each) for each in minutes]


@pytest.mark.parametrize(
    ("misfire", "late", "fired", "next_slot"),
    [
        ("skip", -0.001, [], 0),
        ("skip", 0, [0], 1),
        ("skip", 59.9, [0], 1),
        ("skip", 60, [1], 2),  # the slot at 9:01 is due, the one at 9:00 was missed
        ("skip", 3630, [60], 61),
        ("once", -0.001, [], 0),
        ("once", 0, [0], 1),
        ("once", 3630, [60], 61),
        ("all", -0.001, [], 0),
        ("all", 0, [0], 1),
        ("all", 185, [0, 1, 2, 3], 4),
    ],
)
def test_policies(misfire: Misfire, late: float, fired: list[float], next_slot: float) -> None:
    """Of a slot each minute that was last looked at by 9:00, seconds *late*."""
    expected = (_minutes(*fired), *_minutes(next_slot))
    assert due_slots(MINUTELY, NINE, NINE + timedelta(seconds=late), misfire) == expected


@pytest.mark.parametrize(
    ("misfire", "fired"), [("skip", []), ("once", [at("2026-11-24 08:00")]), ("all", [at("2026-11-24 08:00")])]
)
def test_an_hourly_slot_that_is_over_a_minute_late(misfire: Misfire, fired: list[datetime]) -> None:
    """`skip` lets it go, the others make up for it."""
    now = at("2026-11-24 08:00") + GRACE + timedelta(microseconds=1)
    assert due_slots(cron("0 * * * *"), at("2026-11-24 08:00"), now, misfire) == (fired, NINE)


def test_a_slot_within_the_grace_is_not_missed() -> None:
    """A restart of the workers does not cost the 8:00 run."""
    eight = at("2026-11-24 08:00")
    assert due_slots(cron("0 * * * *"), eight, eight + GRACE, "skip") == ([eight], NINE)


def test_all_comes_in_portions() -> None:
    """At most 100 in one call; the next slot is then one that is due too, and the calls together fire each once."""
    slot, now, fired = NINE, NINE + timedelta(minutes=250), []
    portions = []
    while slot <= now:
        due, slot = due_slots(MINUTELY, slot, now, "all")
        portions.append(len(due))
        fired += due
    assert portions == [MOST_AT_ONCE, MOST_AT_ONCE, 51]
    assert (fired, slot) == (_minutes(*range(251)), *_minutes(251))


@pytest.mark.parametrize("misfire", ["skip", "once"])
@pytest.mark.parametrize("late", [0, 0.05])
@pytest.mark.parametrize("schedule", [every(0.1), every(1), MINUTELY, cron("* * * * * *", tz="America/New_York")])
def test_decades_that_were_missed_cost_nothing(schedule: Schedule, misfire: Misfire, late: float) -> None:
    """The last of a billion slots is found by halving, not by counting."""
    slot, now = schedule.next_after(at("1990-01-01")), NINE + timedelta(seconds=late)
    started = time.perf_counter()
    assert due_slots(schedule, slot, now, misfire) == ([NINE], schedule.next_after(now))
    assert time.perf_counter() - started < 1


def test_a_pending_slot_that_the_schedule_would_not_name() -> None:
    """It was promised, and fires as it was said (the rules of a time zone may have changed since)."""
    odd = NINE + timedelta(seconds=17)
    assert due_slots(cron("0 * * * *"), odd, odd, "skip") == ([odd], at("2026-11-24 10:00"))
    assert due_slots(MINUTELY, odd, NINE + timedelta(minutes=2), "all") == ([odd, *_minutes(1, 2)], *_minutes(3))


def test_an_unknown_policy_is_refused() -> None:
    """By name."""
    with pytest.raises(InvalidJob, match="misfire must be skip, once or all, not 'never'"):
        due_slots(MINUTELY, NINE, NINE, "never")  # type: ignore[arg-type]
