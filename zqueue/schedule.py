"""When a recurring job is due: `cron` and `every`, and what becomes of slots that were missed. Pure.

A *slot* is an instant at which a schedule fires, always an aware datetime in UTC. Cronsim parses cron expressions and
matches them against a calendar without time zones. The step to real instants is made here, because cronsim's own
skips slots where clocks change by half an hour (Lord Howe), applies no rule to expressions with seconds, and answers
a time in the past when it is asked during the repeated hour.
"""

from __future__ import annotations

import functools
import zoneinfo
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal, get_args

from cronsim import CronSim, CronSimError

from zqueue import clock
from zqueue.errors import InvalidJob

Misfire = Literal["skip", "once", "all"]
"""What becomes of slots that no worker was there for; see `due_slots`."""

MISFIRES: tuple[Misfire, ...] = get_args(Misfire)

GRACE = timedelta(seconds=60)
"""A slot that is later than this was missed: longer than a restart of the workers, not longer than a cron minute."""

MOST_AT_ONCE = 100
"""Slots that `due_slots` answers in one call: the jobs that one script call takes."""

_SHORTEST = timedelta(milliseconds=100)
_SECOND, _MINUTE, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
_REFERENCE = datetime(2000, 1, 1, tzinfo=UTC)


@functools.cache
def _zone(name: str) -> tzinfo:
    """The time zone of an IANA name; UTC needs no database."""
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # no such zone; no name of one; a folder
        hint = "" if zoneinfo.available_timezones() else ": there is no time zone database here (pip install tzdata)"
        raise InvalidJob(f"unknown time zone {name!r:.80}{hint}") from error


