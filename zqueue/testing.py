"""For the tests of programs that use zqueue: time that a test moves by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from zqueue.clock import instant_us, moment


class FakeClock:
    """A clock that stands still until it is moved; give it to a `Queue` as ``clock=``.

    The scripts of that queue then use its time instead of the server's: on a real server a job of next year is due as
    soon as the clock says so.
    """

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now_us = instant_us("start", start)

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self._now_us

    def now(self) -> datetime:
        """The time it shows."""
        return moment(self._now_us)

    def advance(self, by: timedelta) -> None:
        """Move it, forward or back."""
        self._now_us += by // timedelta(microseconds=1)
