"""Moments as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.email.times import GRACE, InvalidTime, InvalidZone, from_z, not_past, parse, to_z

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T09:30:00Z", datetime(2026, 11, 24, 9, 30, tzinfo=UTC)),
        ("2026-11-24t09:30:00z", datetime(2026, 11, 24, 9, 30, tzinfo=UTC)),
        ("2026-11-24T09:30:00+01:00", datetime(2026, 11, 24, 8, 30, tzinfo=UTC)),
        ("2026-11-24T09:30:00-23:59", datetime(2026, 11, 25, 9, 29, tzinfo=UTC)),
        ("2026-11-24T09:30:00-00:00", datetime(2026, 11, 24, 9, 30, tzinfo=UTC)),
        ("2026-11-24T09:30:00.5Z", datetime(2026, 11, 24, 9, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-24T09:30:00.123456789Z", datetime(2026, 11, 24, 9, 30, 0, 123_456, tzinfo=UTC)),
        ("2028-02-29T00:00:00Z", datetime(2028, 2, 29, tzinfo=UTC)),
        ("2200-12-31T23:59:59Z", datetime(2200, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_parse_reads_rfc_3339(text: str, expected: datetime) -> None:
    """A date-time of RFC 3339 is read to the microsecond and answered in UTC."""
    assert parse(text) == expected
    assert parse(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1764000000, "must be a string"),
        (True, "must be a string"),
        (None, "must be a string"),
        (["2026-11-24T09:30:00Z"], "must be a string"),
        ("", "must be a date and time"),
        ("1764000000", "must be a date and time"),
        ("2026-11-24", "must be a date and time"),
        ("2026-11-24 09:30:00Z", "must be a date and time"),
        ("2026-11-24T09:30Z", "must be a date and time"),
        ("2026-11-24T09:30:00,5Z", "must be a date and time"),
        ("2026-11-24T09:30:00.Z", "must be a date and time"),
        ("2026-11-24T09:30:00+0100", "must be a date and time"),
        ("2026-11-24T09:30:00Z\n", "must be a date and time"),
        (" 2026-11-24T09:30:00Z", "must be a date and time"),
        ("20261124T093000Z", "must be a date and time"),
        ("2026-W48-2T09:30:00Z", "must be a date and time"),
        ("٢٠٢٦-11-24T09:30:00Z", "must be a date and time"),
        ("tomorrow", "must be a date and time"),
        ("2026-11-24T09:30:00", "has no offset"),
        ("2026-11-24T24:00:00Z", "hour 24"),
        ("2026-12-31T23:59:60Z", "leap second"),
        ("2026-11-24T09:60:00Z", "not a date and time of the calendar"),
        ("2026-02-29T00:00:00Z", "not a date and time of the calendar"),
        ("2026-13-01T00:00:00Z", "not a date and time of the calendar"),
        ("0000-01-01T00:00:00Z", "not a date and time of the calendar"),
        ("2026-11-24T09:30:00+24:00", "impossible offset"),
        ("2026-11-24T09:30:00+01:60", "impossible offset"),
        ("0001-01-01T00:00:00+01:00", "out of range"),
        ("9999-12-31T23:59:59-01:00", "out of range"),
        ("2201-01-01T00:00:00Z", "no later than the year 2200"),
    ],
)
def test_parse_refuses_everything_else(value: object, says: str) -> None:
    """What is not a full RFC 3339 date-time with an offset is refused, and the message says why."""
    with pytest.raises(InvalidTime, match=says):
        parse(value)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-07-01T09:00:00", "Europe/Berlin", datetime(2026, 7, 1, 7, tzinfo=UTC)),
        ("2026-12-01T09:00:00", "Europe/Berlin", datetime(2026, 12, 1, 8, tzinfo=UTC)),
        ("2026-12-01T09:00:00.25", "UTC", datetime(2026, 12, 1, 9, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-10-25T02:30:00", "Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("2026-03-29T02:30:00", "Europe/Berlin", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        ("2026-10-04T02:15:00", "Australia/Lord_Howe", datetime(2026, 10, 3, 15, 45, tzinfo=UTC)),
    ],
)
def test_parse_reads_a_local_time_in_its_zone(text: str, zone: str, expected: datetime) -> None:
    """A repeated local time means the earlier one, and a skipped one moves forward by the gap."""
    assert parse(text, zone) == expected


def test_parse_refuses_an_offset_beside_a_zone() -> None:
    """An offset and a time zone together could contradict each other, so they are refused."""
    with pytest.raises(InvalidTime, match="leave one of them out"):
        parse("2026-07-01T09:00:00Z", "Europe/Berlin")


@pytest.mark.parametrize(
    "zone", ["Europe/Berlim", "", "localtime", "right/UTC", "../UTC", "/etc/passwd", "Europe", "+1"]
)
def test_parse_refuses_what_is_not_an_iana_zone(zone: str) -> None:
    """Only names of the IANA list are zones: no paths, folders or zones that count leap seconds."""
    with pytest.raises(InvalidZone):
        parse("2026-07-01T09:00:00", zone)


def test_a_misspelt_zone_suggests_the_nearest() -> None:
    """The error for a misspelt zone names the one that was probably meant."""
    with pytest.raises(InvalidZone, match=r"did you mean Europe/Berlin\?"):
        parse("2026-07-01T09:00:00", "Europe/Berlim")


def test_not_past_takes_five_minutes_ago_for_now() -> None:
    """Up to five minutes past is now, the future stays, and anything older is an error."""
    assert not_past(NOW + timedelta(hours=1), NOW) == NOW + timedelta(hours=1)
    assert not_past(NOW, NOW) == NOW
    assert not_past(NOW - GRACE, NOW) == NOW
    with pytest.raises(InvalidTime, match="lies in the past"):
        not_past(NOW - GRACE - timedelta(microseconds=1), NOW)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 12, 30)),  # noqa: DTZ001 - the strategy wants naive bounds
    st.integers(-14 * 60, 14 * 60),
)
def test_written_times_read_back_the_same(local: datetime, minutes: int) -> None:
    """Both readers read what `to_z` writes, whatever zone the moment came in."""
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = to_z(moment)
    assert (from_z(text), parse(text)) == (moment, moment)
    assert len(text) == len("2026-11-24T08:30:00.000000Z")


def test_from_z_refuses_a_time_that_is_not_utc() -> None:
    """The journal holds times in UTC only."""
    with pytest.raises(ValueError, match="not a time in UTC"):
        from_z("2026-11-24T09:30:00+01:00")
