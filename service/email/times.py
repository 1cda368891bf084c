"""Moments as text: a strict RFC 3339 reader, local times with an IANA zone, and the one form that is written.

Libraries read too much as a time (a number, a date alone, a blank instead of the T), and an e-mail whose time was
misread is sent at the wrong moment. So what is accepted is spelt out here, and everything else is refused by name.
"""

from __future__ import annotations

import difflib
import functools
import re
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone

GRACE = timedelta(minutes=5)
"""How far a requested time may lie in the past and still mean "now"."""

LAST_YEAR = 2200
"""The last year in which anything may be scheduled."""

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_EXAMPLE = "2026-11-24T09:30:00Z or 2026-11-24T09:30:00+01:00"


class InvalidTime(ValueError):
    """A text is not a moment this service accepts; the message says why and what is accepted, ready for the user."""


class InvalidZone(InvalidTime):
    """A text is not the name of an IANA time zone."""


def parse(value: object, zone: str | None = None) -> datetime:
    """Read one moment.

    Args:
        value: An RFC 3339 date-time (section 5.6) with ``Z`` or an offset; with *zone*, one without. Digits of the
            second's fraction beyond the sixth are dropped.
        zone: The IANA time zone of a local time. A local time that a change of clocks repeats means the earlier of
            the two; one that it skips is moved forward by the gap (PEP 495, ``fold=0``).

    Returns:
        The moment in UTC.

    Raises:
        InvalidTime: *value* is not such a text, or lies after the year 2200.
        InvalidZone: *zone* names no time zone.
    """
    if not isinstance(value, str):
        raise InvalidTime(f"must be a string such as {_EXAMPLE}")
    match = _RFC3339.fullmatch(value)
    if match is None:
        raise InvalidTime(f"must be a date and time with seconds and an offset, such as {_EXAMPLE}")
    local, offset = _local(match), match[8]
    if zone is not None:
        if offset is not None:
            raise InvalidTime("has an offset although `timezone` is given; leave one of them out")
        return _in_utc(local.replace(tzinfo=_zone(zone)))
    if offset is None:
        raise InvalidTime(f"has no offset; write it as in {_EXAMPLE}, or name the zone in `timezone`")
    return _in_utc(local.replace(tzinfo=_offset(offset)))


def not_past(moment: datetime, now: datetime) -> datetime:
    """*moment*, or *now* when it lies at most `GRACE` in the past; both aware.

    Raises:
        InvalidTime: It lies further back.
    """
    if moment >= now:
        return moment
    if now - moment > GRACE:
        raise InvalidTime(
            f"lies in the past ({to_z(moment)}; it is {to_z(now)} now); "
            "choose a later time, or leave it out to send at once"
        )
    return now


def to_z(moment: datetime) -> str:
    """An aware *moment* as it is written everywhere: ``2026-11-24T08:30:00.000000Z``."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def from_z(text: str) -> datetime:
    """The inverse of `to_z`; raises ValueError on anything that is not a time in UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not UTC:
        raise ValueError(f"not a time in UTC: {text!r}")
    return moment


def _local(match: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    if hour == 24:
        raise InvalidTime("has the hour 24; midnight is 00:00:00 of the next day")
    if second == 60:
        raise InvalidTime("has a leap second (60); seconds go from 00 to 59")
    fraction = (match[7] or "0")[:6].ljust(6, "0")
    try:
        return datetime(year, month, day, hour, minute, second, int(fraction))  # noqa: DTZ001 - the zone comes next
    except ValueError as error:
        raise InvalidTime(f"is not a date and time of the calendar: {error}") from error


def _offset(text: str) -> timezone:
    if text in ("Z", "z"):
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise InvalidTime(f"has the impossible offset {text}; offsets go from -23:59 to +23:59")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _in_utc(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidTime("is out of range") from error
    if moment.year > LAST_YEAR:
        raise InvalidTime(f"must lie no later than the year {LAST_YEAR}")
    return moment


@functools.cache
def _names() -> frozenset[str]:
    # The listing, and not ZoneInfo(name) alone: that would also open folders and the "right/" zones, which count
    # leap seconds. What this machine takes for its own zone has no place in a request.
    return frozenset(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})


@functools.lru_cache(maxsize=64)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    if name not in _names():
        near = difflib.get_close_matches(name[:64], _names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "use one such as Europe/Berlin or UTC"
        raise InvalidZone(f"is not the name of an IANA time zone; {hint}")
    return zoneinfo.ZoneInfo(name)
