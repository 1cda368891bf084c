"""The handler of the jobs that schedules make: each is one slot, and becomes one e-mail.

The e-mail is accepted under the reserved key ``schedule:NAME:SLOT``, which never expires: however often a slot is
fired - by two workers, after a crash, after the queue was emptied - it is sent once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

import zqueue
from service.dispatch import LOOK_AGAIN, ForeignJob
from service.email import jobs
from service.email.faults import InvalidRequest
from service.email.record import Email, Status
from service.outbox import Outbox
from service.recurring import emails
from service.recurring.definition import KIND, PROGRESS, Definition, Progress
from service.store.documents import subject
from service.store.errors import StoreUnavailable
from service.store.idempotency import FOR_EVER, Key
from service.store.store import Store
from service.store.transaction import Transaction
from service.templating.renderer import CutShort

_TRIES = 3
"""Of an e-mail whose template is not filled in time."""

_log = logging.getLogger(__name__)


class Fires:
    """Makes the e-mails of a store's schedules."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        *,
        look_again: timedelta = LOOK_AGAIN,
        on_foreign: Callable[[ForeignJob], None] | None = None,
    ) -> None:
        """Handle with these.

        Args:
            store: Holds the schedules.
            outbox: Takes the e-mails.
            look_again: How long to wait for a store that cannot take a change.
            on_foreign: Called before a job of another store is refused.
        """
        self._store = store
        self._outbox = outbox
        self._look_again = look_again
        self._on_foreign = on_foreign

    async def __call__(self, job: zqueue.Job) -> None:
        """Handle one fire. One of a schedule that is paused, gone, or has other times by now does nothing.

        Raises:
            zqueue.Snooze: The store cannot take the e-mail now.
            zqueue.RetryLater: Its template was not filled in time, which may be for a busy machine.
            zqueue.Bury: It is no fire.
            ForeignJob: The job is not one of this store.
        """
        store = jobs.store_of(job.payload)
        if store != self._store.id:
            foreign = ForeignJob(job.id, store, self._store.id)
            if self._on_foreign is not None:
                self._on_foreign(foreign)
            raise foreign
        name, stamp, slot = _split(job.id)
        definition = self._definition(name, slot, job.payload.get("times"))
        if definition is None:
            _log.info("the slot %s of schedule %s is left out: it was changed", stamp, name)
            return
        try:
            await self._fire(name, stamp, slot, definition, job.attempt)
        except StoreUnavailable as trouble:
            _log.warning("the slot %s of schedule %s waits for the store: %s", stamp, name, trouble)
            raise zqueue.Snooze(self._look_again) from trouble

    def _definition(self, name: str, slot: datetime, times: object) -> Definition | None:
        """The schedule as it is, if it still wants this slot."""
        document, known = self._store.document(KIND, name), self._store.document(PROGRESS, name)
        if document is None or known is None:
            return None
        definition = Definition.of(document.data)
        if definition.paused or definition.times != times or slot <= Progress.of(known.data).since:
            return None
        return definition

    async def _fire(self, name: str, stamp: str, slot: datetime, definition: Definition, attempt: int) -> None:
        key = _key(name, stamp)
        known = self._store.key(key.name, self._outbox.now())
        if known is not None:  # so that what it can be made from by now does not matter
            email_id = known.email_ids[0]
            await self._record(name, slot, definition, email_id=email_id, error=_trouble(self._store.get(email_id)))
            return
        try:
            composed = await emails.compose(self._outbox, definition)
        except CutShort as error:
            if attempt < _TRIES:
                raise zqueue.RetryLater(self._look_again) from error
            await self._failed(name, stamp, slot, definition, error)
            return
        except InvalidRequest as error:
            await self._failed(name, stamp, slot, definition, error)
            return
        (email,) = (await self._outbox.take([composed], key)).emails
        _log.info("the slot %s of schedule %s is the e-mail %s", stamp, name, email.id)
        await self._record(name, slot, definition, email_id=email.id, error=_trouble(email))

    async def _failed(
        self, name: str, stamp: str, slot: datetime, definition: Definition, error: InvalidRequest
    ) -> None:
        told = "; ".join(f"/email{fault.pointer} {fault.detail}" for fault in error.faults)
        _log.error("the slot %s of schedule %s makes no e-mail: %s", stamp, name, told)
        await self._record(name, slot, definition, error=told)

    async def _record(
        self,
        name: str,
        slot: datetime,
        definition: Definition,
        *,
        email_id: str | None = None,
        error: str | None = None,
    ) -> None:
        """Write down that a slot is done with, and tell of it, once."""

        def write(transaction: Transaction) -> None:
            document = transaction.document(PROGRESS, name)
            progress = None if document is None else Progress.of(document.data)
            if progress is None or progress.has(slot):
                return
            now = self._outbox.now()
            done = replace(progress.after(definition, slot), fired_at=now, email_id=email_id, error=error)
            transaction.put(PROGRESS, name, done.data(), type="schedule.progress")
            told = {"slot": slot.isoformat().replace("+00:00", "Z"), "email_id": email_id, "error": error}
            event = "schedule.fired" if error is None else "schedule.failed"
            transaction.note(subject(KIND, name), event, told)

        await self._store.write(write)


def _split(job_id: str) -> tuple[str, str, datetime]:
    """Name, slot as text, and slot in a job's id.

    Raises:
        zqueue.Bury: It is not the id of a fire.
    """
    name, _, stamp = job_id.rpartition("@")
    try:
        slot = datetime.fromisoformat(stamp)
    except ValueError:
        slot = None
    if not name or slot is None or slot.tzinfo is None:
        raise zqueue.Bury(f"{job_id!r} is no slot of a schedule")
    return name, stamp, slot


def _key(name: str, stamp: str) -> Key:
    key = f"{FOR_EVER}{name}:{stamp}"
    # The slot is the request: an e-mail that was edited since is no reason to refuse it.
    return Key(key, sha256(key.encode()).hexdigest())


def _trouble(email: Email | None) -> str | None:
    """Why an e-mail that was accepted was never to be sent."""
    if email is None or (email.state.status, email.state.reason) != (Status.FAILED, "suppressed"):
        return None
    return "every recipient is on the suppression list"
