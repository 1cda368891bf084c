"""Which e-mails are not final, in the order of their times."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice

_FEW = 1_000
"""Seconds without ids that are not worth looking for."""

_SECOND = len("2026-11-24T09:30:00")


class Agenda:
    """Ids in buckets of one second, ordered by second, in no order within one.

    Times are texts in the form that `service.email.times.to_z` writes, whose order as texts is their order in time.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, dict[str, str]] = {}
        self._seconds: list[str] = []
        self._sorted = True
        self._empty = 0  # how many buckets hold nothing

    def add(self, email_id: str, due: str) -> None:
        """Note that *email_id* is due then."""
        second = due[:_SECOND]
        bucket = self._buckets.get(second)
        if bucket is None:
            self._buckets[second] = {email_id: due}
            # A new second is mostly a later one. Sorting waits for a reader, so that loading a million stays linear.
            self._sorted = self._sorted and (not self._seconds or self._seconds[-1] < second)
            self._seconds.append(second)
        else:
            self._empty -= not bucket
            bucket[email_id] = due

    def remove(self, email_id: str, due: str) -> None:
        """Forget what `add` noted."""
        bucket = self._buckets[due[:_SECOND]]
        del bucket[email_id]
        self._empty += not bucket
        if self._empty > max(_FEW, len(self._seconds) // 2):  # so that nobody need read for it to stay small
            self._buckets = {second: bucket for second, bucket in self._buckets.items() if bucket}
            self._seconds = [second for second in self._seconds if second in self._buckets]
            self._empty = 0

    def before(self, moment: str) -> Iterator[str]:
        """The ids that are due before *moment*, earliest second first; the agenda may not change meanwhile."""
        self._tidy()
        for second in self._seconds:
            if second > moment:
                return
            for email_id, due in self._buckets[second].items():
                if due < moment:
                    yield email_id

    def following(self, due: str, email_id: str, count: int) -> list[tuple[str, str]]:
        """Times and ids in the order of both, from the first after these two on: *count* of them, if there are."""
        self._tidy()
        found: list[tuple[str, str]] = []
        for second in islice(self._seconds, bisect_left(self._seconds, due[:_SECOND]), None):
            each = ((when, which) for which, when in self._buckets[second].items())
            # A second may hold a whole mailing, of which a page needs little.
            found += nsmallest(count - len(found), (one for one in each if one > (due, email_id)))
            if len(found) == count:
                break
        return found

    def ids(self) -> list[str]:
        """All ids, earliest second first."""
        self._tidy()
        return [email_id for second in self._seconds for email_id in self._buckets[second]]

    def _tidy(self) -> None:
        if not self._sorted:
            self._seconds.sort()
            self._sorted = True
        # Seconds empty from the front, as time passes.
        empty = next((n for n, second in enumerate(self._seconds) if self._buckets[second]), len(self._seconds))
        for second in self._seconds[:empty]:
            del self._buckets[second]
        del self._seconds[:empty]
        self._empty -= empty
