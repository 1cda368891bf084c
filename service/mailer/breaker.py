"""Whether a relay is used or left alone for a while. Pure: it sleeps nowhere and reads only the clock it is given."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

from zqueue import exponential

FIRST = 5.0
"""Seconds from the first trouble to the first probe."""
LONGEST = 300.0
"""Seconds between probes at most, before jitter."""

_JITTER = 0.1


class Breaker:
    """Closed while the relay works; open after trouble, but for one probe at a time, later and later.

    Attributes:
        error: What the last trouble was, in one sentence; None while closed.
    """

    def __init__(
        self,
        *,
        first: float = FIRST,
        longest: float = LONGEST,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        """Start closed.

        Args:
            first: Seconds to the first probe.
            longest: Seconds between probes at most.
            clock: Seconds on a clock that never jumps.
            rng: Draws the jitter from [0, 1).
        """
        self._backoff = exponential(first, cap=longest, jitter=_JITTER)
        self._clock = clock
        self._rng = rng
        self._failures = 0
        self._probe_at = 0.0
        self._probing = False
        self.error: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether everybody may use the relay."""
        return self._failures == 0

    def wait(self) -> float:
        """Seconds until `enter` may answer True: 0 for now, infinity while a probe is out."""
        if self.is_closed:
            return 0.0
        return math.inf if self._probing else max(0.0, self._probe_at - self._clock())

    def enter(self) -> bool:
        """Whether the caller may use the relay; while not closed, a True makes the caller the probe.

        A probe ends with `succeeded`, `failed(..., probe=True)` or `abandoned`.
        """
        if self.wait() > 0:
            return False
        self._probing = not self.is_closed
        return True

    def succeeded(self) -> None:
        """The relay works."""
        self._failures = 0
        self._probing = False
        self.error = None

    def failed(self, error: str, *, probe: bool = False) -> None:
        """The relay does not work. What was under way when it opened delays the next probe no further; a probe does."""
        self.error = error
        if not self.is_closed and not probe:
            return
        self._failures += 1
        self._probing = False
        self._probe_at = self._clock() + self._backoff.delay(self._failures, self._rng).total_seconds()

    def abandoned(self) -> None:
        """The probe ended without telling anything: another may go at once."""
        self._probing = False
