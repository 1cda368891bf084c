"""How fast e-mails leave, and how many at once to one domain: limits of the queue, which holds them for all workers.

The queue counts per group, which is the domain of an e-mail's recipients. One limit stands for every domain, so that
the queue keeps no key for each it has ever seen; those with a rate of their own have a limit of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta

import zqueue
from service.rates import Rate
from service.store.store import Store

ALL = "*"
"""The name of the queue's rate in the settings."""

_EACH = "*"  # what zqueue calls every group without a limit of its own
_KIND, _NAME = "setting", "rate_limits"
_STEADY = 20  # starts a second that a worker spaces evenly; of more, some may start together


class Throttle:
    """Sets the limits of a queue; see the module."""

    def __init__(
        self, store: Store, queue: zqueue.Queue, *, rates: Mapping[str, Rate], domain_concurrency: int
    ) -> None:
        """Set nothing yet.

        Args:
            store: Remembers which domains have a limit, so that one that is not wanted any more is lifted.
            queue: Carries the e-mails.
            rates: By domain, and of all together under `ALL`.
            domain_concurrency: E-mails to one domain that are worked on at once.
        """
        self._store = store
        self._queue = queue
        self._rates = rates
        self._most = domain_concurrency

    async def apply(self) -> None:
        """Set them; what was set and is not wanted any more is lifted.

        Raises:
            QueueUnavailable: The queue could not be reached; repeating is safe.
            StoreUnavailable: The store takes no change.
        """
        domains = {name: rate for name, rate in self._rates.items() if name != ALL}
        known = self._store.document(_KIND, _NAME)
        before = set() if known is None else set(known.data["domains"])
        if before != set(domains):
            # Remembered before they are set, and forgotten after they are lifted: no crash between leaves one behind.
            await self._remember(before | set(domains))
        await self._limit(None, self._rates.get(ALL), None)
        await self._queue.set_limit(_EACH, concurrency=self._most)
        for domain, rate in domains.items():
            await self._limit(domain, rate, self._most)
        for domain in before - set(domains):
            await self._queue.set_limit(domain)
        if before != set(domains):
            await self._remember(set(domains))

    async def _limit(self, group: str | None, rate: Rate | None, most: int | None) -> None:
        if rate is None:
            await self._queue.set_limit(group, concurrency=most)
            return
        burst = max(1, math.ceil(rate.count / rate.seconds / _STEADY))
        per = timedelta(seconds=rate.seconds)
        await self._queue.set_limit(group, rate=rate.count, per=per, burst=burst, concurrency=most)

    async def _remember(self, domains: Iterable[str]) -> None:
        data = {"domains": sorted(domains)}
        await self._store.write(lambda transaction: transaction.put(_KIND, _NAME, data, type="setting.updated"))
