"""E-mails past their due time, in case nobody comes to them before their time is over.

A worker handles so many e-mails at once; while no relay works, those wait with it, and all others in the queue. What
waits there is given up here, when its time is over, with the reason why no mail flows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from service.email import life
from service.email.record import Status
from service.store.reader import Unfinished
from service.store.store import Store

LATE = timedelta(seconds=15)
"""How long after its due time an e-mail is looked after here."""

_PAGE = 100
_FEW = 1_000


class _Waiting(NamedTuple):
    email_id: str
    until: datetime


class Overdue:
    """Those that are late now.

    Args:
        store: Holds the records.
        trouble: Why no mail flows, in one sentence; None while it does.
    """

    def __init__(self, store: Store, *, trouble: Callable[[], str | None] = lambda: None) -> None:
        self._store = store
        self._trouble = trouble
        self._late: dict[str, _Waiting] = {}  # by job
        self._before: dict[str, _Waiting] = {}

    def begin(self) -> None:
        """Begin a look at everything: who is not noted in it is late no more.

        Few are read again, since their time may have been edited; of many that is not worth it.
        """
        self._before, self._late = self._late if len(self._late) > _FEW else {}, {}

    def note(self, emails: Iterable[Unfinished], now: datetime) -> None:
        """Note those of *emails* that are late; each is read once, or once in every look at everything."""
        for one in emails:
            if one.due > now - LATE or one.status is Status.SENDING or one.job_id in self._late:
                continue
            if one.job_id in self._before:
                self._late[one.job_id] = self._before[one.job_id]
            elif (email := self._store.get(one.id)) is not None:
                self._late[one.job_id] = _Waiting(one.id, email.state.retry_until)

    async def give_up(self, now: datetime) -> None:
        """End those whose time is over.

        Raises:
            StoreError: The store takes no change.
        """
        over = [(job_id, one.email_id) for job_id, one in self._late.items() if one.until <= now]
        expire = partial(life.expire, now=now, trouble=self._trouble())
        for begin in range(0, len(over), _PAGE):
            page = over[begin : begin + _PAGE]
            changes = (self._store.change(email_id, expire) for _, email_id in page)
            ended = await asyncio.gather(*changes, return_exceptions=True)
            for (job_id, _), end in zip(page, ended, strict=True):
                if isinstance(end, BaseException) and not isinstance(end, life.WrongState):  # which is: no longer late
                    raise end
                del self._late[job_id]