def _offset(zone: tzinfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a time zone. Make one with `cron`; equal when made from the same parameters.

    Attributes:
        expr: The expression, its fields one space apart.
        tz: IANA name of the time zone.
    """

    expr: str
    tz: str = "UTC"

    def __post_init__(self) -> None:
        if not (isinstance(self.expr, str) and isinstance(self.tz, str)):
            raise InvalidJob(f"cron takes an expression and the name of a time zone, not {self.expr!r}, {self.tz!r}")
        try:
            self.next_after(_REFERENCE)
        except CronSimError as error:
            raise InvalidJob(f"cron expression {self.expr!r:.80}: {error}") from error

    def __str__(self) -> str:
        return f"{self.expr} ({self.tz})"

    def next_after(self, moment: datetime) -> datetime:
        """The first slot strictly after *moment*, in UTC.

        Raises:
            InvalidJob: *moment* is naive; or there is no slot within 50 years of it.
        """
        after = clock.moment(clock.instant_us("moment", moment)).replace(microsecond=0)
        zone = _zone(self.tz)
        try:
            matches = CronSim(self.expr, after.astimezone(zone).replace(tzinfo=None))
            return self._frequent(after, zone) if _is_frequent(matches) else _fixed(matches, after, zone)
        except (StopIteration, OverflowError):
            raise InvalidJob(
                f"cron expression {self.expr!r:.80} never matches in the 50 years from {moment:%Y-%m-%d}"
            ) from None

    def _frequent(self, after: datetime, zone: tzinfo) -> datetime:
        """The first instant whose local time matches: hours that clocks repeat count twice, those they skip never.

        While the offset stays, local time is UTC and a constant; so go from one change of the offset to the next.
        """
        start = after + _SECOND  # the first instant that may be the slot
        while True:
            offset = _offset(zone, start)
            local = (start + offset - _SECOND).replace(tzinfo=None)
            slot = next(CronSim(self.expr, local)).replace(tzinfo=UTC) - offset
            end = min(slot, start + _DAY)  # no zone changes its offset twice within a day
            if _offset(zone, end) != offset:
                start += _SECOND * bisect_left(range(86_400), True, key=_differs(zone, start, offset))
            elif end == slot:
                return slot
            else:  # nothing matches till slot, whose local time no change of offset moves by two days
                start = max(end, slot - 2 * _DAY)

    def to_json(self) -> list[Any]:
        """What a queue keeps: ``["cron", expr, tz]``."""
        return ["cron", self.expr, self.tz]


def _differs(zone: tzinfo, start: datetime, offset: timedelta) -> Any:
    return lambda seconds: _offset(zone, start + _SECOND * seconds) != offset


def _is_frequent(pattern: CronSim) -> bool:
    """Whether minute or hour is a wildcard or a step (or all there are, which is ``*`` in other words)."""
    _, minute, hour, *_ = pattern.parts
    return bool(set("*/") & set(minute + hour)) or len(pattern.minutes) == 60 or len(pattern.hours) == 24


def _fixed(matches: CronSim, after: datetime, zone: tzinfo) -> datetime:
    """The first slot after *after* when each local time that matches happens once, whatever the clocks do.

    A time that occurs twice means the first; one that is skipped means the next minute that is not. What was asked
    for during the second pass may already have been, in the first: those are passed over.
    """
    for match in matches:
        local = match
        while (slot := local.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != local:
            local = local.replace(second=0) + _MINUTE
        if slot > after:
            return slot
    raise StopIteration


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval, counted from the epoch. Make one with `every`; equal when the intervals are.

    Attributes:
        interval: Between two slots; 100 ms to 1,000 years.
    """

    interval: timedelta

    def __post_init__(self) -> None:
        clock.duration_us("interval", self.interval)
        if not isinstance(self.interval, timedelta) or self.interval < _SHORTEST:
            raise InvalidJob(f"interval must be a timedelta of at least 100 ms, not {self.interval}")

    def __str__(self) -> str:
        return f"every {self.interval}"

    def next_after(self, moment: datetime) -> datetime:
        """The first slot strictly after *moment*, in UTC.

        Raises:
            InvalidJob: *moment* is naive; or the slot would be past the year 9999.
        """
        epoch = clock.moment(0)
        passed = clock.moment(clock.instant_us("moment", moment)) - epoch
        try:
            return epoch + (passed // self.interval + 1) * self.interval
        except OverflowError:
            raise InvalidJob(f"{self} has no slot after {moment}") from None

    def to_json(self) -> list[Any]:
        """What a queue keeps: ``["every", microseconds]``."""
        return ["every", self.interval // timedelta(microseconds=1)]


Schedule = Cron | Every
"""When something recurs; `isinstance` works with it."""


def cron(expr: str, tz: str = "UTC") -> Cron:
    """A schedule from a cron expression: ``cron("0 9 * * mon-fri", tz="Europe/Berlin")``.

    When clocks change, a *fixed-time* pattern (neither minute nor hour is a wildcard or a step) fires once for each
    time it names: in the gap at the next valid minute, in the overlap at the first of the two. A *frequent* one (such
    as ``0 * * * *`` or ``*/15 * * * *``) fires at each instant whose local time matches, through the overlap too: it
    never waits an extra hour.

    Args:
        expr: ``minute hour day month weekday`` as in Debian's cron, or six fields with the second first. Numbers,
            names (``jan``, ``mon``), ``*``, ``a-b``, ``*/n``, lists; ``L`` and ``LW`` (last day, last weekday of the
            month), ``5L`` (last Friday), ``1#2`` (second Monday). If day and weekday are both given and neither
            begins with ``*``, either of them is enough.
        tz: IANA name of the time zone whose clocks the expression means.

    Raises:
        InvalidJob: The expression is malformed or never matches (in 50 years), or no such time zone is known.
    """
    return Cron(" ".join(expr.split()) if isinstance(expr, str) else expr, tz)


def every(interval: clock.Duration) -> Every:
    """A schedule whose slots are the multiples of *interval* since the epoch (1970-01-01T00:00Z).

    They do not depend on when the schedule was made: ``every(3600)`` fires on the hour of UTC.

    Args:
        interval: A timedelta or seconds, from 100 ms to 1,000 years.

    Raises:
        InvalidJob: It is shorter, longer, or no duration.
    """
    return Every(timedelta(microseconds=clock.duration_us("interval", interval)))


def schedule_from_json(stored: object) -> Schedule:
    """The inverse of ``to_json``; raises ValueError (of which InvalidJob is one) on anything else."""
    match stored:
        case ["cron", str(expr), str(tz)]:
            return Cron(expr, tz)
        case ["every", int(us)] if 0 < us < 10**17:  # a timedelta holds it
            return Every(timedelta(microseconds=us))
    raise ValueError(f"unknown schedule {stored!r:.80}")


def due_slots(schedule: Schedule, slot: datetime, now: datetime, misfire: Misfire) -> tuple[list[datetime], datetime]:
    """What a schedule fires now, and the slot it is at afterwards.

    - ``skip``: the last slot that is due, unless it is later than `GRACE`; those before it are skipped.
    - ``once``: the last slot that is due, however late, for all that were missed.
    - ``all``: each slot that is due, oldest first, at most `MOST_AT_ONCE`; the next slot may then be due as well.

    Fast however long ago *slot* is: the last one is found by bisection.

    Args:
        schedule: Says what follows a slot.
        slot: The one it is at: neither fired nor skipped so far.
        now: The server's time.
        misfire: What becomes of slots that were missed.

    Returns:
        The slots to fire, in order, none of them after *now*; and the next slot, after all of them.

    Raises:
        InvalidJob: The schedule has no further slot, *misfire* is unknown, or a time is naive.
    """
    if misfire not in MISFIRES:
        raise InvalidJob(f"misfire must be skip, once or all, not {misfire!r}")
    if slot > now:
        return [], slot
    if misfire == "all":
        due: list[datetime] = []
        while slot <= now and len(due) < MOST_AT_ONCE:
            due.append(slot)
            slot = schedule.next_after(slot)
        return due, slot
    last = _last_due(schedule, slot, now)
    return [] if misfire == "skip" and now - last > GRACE else [last], schedule.next_after(now)


def _last_due(schedule: Schedule, slot: datetime, now: datetime) -> datetime:
    """The last slot that is not after *now*; *slot* is one."""
    none_after = now  # between this and now there is no further slot
    while (following := schedule.next_after(slot)) <= now:
        middle = following + (none_after - following) / 2
        found = schedule.next_after(middle)
        if found <= now:
            slot = found
        else:
            slot, none_after = following, middle
    return slot
