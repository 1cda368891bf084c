"""What holds of every schedule, against a slow and obvious model: looking at each minute of real time in turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_schedule import at
from zqueue.schedule import MOST_AT_ONCE, Cron, Schedule, cron, due_slots, every, schedule_from_json

MINUTE = timedelta(minutes=1)
ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Chatham", "Antarctica/Troll"]
CHANGES = {  # of 2026, in UTC
    "UTC": ["03-29 01:00"],
    "America/New_York": ["03-08 07:00", "11-01 06:00"],
    "Europe/Berlin": ["03-29 01:00", "10-25 01:00"],
    "Australia/Lord_Howe": ["04-04 15:00", "10-03 15:30"],
    "Pacific/Chatham": ["04-04 14:00", "09-26 14:00"],
    "Antarctica/Troll": ["03-29 01:00", "10-25 01:00"],
}


@dataclass(frozen=True)
class Times:
    """A pattern of minutes and hours in a zone, near a change of its clocks."""

    zone: str
    minutes: frozenset[int]
    hours: frozenset[int] | None
    start: datetime

    @property
    def schedule(self) -> Cron:
        """The same as a cron expression; no hours are all of them."""
        hours = ",".join(map(str, sorted(self.hours))) if self.hours else "*"
        return cron(f"{','.join(map(str, sorted(self.minutes)))} {hours} * * *", tz=self.zone)

    def slots(self) -> list[datetime]:
        """Those of the two days after the start, minute by minute."""
        shown = list(self._shown())
        if self.hours is None:
            return [instant for instant, local in shown if local.minute in self.minutes and instant > self.start]
        named: dict[datetime, datetime] = {}
        wall = shown[0][1] + MINUTE
        while wall <= shown[-1][1]:
            if wall.minute in self.minutes and wall.hour in self.hours:  # the first time it is shown, or passed over
                named[wall] = next(
                    instant
                    for (_, before), (instant, local) in itertools.pairwise(shown)
                    if local == wall or before < wall < local
                )
            wall += MINUTE
        return sorted({instant for instant in named.values() if instant > self.start})

    def _shown(self) -> Iterator[tuple[datetime, datetime]]:
        instant = self.start.replace(second=0, microsecond=0) - timedelta(hours=6)
        for _ in range(54 * 60):
            yield instant, instant.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
            instant += MINUTE


@st.composite
def times_near_a_change(draw: st.DrawFn) -> Times:
    """Patterns whose hours are those that clocks skip and repeat, asked from within a day of it."""
    zone = draw(st.sampled_from(ZONES))
    change = at(f"2026-{draw(st.sampled_from(CHANGES[zone]))}")
    return Times(
        zone,
        draw(st.frozensets(st.sampled_from([0, 14, 15, 29, 30, 31, 44, 45, 59]), min_size=1, max_size=4)),
        draw(st.none() | st.frozensets(st.integers(0, 5), min_size=1, max_size=3)),
        change + timedelta(seconds=draw(st.integers(-20 * 3600, 4 * 3600))),
    )


@given(times_near_a_change())
@settings(max_examples=60, deadline=None)
def test_slots_near_a_change_are_those_of_the_model(times: Times) -> None:
    """Frequent: each minute of real time that shows a match. Fixed: the first instant that shows it, or passes it."""
    expected = times.slots()
    slots: list[datetime] = []
    schedule, moment = times.schedule, times.start
    while len(slots) < len(expected):
        moment = schedule.next_after(moment)
        slots.append(moment)
    assert slots == expected


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "5-20", "1,2,59"]),
    st.sampled_from(["*", "*/5", "2", "1-3", "0,23", "22"]),
    st.sampled_from(["*", "1", "*/10", "L", "29,30"]),
    st.sampled_from(["*", "3", "4,10", "jan-jun"]),
    st.sampled_from(["*", "sun", "mon-fri", "6L", "0#1"]),
)
SCHEDULES: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(lambda fields, zone: cron(" ".join(fields), tz=zone), FIELDS, st.sampled_from([*ZONES, "Africa/Cairo"])),
    st.builds(every, st.timedeltas(timedelta(milliseconds=100), timedelta(days=4000))),
)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(SCHEDULES, MOMENTS)
@settings(max_examples=150, deadline=None)
def test_slots_increase(schedule: Schedule, moment: datetime) -> None:
    """Each is strictly after what was asked; and asked just before it, the answer is the same."""
    slot = schedule.next_after(moment)
    assert slot > moment
    assert schedule.next_after(slot - timedelta(microseconds=1)) == slot
    assert schedule.next_after(moment + (slot - moment) / 2) == slot
    assert schedule.next_after(slot) > slot


@given(SCHEDULES)
def test_what_a_queue_keeps_is_the_schedule(schedule: Schedule) -> None:
    """Through the bytes that are stored, and back."""
    assert schedule_from_json(orjson.loads(orjson.dumps(schedule.to_json()))) == schedule


@given(SCHEDULES, MOMENTS, st.integers(0, 150), st.floats(0, 0.999))
@settings(max_examples=80, deadline=None)
def test_missed_slots_are_those_one_by_one(schedule: Schedule, moment: datetime, missed: int, part: float) -> None:
    """`all` fires what iterating gives; `once` fires the last of them; both go on after it."""
    slots = [schedule.next_after(moment)]
    while len(slots) < missed + 2:
        slots.append(schedule.next_after(slots[-1]))
    now = slots[missed] + (slots[missed + 1] - slots[missed]) * part
    portion = min(missed + 1, MOST_AT_ONCE)
    assert due_slots(schedule, slots[0], now, "all") == (slots[:portion], slots[portion])
    assert due_slots(schedule, slots[0], now, "once") == (slots[missed : missed + 1], slots[missed + 1])
