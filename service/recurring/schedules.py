"""All schedules, for those who write and read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import zqueue
from service.email.faults import InvalidRequest
from service.outbox import Outbox
from service.outbox.line import Line
from service.recurring import emails
from service.recurring.definition import KIND, PROGRESS, Definition, Progress, next_fires
from service.recurring.requests import below_email
from service.recurring.upkeep import Upkeep
from service.store.documents import Document, subject
from service.store.idempotency import Accepted, Key
from service.store.store import Store
from service.store.transaction import Transaction


class ScheduleNotFound(LookupError):
    """There is no such schedule."""


class StaleSchedule(Exception):
    """A schedule has another revision than the one that was to be changed.

    Attributes:
        rev: The one it has.
    """

    def __init__(self, name: str, rev: int) -> None:
        super().__init__(f"schedule {name!r} is at revision {rev}")
        self.rev = rev


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is now.

    Attributes:
        rev: Of the definition.
        next_fires: Its next slots, at most five.
    """

    name: str
    rev: int
    created_at: datetime
    updated_at: datetime
    definition: Definition
    progress: Progress
    next_fires: list[datetime]


class Schedules:
    """The schedules of a store."""

    def __init__(self, store: Store, queue: zqueue.Queue, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._upkeep = Upkeep(store, queue)
        self._line = Line(queue, store.id)

    def get(self, name: str) -> Schedule:
        """A schedule.

        Raises:
            ScheduleNotFound: There is none.
        """
        document = self._store.document(KIND, name)
        if document is None:
            raise ScheduleNotFound(name)
        return self._whole(document)

    def page(self, limit: int, after: str | None = None) -> tuple[list[Schedule], bool]:
        """Up to *limit* schedules whose names come after *after*; and whether there are more. For any thread."""
        found = self._store.documents(KIND, after=after, limit=limit + 1)
        return [self._whole(one) for one in found[:limit]], len(found) > limit

    async def put(
        self, name: str, wanted: Definition, paused: bool | None = None, rev: int | None = None
    ) -> tuple[Schedule, bool]:
        """Write a schedule. One whose times stay the same goes on where it was; else it begins now.

        Args:
            name: A checked one.
            wanted: What it is to be.
            paused: Whether it is to be paused; None for as it was.
            rev: The revision it has to have now; None for any, and for none.

        Returns:
            The schedule; and whether there was none before.

        Raises:
            InvalidRequest: Its e-mail could not be sent; told below ``/email``.
            ScheduleNotFound: It was to have a revision, and does not exist.
            StaleSchedule: It has another revision.
            StoreUnavailable: Nothing was written; repeating is safe.
        """
        try:
            wanted = await emails.checked(self._outbox, wanted)
        except InvalidRequest as error:
            raise below_email(error) from error
        now = self._outbox.now()

        def write(transaction: Transaction) -> tuple[Document, bool]:
            before = transaction.document(KIND, name)
            _check(name, before, rev)
            known = None if before is None else Definition.of(before.data)
            was_paused = known is not None and known.paused
            definition = replace(wanted, paused=was_paused if paused is None else paused)
            if before is not None and known == definition:
                return before, False
            if known is None or known.times != definition.times or (was_paused and not definition.paused):
                _begin(transaction, name, now)
            event = "schedule.created" if before is None else "schedule.updated"
            return transaction.put(KIND, name, definition.data(), type=event), before is None

        document, created = await self._store.write(write)
        await self._tell_queue(name)
        return self._whole(document), created

    async def pause(self, name: str, rev: int | None = None) -> Schedule:
        """Let it make no e-mails until `resume`; one that is paused stays so. Raises as `put` does."""
        return await self._switch(name, rev, paused=True)

    async def resume(self, name: str, rev: int | None = None) -> Schedule:
        """Let it make e-mails again, from its next slot on. Raises as `put` does."""
        return await self._switch(name, rev, paused=False)

    async def delete(self, name: str, rev: int | None = None) -> None:
        """End it. E-mails that it made stay. Raises as `put` does."""

        def write(transaction: Transaction) -> None:
            _there(transaction, name, rev)
            transaction.delete(KIND, name, type="schedule.deleted")
            transaction.delete(PROGRESS, name, type="schedule.progress")

        await self._store.write(write)
        await self._tell_queue(name)

    async def run(self, name: str, key: Key | None = None) -> Accepted:
        """Send its e-mail now, beside its slots, though it be paused.

        Args:
            name: Which one.
            key: What the client calls this request.

        Raises:
            InvalidRequest: The e-mail cannot be sent; told below ``/email``.
            ScheduleNotFound: There is no such schedule.
            StoreUnavailable: Nothing was taken; repeating is safe.
        """
        try:
            composed = await emails.compose(self._outbox, self.get(name).definition)
        except InvalidRequest as error:
            raise below_email(error) from error
        accepted = await self._outbox.take([composed], key)
        if not accepted.replayed:
            told = {"email_id": accepted.emails[0].id}
            await self._store.write(lambda t: t.note(subject(KIND, name), "schedule.run", told))
        return accepted

    async def close(self) -> None:
        """Give what is on its way to the queue a moment to get there."""
        await self._line.close()

    async def _switch(self, name: str, rev: int | None, *, paused: bool) -> Schedule:
        now = self._outbox.now()

        def write(transaction: Transaction) -> Document:
            before = _there(transaction, name, rev)
            definition = Definition.of(before.data)
            if definition.paused == paused:
                return before
            if not paused:
                _begin(transaction, name, now)
            event = "schedule.paused" if paused else "schedule.resumed"
            return transaction.put(KIND, name, replace(definition, paused=paused).data(), type=event)

        document = await self._store.write(write)
        await self._tell_queue(name)
        return self._whole(document)

    async def _tell_queue(self, name: str) -> None:
        await self._line.call(lambda: self._upkeep.one(name))

    def _whole(self, document: Document) -> Schedule:
        definition = Definition.of(document.data)
        known = self._store.document(PROGRESS, document.name)
        progress = Progress(document.created_at) if known is None else Progress.of(known.data)
        return Schedule(
            name=document.name,
            rev=document.rev,
            created_at=document.created_at,
            updated_at=document.updated_at,
            definition=definition,
            progress=progress,
            next_fires=next_fires(definition, progress, self._outbox.now()),
        )


def _begin(transaction: Transaction, name: str, now: datetime) -> None:
    """Let its slots begin now; what it did before stays known."""
    known = transaction.document(PROGRESS, name)
    progress = Progress(now) if known is None else replace(Progress.of(known.data), since=now, done=None, ahead=())
    transaction.put(PROGRESS, name, progress.data(), type="schedule.progress")


def _there(transaction: Transaction, name: str, rev: int | None) -> Document:
    """The schedule that is to be changed."""
    document = transaction.document(KIND, name)
    _check(name, document, rev)
    if document is None:
        raise ScheduleNotFound(name)
    return document


def _check(name: str, document: Document | None, rev: int | None) -> None:
    """See that a schedule has the revision that it is to have."""
    if rev is None:
        return
    if document is None:
        raise ScheduleNotFound(name)
    if document.rev != rev:
        raise StaleSchedule(name, document.rev)
