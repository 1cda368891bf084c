"""How often a failed job runs again, and after how long. Pure: nothing here sleeps or reads a clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from zqueue.errors import InvalidJob

LONGEST = timedelta(days=366)
"""No delay is longer than this, whatever a backoff computes."""

_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Backoff:
    """A rule from the number of failed attempts to the delay before the next one.

    Make one with `fixed`, `exponential` or `steps`; two backoffs with the same parameters are equal.

    Attributes:
        kind: ``fixed``, ``exponential`` or ``steps``.
        seconds: The delay; the base of the power; or the list of delays, the last one repeating.
        cap: Longest delay in seconds before jitter.
        jitter: Share of the delay, 0 to 1, by which it is spread both ways, so that what failed together does not
            come back together.
    """

    kind: str
    seconds: tuple[float, ...]
    cap: float = LONGEST.total_seconds()
    jitter: float = 0.0

    def delay(self, failures: int, rng: Callable[[], float] = random.random) -> timedelta:
        """The wait after the *failures*-th failed attempt, counted from 1.

        Args:
            failures: Failed attempts so far, at least 1.
            rng: Draws from [0, 1); a test passes its own.
        """
        if self.kind == "steps":
            delay = self.seconds[min(failures, len(self.seconds)) - 1]
        elif self.kind == "exponential":
            delay = self.seconds[0] * 2.0 ** min(failures - 1, 64)
        else:
            delay = self.seconds[0]
        delay = min(delay, self.cap)
        if self.jitter:
            delay *= 1 + self.jitter * (2 * rng() - 1)
        return timedelta(seconds=min(delay, LONGEST.total_seconds()))


def _spread(jitter: bool | float) -> float:
    share = _SPREAD if jitter is True else jitter
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise InvalidJob(f"jitter must be a share between 0 and 1, not {jitter!r}")
    return float(share)


def _seconds(name: str, values: tuple[float, ...]) -> tuple[float, ...]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST.total_seconds():
            raise InvalidJob(f"{name} takes seconds between 0 and {LONGEST.days} days, not {value!r}")
    return tuple(float(value) for value in values)


def fixed(seconds: float, *, jitter: bool | float = False) -> Backoff:
    """The same delay each time. *jitter* is a share of it, or True for a quarter."""
    return Backoff("fixed", _seconds("fixed", (seconds,)), jitter=_spread(jitter))


def exponential(base: float = 1, *, cap: float = 3600, jitter: bool | float = False) -> Backoff:
    """*base* seconds, then twice that, four times ..., never above *cap* seconds (before jitter)."""
    return Backoff(
        "exponential", _seconds("exponential", (base,)), cap=_seconds("cap", (cap,))[0], jitter=_spread(jitter)
    )


def steps(*seconds: float, jitter: bool | float = False) -> Backoff:
    """The listed delays in turn; the last one repeats."""
    if not seconds:
        raise InvalidJob("steps needs at least one delay")
    return Backoff("steps", _seconds("steps", seconds), jitter=_spread(jitter))


@dataclass(frozen=True, slots=True)
class Retry:
    """How many times a job runs in all, and the delays between.

    Attributes:
        attempts: Runs in all, at least 1: ``attempts=4`` is three retries. None never gives up.
        backoff: The delays between them.
    """

    attempts: int | None = 4
    backoff: Backoff = field(default_factory=lambda: exponential(1, cap=3600, jitter=True))

    def __post_init__(self) -> None:
        if self.attempts is not None and (type(self.attempts) is not int or self.attempts < 1):
            raise InvalidJob(f"attempts must be at least 1, or None, not {self.attempts!r}")
        if not isinstance(self.backoff, Backoff):
            raise InvalidJob(f"backoff must come from fixed, exponential or steps, not {self.backoff!r}")

    def next_delay(self, failures: int) -> timedelta | None:
        """The wait after the *failures*-th failed attempt, or None when that was the last one."""
        if self.attempts is not None and failures >= self.attempts:
            return None
        return self.backoff.delay(failures)

    def to_json(self) -> list[Any]:
        """What an envelope keeps: ``[attempts, kind, seconds, cap, jitter]``."""
        backoff = self.backoff
        return [self.attempts, backoff.kind, list(backoff.seconds), backoff.cap, backoff.jitter]

    @classmethod
    def from_json(cls, stored: list[Any]) -> Retry:
        """The inverse of `to_json`; raises ValueError (of which InvalidJob is one) or TypeError on anything else."""
        attempts, kind, seconds, cap, jitter = stored
        if kind not in ("fixed", "exponential", "steps") or not seconds:
            raise ValueError(f"unknown backoff {kind!r}")
        return cls(attempts, Backoff(kind, _seconds(kind, tuple(seconds)), _seconds("cap", (cap,))[0], _spread(jitter)))
