"""Schedules of e-mails: what one is, when it fires through changes of clocks, and how far it has got."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.email.faults import InvalidRequest
from service.email.times import to_z
from service.recurring.definition import Definition, Misfire, Progress, next_fires
from service.recurring.requests import read

EMAIL = {"from": "a@example.com", "to": "b@example.com", "text": "Hi"}
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_definition(cron: str = "0 * * * *", zone: str = "UTC", misfire: Misfire = "once") -> Definition:
    """A schedule of `EMAIL`."""
    return Definition(cron, None, zone, misfire, dict(EMAIL))


@pytest.mark.parametrize(
    ("cron", "zone", "start", "slots"),
    [
        pytest.param(
            *("0 9 * * *", "Europe/Berlin", "2026-03-27T12:00Z"),
            ["03-28T08:00", "03-29T07:00", "03-30T07:00", "03-31T07:00", "04-01T07:00"],
            id="9:00 daily in Berlin, as summer time begins",
        ),
        pytest.param(
            *("0 9 * * *", "Europe/Berlin", "2026-10-23T12:00Z"),
            ["10-24T07:00", "10-25T08:00", "10-26T08:00", "10-27T08:00", "10-28T08:00"],
            id="9:00 daily in Berlin, as it ends",
        ),
        pytest.param(
            *("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00Z"),
            ["03-28T01:30", "03-29T01:00", "03-30T00:30", "03-31T00:30", "04-01T00:30"],
            id="a time in the gap: at its end, 3:00",
        ),
        pytest.param(
            *("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00Z"),
            ["10-24T00:30", "10-25T00:30", "10-26T01:30", "10-27T01:30", "10-28T01:30"],
            id="a time in the overlap: once, the first time",
        ),
        pytest.param(
            *("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00Z"),
            ["03-29T01:00", "03-30T00:00", "03-30T01:00", "03-31T00:00", "03-31T01:00"],
            id="two times that the gap makes one: once",
        ),
        pytest.param(
            *("30 * * * *", "Europe/Berlin", "2026-03-28T23:40Z"),
            ["03-29T00:30", "03-29T01:30", "03-29T02:30", "03-29T03:30", "03-29T04:30"],
            id="hourly, through the gap: each hour that there is",
        ),
        pytest.param(
            *("30 * * * *", "Europe/Berlin", "2026-10-24T22:40Z"),
            ["10-24T23:30", "10-25T00:30", "10-25T01:30", "10-25T02:30", "10-25T03:30"],
            id="hourly, through the overlap: each hour that there is",
        ),
        pytest.param(
            *("0 9 * * *", "America/New_York", "2026-03-06T20:00Z"),
            ["03-07T14:00", "03-08T13:00", "03-09T13:00", "03-10T13:00", "03-11T13:00"],
            id="9:00 daily in New York, whose clocks change on another day",
        ),
        pytest.param(
            *("0 9 * * *", "UTC", "2026-03-27T12:00Z"),
            ["03-28T09:00", "03-29T09:00", "03-30T09:00", "03-31T09:00", "04-01T09:00"],
            id="9:00 daily in UTC",
        ),
        pytest.param(
            *("0 9 29 2 *", "Europe/Berlin", "2026-03-27T12:00Z"),
            ["2028-02-29T08:00", "2032-02-29T08:00", "2036-02-29T08:00", "2040-02-29T08:00", "2044-02-29T08:00"],
            id="a day of leap years alone",
        ),
    ],
)
def test_slots_are_those_of_the_local_clock(cron: str, zone: str, start: str, slots: list[str]) -> None:
    """A time of day is that time whatever the clocks do; one that they skip or repeat happens once."""
    now = datetime.fromisoformat(start)
    found = next_fires(a_definition(cron, zone), Progress(now), now)
    assert [to_z(slot) for slot in found] == [
        f"{slot if len(slot) > 11 else '2026-' + slot}:00.000000Z" for slot in slots
    ]


def test_a_paused_schedule_has_no_next_slot() -> None:
    """Nothing is promised that will not happen."""
    assert next_fires(replace(a_definition(), paused=True), Progress(NOON), NOON) == []


def test_next_slots_are_after_what_is_done() -> None:
    """A slot that is done with is not shown again, though its time be this moment's."""
    assert next_fires(a_definition(), Progress(NOON, done=NOON + HOUR), NOON)[0] == NOON + 2 * HOUR


def test_definition_and_progress_are_kept_whole() -> None:
    """What is written is what is read."""
    definition = replace(a_definition(zone="Europe/Berlin"), paused=True)
    assert Definition.of(definition.data()) == definition
    progress = Progress(NOON, NOON + HOUR, (NOON + 3 * HOUR,), NOON, "em_1", "x")
    assert Progress.of(progress.data()) == progress
    assert Progress.of(Progress(NOON).data()) == Progress(NOON)


