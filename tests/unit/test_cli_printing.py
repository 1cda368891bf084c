"""How the command line shows values to people and to programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from zqueue.cli.messages import clean, tell
from zqueue.cli.printing import encode, plain
from zqueue.cli.tables import friendly, length

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LATER = datetime(2026, 11, 24, 12, 30, 0, 250, tzinfo=timezone(timedelta(hours=1)))


def test_json_is_one_line_with_times_in_utc() -> None:
    """Times to the microsecond, lengths in seconds, and null for nothing."""
    document = {"at": LATER, "age_s": timedelta(minutes=1.5), "payload": {"a": ["x\n", None]}, "error": None}
    assert encode(document) == (
        '{"at":"2026-11-24T11:30:00.000250Z","age_s":90.0,"payload":{"a":["x\\n",null]},"error":null}'
    )


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("due_at", LATER, "2026-11-24T11:30:00.000250Z"),
        ("timeout_s", timedelta(seconds=90), "90.0"),
        ("error", None, ""),
        ("payload", None, "null"),
        ("payload", "1", '"1"'),
        ("payload", 1, "1"),
        ("paused", True, "true"),
        ("attempts", 1000, "1000"),
        ("name", "a\tb\nc", "a\\tb\\nc"),
        ("payload", "a\tb", '"a\\tb"'),
    ],
)
def test_a_field_of_a_tab_separated_line(key: str, value: Any, shown: str) -> None:
    """Holds no tab and no newline, and a payload's string can be told from its number."""
    assert plain(key, value) == shown


def test_what_others_stored_cannot_write_to_the_terminal() -> None:
    """Escape sequences, C1 controls and changes of direction are shown, not obeyed; other scripts are left alone."""
    assert clean("\x1b[2Jhi\x9b31m\x07\u202e Grüße 你好") == "\\x1b[2Jhi\\x9b31m\\x07\\u202e Grüße 你好"
    assert friendly("error", "boom\x1b[0m", NOW) == "boom\\x1b[0m"
    assert friendly("payload", {"a": "\x7f\x9b"}, NOW) == '{"a":"\\x7f\\x9b"}'


def test_neither_can_it_by_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the message's own lines are lines."""
    tell("no job '\x1b[2J\x9b'\nand more", label="Error:")
    assert capsys.readouterr() == ("", "Error: no job '\\x1b[2J\\x9b'\nand more\n")


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("due_at", NOW + timedelta(hours=2, minutes=5, seconds=1), "2026-11-24 11:05:01Z (in 2 h 5 min)"),
        ("ended_at", NOW - timedelta(days=3), "2026-11-21 09:00:00Z (3 d 0 h ago)"),
        ("oldest_due_age_s", timedelta(seconds=0.25), "0.25 s"),
        ("error", None, "-"),
        ("payload", None, "-"),
        ("paused", False, "no"),
        ("payload", False, "false"),
        ("dead", 1234567, "1,234,567"),
        ("payload", 1234567, "1234567"),
        ("state", "dead", "dead"),
    ],
)
def test_a_value_for_people(key: str, value: Any, shown: str) -> None:
    """Times with their distance from now, numbers in groups; a payload as it is."""
    assert friendly(key, value, NOW) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.00042, "0.00042 s"),
        (3.14159, "3.1 s"),
        (59.6, "1 min 0 s"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_length_of_time_for_people(seconds: float, shown: str) -> None:
    """By its two largest units."""
    assert length(timedelta(seconds=seconds)) == shown
