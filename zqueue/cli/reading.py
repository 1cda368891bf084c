"""How arguments are read: moments, lengths of time and payloads. Each raises `click.BadParameter`, which says why."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Final

import click
import orjson

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?(?P<offset>[Zz]|[+-]\d\d:\d\d)?")
_LENGTH: Final = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>ms|s|m|h|d|w)?")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def read_moment(text: str) -> datetime:
    """A moment as RFC 3339, section 5.6, writes it. Its offset has to be there: nobody's time zone is guessed."""
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise click.BadParameter(f"{text!r} is not a time like 2026-11-24T09:00:00Z or 2026-11-24T10:00:00+01:00")
    if parts["offset"] is None:
        raise click.BadParameter(f"{text!r} does not say its offset: end it with Z for UTC, or with one like +01:00")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time: {error}") from None


def read_length(text: str) -> timedelta:
    """A length of time: a number of seconds, or of ``ms s m h d w``."""
    parts = _LENGTH.fullmatch(text)
    if parts is None:
        raise click.BadParameter(f"{text!r} is not a length of time like 90, 90s, 5m, 2h or 7d")
    try:
        return float(parts["number"]) * _UNITS[parts["unit"] or "s"]
    except OverflowError:
        raise click.BadParameter(f"{text!r} is too long") from None


def read_payload(text: str) -> Any:
    """A payload, which is JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"it is not JSON ({error}); a string needs quotes of its own: '\"text\"'") from None
