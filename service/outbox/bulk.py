"""The same step for every e-mail that is like a filter, however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from service.email.record import Change, Email
from service.email.steps import WrongState
from service.store.listing import Filter
from service.store.store import Store
from service.store.transaction import Transaction

CHUNK = 250
"""E-mails changed by one write."""

Decide = Callable[[Email], Change | None]


@dataclass(frozen=True, slots=True)
class Tally:
    """What came, or would come, of a step.

    Attributes:
        matched: E-mails that were like the filter.
        changed: Those that took the step.
        unchanged: Those that had taken it before.
        refused: Those for which it is too late.
    """

    matched: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.matched + other.matched,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.refused + other.refused,
        )


async def survey(store: Store, where: Filter, decide: Decide) -> Tally:
    """What `change` would come to now; nothing is changed."""
    tally = Tally()
    async for emails in _chunks(store, where):
        tally += Tally(matched=len(emails))
        for email in emails:
            tally += _judge(email, decide)
    return tally


async def change(store: Store, where: Filter, decide: Decide) -> AsyncIterator[tuple[Tally, list[Email]]]:
    """Take the step for all e-mails that are like *where* when this begins; a chunk is a write.

    Yields:
        What came of each chunk, and the e-mails that changed, as they are afterwards.

    Raises:
        StoreUnavailable: What was not yielded was not changed; repeating is safe.
    """
    async for emails in _chunks(store, where):
        ids = [email.id for email in emails]

        def work(transaction: Transaction, ids: list[str] = ids) -> tuple[Tally, list[Email]]:
            return _step(transaction, ids, decide)

        yield await store.write(work)


def _step(transaction: Transaction, ids: list[str], decide: Decide) -> tuple[Tally, list[Email]]:
    tally, changed = Tally(matched=len(ids)), []
    for email_id in ids:
        lines = len(transaction.drafts)
        try:
            email = transaction.change(email_id, decide)
        except WrongState:
            tally += Tally(refused=1)
            continue
        if len(transaction.drafts) > lines:
            changed.append(email)
            tally += Tally(changed=1)
        else:
            tally += Tally(unchanged=1)
    return tally, changed


def _judge(email: Email, decide: Decide) -> Tally:
    try:
        change = decide(email)
    except WrongState:
        return Tally(refused=1)
    return Tally(unchanged=1) if change is None else Tally(changed=1)


async def _chunks(store: Store, where: Filter) -> AsyncIterator[list[Email]]:
    """The e-mails like *where*, from the newest on; what is accepted meanwhile is not among them."""
    after: int | None = None
    more = True
    while more:
        page = await asyncio.to_thread(store.page, where, CHUNK, after=after)
        after, more = page.last, page.has_more
        if page.data:
            yield page.data