@pytest.mark.parametrize("misfire", ["once", "skip"])
def test_of_slots_that_were_missed_the_last_counts(misfire: Misfire) -> None:
    """Those before it make no e-mail any more, whatever order fires come in."""
    definition = a_definition(misfire=misfire)
    progress = Progress(NOON).after(definition, NOON + 3 * HOUR)
    assert progress == Progress(NOON, done=NOON + 3 * HOUR)
    assert progress.after(definition, NOON + HOUR) == progress
    assert [progress.has(NOON + n * HOUR) for n in range(5)] == [True, True, True, True, False]


def test_where_every_slot_counts_none_is_passed_over() -> None:
    """A slot whose fire comes later than the next one's is still to come."""
    definition, progress = a_definition(misfire="all"), Progress(NOON)
    story = []
    for n in (2, 4, 1, 3, 5):
        progress = progress.after(definition, NOON + n * HOUR)
        story.append((progress.floor - NOON) // HOUR)
    assert story == [0, 0, 2, 4, 5]
    assert progress == Progress(NOON, done=NOON + 5 * HOUR)


@given(st.permutations(range(1, 9)))
def test_in_whatever_order_slots_are_fired_all_of_them_are_done(order: list[int]) -> None:
    """And until a slot is, neither it nor a later one is taken for the last."""
    definition, progress = a_definition(misfire="all"), Progress(NOON)
    for n, slot in enumerate(order, 1):
        progress = progress.after(definition, NOON + slot * HOUR)
        missing = set(range(1, 10)) - set(order[:n])
        assert progress.floor == NOON + (min(missing) - 1) * HOUR
        assert {slot for slot in range(1, 9) if not progress.has(NOON + slot * HOUR)} == missing - {9}
    assert progress == Progress(NOON, done=NOON + 8 * HOUR)


def test_a_slot_that_never_comes_does_not_hold_up_for_ever() -> None:
    """A thousand slots after one that was lost it is taken for done."""
    definition, progress = a_definition("* * * * *", misfire="all"), Progress(NOON)
    for n in range(2, 1_003):
        progress = progress.after(definition, NOON + n * timedelta(minutes=1))
    assert progress == Progress(NOON, done=NOON + timedelta(minutes=1_002))


def faults(body: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the body of a PUT."""
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


def test_a_schedule_is_read() -> None:
    """Cron with a zone, or an interval; null is as good as absent."""
    assert read({"cron": "0 9 * * mon", "timezone": "Europe/Berlin", "email": EMAIL | {"cc": None}}) == (
        Definition("0 9 * * mon", None, "Europe/Berlin", "once", EMAIL),
        None,
    )
    assert read({"every": 60, "cron": None, "misfire": "all", "paused": True, "email": EMAIL}) == (
        Definition(None, 60, "UTC", "all", EMAIL),
        True,
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"cron": None}, ("/cron", "is required unless every is given")),
        ({"every": 60}, ("/cron", "cannot be given beside every")),
        ({"cron": None, "every": 0}, ("/every", "must be at least 1")),
        ({"cron": None, "every": 1.5}, ("/every", "must be a whole number")),
        ({"cron": None, "every": 60, "timezone": "UTC"}, ("/timezone", "cannot be given beside every")),
        ({"cron": 5}, ("/cron", "must be a string")),
        ({"cron": "x" * 201}, ("/cron", "must be at most 200 characters long")),
        ({"cron": "0 9 * *"}, ("/cron", "is no cron expression: cron expression '0 9 * *': Wrong number of fields")),
        ({"cron": "0 9 31 2 *"}, ("/cron", "is no cron expression: cron expression '0 9 31 2 *': Bad day-of-month")),
        (
            {"timezone": "Europe/Berlim"},
            ("/timezone", "is not the name of an IANA time zone; did you mean Europe/Berlin?"),
        ),
        ({"misfire": "never"}, ("/misfire", "Input should be 'skip', 'once' or 'all'")),
        ({"email": None}, ("/email", "is required")),
        ({"email": []}, ("/email", "must be an object")),
        (
            {"email": EMAIL | {"scheduled_at": "2030-01-01T00:00:00Z"}},
            ("/email/scheduled_at", "cannot be given: the schedule says when"),
        ),
        (
            {"email": EMAIL | {"template": {"name": "a", "variables": {"n": 2**64}}}},
            ("/email", "has a whole number of more than 64 bits in it"),
        ),
        ({"name": "x"}, ("/name", "does not exist; known are cron, email, every, misfire, paused, timezone")),
    ],
)
def test_a_bad_schedule_says_what_is_right(wrong: dict[str, Any], told: tuple[str, str]) -> None:
    """Each kind of mistake has its own sentence."""
    assert faults({"cron": "0 9 * * *", "email": EMAIL} | wrong) == [told]
