"""How the command line reads times, lengths of time and payloads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from zqueue.cli.reading import read_length, read_moment, read_payload


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T09:00:00Z", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24t09:00:00z", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24 09:00:00.25+00:00", datetime(2026, 11, 24, 9, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-11-24T09:00:00-03:30", datetime(2026, 11, 24, 9, tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
        ("2026-11-24T09:00:00.123456789Z", datetime(2026, 11, 24, 9, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_a_time_is_rfc_3339(text: str, moment: datetime) -> None:
    """Date, time and offset; finer than a microsecond is cut off."""
    assert read_moment(text) == moment
    assert read_moment(text).utcoffset() == moment.utcoffset()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-11-24T09:00:00", "does not say its offset: end it with Z for UTC"),
        ("2026-11-24", "is not a time like 2026-11-24T09:00:00Z"),
        ("20261124T090000Z", "is not a time like"),
        ("2026-W48-2T09:00:00Z", "is not a time like"),
        ("tomorrow", "is not a time like"),
        ("1764000000", "is not a time like"),
        ("2026-02-30T09:00:00Z", "is no time: day is out of range"),
        ("2026-11-24T24:01:00Z", "is no time: "),
        ("2026-11-24T09:00:00+25:00", "is no time: "),
        ("2026-11-24T09:00:00Z ", "is not a time like"),
    ],
)
def test_a_time_that_could_be_misread_is_refused(text: str, why: str) -> None:
    """A naive one above all: it would be due at another moment in another time zone."""
    with pytest.raises(click.BadParameter) as refusal:
        read_moment(text)
    assert refusal.value.message.startswith(repr(text))
    assert why in refusal.value.message


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90", timedelta(seconds=90)),
        ("90s", timedelta(seconds=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("0", timedelta(0)),
        ("5m", timedelta(minutes=5)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, length: timedelta) -> None:
    """Seconds without one."""
    assert read_length(text) == length


@pytest.mark.parametrize("text", ["", "-5", "5 m", "5M", "5min", "1h30m", "soon", "1e3", "nan", "99999999999d"])
def test_a_length_of_time_that_is_none_is_refused(text: str) -> None:
    """With what was given."""
    with pytest.raises(click.BadParameter, match=r"is not a length of time|is too long") as refusal:
        read_length(text)
    assert repr(text) in refusal.value.message


def test_a_payload_is_json() -> None:
    """A word without quotes is not, and is told how it would be."""
    assert read_payload('{"to": ["a", 1, null]}') == {"to": ["a", 1, None]}
    with pytest.raises(click.BadParameter, match="a string needs quotes of its own"):
        read_payload("hello")
