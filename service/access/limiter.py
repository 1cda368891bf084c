"""How often a key may be used: token buckets in the memory of this process, each no more than a number.

The bucket is kept as the time at which it would be full again (the generic cell rate algorithm, ITU-T I.371): one that
is full needs no memory, so that there are never more of them than keys that were used within a window.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.access.scopes import Scope
from service.rates import Rate

MOST = 10_000
"""Buckets that are kept at once."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one request was told.

    Attributes:
        policy: The name of the limit.
        rate: The limit.
        remaining: Requests that may follow at once.
        reset: Seconds until as many as ever may follow.
        wait: Seconds until this one may be tried again; 0 if it may go on.
    """

    policy: str
    rate: Rate
    remaining: int
    reset: float
    wait: float

    @property
    def headers(self) -> dict[str, str]:
        """Its fields (draft-ietf-httpapi-ratelimit-headers-11)."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.rate.count};w={self.rate.seconds}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={math.ceil(self.reset)}',
        }


class Limiter:
    """Counts the requests of each key; see the module.

    Args:
        rates: Scope -> how often it may be used with one key. What is not here is free.
        clock: Seconds that only grow.
    """

    def __init__(self, rates: Mapping[str, Rate], clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._clock = clock
        self._full_at: dict[tuple[str, Scope], float] = {}

    def take(self, key_id: str, scope: Scope) -> Allowance | None:
        """Count one request; None where there is no limit."""
        rate = self._rates.get(scope)
        if rate is None:
            return None
        now = self._clock()
        each = rate.seconds / rate.count
        full_at = max(self._full_at.get((key_id, scope), now), now)
        # A billionth of slack: sums of fractions of a second are not exact.
        room = rate.seconds - (full_at - now) + rate.seconds * 1e-9
        if room < each:
            return Allowance(scope, rate, 0, full_at - now, each - room)
        self._keep((key_id, scope), full_at + each, now)
        return Allowance(scope, rate, int(room / each) - 1, full_at + each - now, 0)

    def _keep(self, bucket: tuple[str, Scope], full_at: float, now: float) -> None:
        self._full_at.pop(bucket, None)
        self._full_at[bucket] = full_at
        if len(self._full_at) > MOST:
            self._full_at = {bucket: at for bucket, at in self._full_at.items() if at > now}
            while len(self._full_at) > MOST:
                del self._full_at[next(iter(self._full_at))]
