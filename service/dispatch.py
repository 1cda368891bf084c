"""The job handler: takes an e-mail that is due from its record to the relay and writes down what came of it.

    claim -> take a connection -> look again -> durable `sending` -> MAIL ... final dot -> durable outcome -> settle

The handler never raises for what becomes of an e-mail: it writes that into the store, and then returns (the job is
done) or raises `Snooze` (it is due again later). From `sending` to the outcome nothing cancels it, so that even a job
whose lease is lost is not sent twice. The rules are in `docs/architecture.md`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import zqueue
from service import suppression
from service.email import jobs, life
from service.email.life import FROZEN, OnUnknown, StaleRun, WrongState
from service.email.record import FINAL, Change, Email, Ending, Outcome, Reply, Status
from service.mailer import addresses, mime
from service.mailer.builder import Builder
from service.mailer.dkim import Signer, SigningFailed
from service.mailer.relays import Relays
from service.mailer.smtp import Connection
from service.store.errors import StoreDamaged, StoreUnavailable
from service.store.store import Store

LOOK_AGAIN = timedelta(seconds=5)
"""How long an e-mail waits that another process is sending, or that the store cannot take a change of."""

_AT_ONCE = timedelta(0)
_LONGEST_WAIT = 86_400.0
_MOVED = (StaleRun, WrongState, zqueue.Snooze)
"""What ends an attempt without a fault: such as that the e-mail was cancelled, which cancels its job too."""
_PASSING = frozenset({"no_space", "store_locked", "not_writable"})

_log = logging.getLogger(__name__)


class ForeignJob(Exception):
    """A job of another store is in this queue: two services share it, or the data directory was exchanged."""

    def __init__(self, job_id: str, store: str | None, own: str) -> None:
        super().__init__(f"job {job_id!r} belongs to the store {store!r}, but the data directory holds {own!r}")
        self.job_id = job_id


class Dispatch:
    """Handles the jobs of one store's e-mails; see the module."""

    def __init__(
        self,
        store: Store,
        relays: Relays,
        *,
        now: Callable[[], datetime],
        backoff: zqueue.Backoff,
        on_unknown: OnUnknown = "retry",
        return_path: str | None = None,
        signer: Signer | None = None,
        frozen: timedelta = FROZEN,
        look_again: timedelta = LOOK_AGAIN,
        on_foreign: Callable[[ForeignJob], None] | None = None,
    ) -> None:
        """Handle with these.

        Args:
            store: Holds the records.
            relays: Take the messages.
            now: The queue's time.
            backoff: The delays between counted attempts.
            on_unknown: What follows a transaction of which nobody knows whether it delivered.
            return_path: The envelope sender of e-mails that name none; None for their own sender.
            signer: Signs the messages of its domains; None signs none.
            frozen: How long a run of a living process may take.
            look_again: How long to wait before looking again, and before writing again.
            on_foreign: Called before a job of another store is refused.
        """
        self._store = store
        self._relays = relays
        self._now = now
        self._backoff = backoff
        self._on_unknown: OnUnknown = on_unknown
        self._return_path = return_path
        self._builder = Builder(store.blob, signer)
        self._frozen = frozen
        self._look_again = look_again
        self._on_foreign = on_foreign
        self._running: set[tuple[str, int]] = set()
        self._attempts: set[asyncio.Future[None]] = set()
        self._waiting: set[asyncio.Timeout] = set()  # for a connection
        self._stopping = False
        self._late: set[str] = set()  # e-mails whose outcome waits for the store

    async def __call__(self, job: zqueue.Job) -> None:
        """Handle one delivery of a job.

        Raises:
            zqueue.Snooze: The e-mail is due later, or cannot be worked on now.
            zqueue.Bury: There is no such e-mail.
            ForeignJob: The job is not one of this store.
        """
        email_id, gen = self._identify(job)
        if self._stopping:
            raise zqueue.Snooze(_AT_ONCE)
        if self.is_late:
            raise zqueue.Snooze(self._look_again)
        while True:
            email = self._store.get(email_id)
            if email is None:
                raise zqueue.Bury(f"there is no e-mail {email_id!r} in the store")
            if email.state.gen != gen or email.state.status in FINAL:
                return
            try:
                if email.state.status is Status.SENDING:
                    await self._take_over(email)
                else:
                    self._snooze_until_due(email, job)
                    await self._send(email, job)
            except (StaleRun, WrongState) as moved:
                _log.debug("%s", moved)  # somebody changed the record meanwhile: look again
            except StoreUnavailable as trouble:
                _log.warning("%s waits for the store: %s", email_id, trouble)
                raise zqueue.Snooze(self._look_again) from trouble

    @property
    def is_late(self) -> bool:
        """Whether an outcome waits for the store; until it is written nothing else is begun."""
        return bool(self._late)

    def stop(self) -> None:
        """Begin no more attempts: what waits for a connection goes back to the queue, for other workers."""
        self._stopping = True
        for waiting in self._waiting:
            if not waiting.expired():
                waiting.reschedule(asyncio.get_running_loop().time())

    async def finish(self, patience: timedelta) -> None:
        """Wait for the attempts that have begun, at most *patience*, though nobody waits for their jobs any more.

        The outcome of an attempt that is cut off is unknown, and the message perhaps sent twice.
        """
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=patience.total_seconds())

    def _identify(self, job: zqueue.Job) -> tuple[str, int]:
        store = jobs.store_of(job.payload)
        if store is None:
            raise zqueue.Bury(f"{job.id!r} is no job of an e-mail")
        if store != self._store.id:
            foreign = ForeignJob(job.id, store, self._store.id)
            if self._on_foreign is not None:
                self._on_foreign(foreign)
            raise foreign
        split = jobs.split(job.id)
        if split is None:
            raise zqueue.Bury(f"{job.id!r} is no job of an e-mail")
        return split

    def _snooze_until_due(self, email: Email, job: zqueue.Job) -> None:
        due = email.state.next_attempt_at
        now = self._time(job)
        if due is not None and now < due:
            raise zqueue.Snooze(due - now)

    def _time(self, job: zqueue.Job) -> datetime:
        """The queue's time. Its last known time may lag, but the claim proves that the job's due time has come."""
        return max(self._now(), job.due_at) if job.due_at is not None else self._now()

    async def _take_over(self, email: Email) -> None:
        """End a run whose process is gone; wait while it is not.

        Raises:
            zqueue.Snooze: The run is under way.
        """
        state, now = email.state, self._now()
        if state.by == self._store.by:
            alive = (email.id, state.run) in self._running
        else:
            alive = state.by is not None and self._store.alive(state.by)
        if alive and state.sending_since is not None and now - state.sending_since < self._frozen:
            raise zqueue.Snooze(self._look_again)
        _log.warning("%s: run %d was left unfinished by process %s", email.id, state.run, state.by)
        await self._store.change(
            email.id, lambda it: life.owner_died(it, now=now, run=state.run, on_unknown=self._on_unknown)
        )

    async def _send(self, email: Email, job: zqueue.Job) -> None:
        """Wait for a connection until the e-mail expires, then make one attempt."""
        async with contextlib.AsyncExitStack() as stack:
            left = (email.state.retry_until - self._now()).total_seconds()
            try:
                async with asyncio.timeout(min(max(left, 0.01), _LONGEST_WAIT)) as waiting:
                    self._waiting.add(waiting)
                    try:
                        connection = await stack.enter_async_context(self._relays.connection(jobs.group_of(email)))
                    finally:
                        self._waiting.discard(waiting)
            except TimeoutError:
                if self._stopping:
                    raise zqueue.Snooze(_AT_ONCE) from None
                now, trouble = self._now(), self._relays.trouble()
                await self._store.change(email.id, lambda it: life.expire(it, now=now, trouble=trouble))
                return
            attempt = asyncio.ensure_future(self._attempt(email, job, connection))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
            await _unbroken(attempt)

    async def _attempt(self, email: Email, job: zqueue.Job, connection: Connection) -> None:
        """Begin a run if the record still stands as it did, carry the message, write the outcome."""
        # From before `now`: were this process stopped between the two, others would count from the earlier one.
        since = asyncio.get_running_loop().time()
        now = self._time(job)
        date = email.state.date or now.replace(microsecond=0)
        message = await self._build(email, date)
        digest = message.digest if isinstance(message, mime.Message) else ""
        run = (email.id, email.state.run + 1)
        if run in self._running:
            raise zqueue.Snooze(self._look_again)
        self._running.add(run)  # before anybody can read of it, who would otherwise take it for left unfinished
        try:
            started = await self._store.write(
                lambda transaction: transaction.change(
                    email.id,
                    lambda it: life.begin(
                        it,
                        now=now,
                        rev=email.rev,
                        by=self._store.by,
                        date=date,
                        digest=digest,
                        suppressed=suppression.suppressed(transaction, life.still_to_try(it)),
                    ),
                )
            )
            if started.state.status is not Status.SENDING:
                return  # expired, or not due yet, or nobody is to get it any more
            recipients = life.still_to_try(started)
            if isinstance(message, mime.Message):
                outcome = await connection.send(
                    message.sender, recipients, message.data, utf8=message.utf8, since=since
                )
            else:
                outcome = Outcome(Ending.ANSWERED, dict.fromkeys(recipients, message))
            await self._write(started, outcome)
        finally:
            self._running.discard(run)

    async def _build(self, email: Email, date: datetime) -> mime.Message | Reply:
        """The message, or the answer that stands for it where none can be built; what is accepted is checked for that.

        Raises:
            zqueue.Snooze: It cannot be signed now.
        """
        sender = email.content.envelope_from or self._return_path
        try:
            message = await self._builder.build(email, date)
            return message if sender is None else replace(message, sender=addresses.to_wire(sender))
        except SigningFailed as trouble:
            _log.error("%s waits, since it cannot be signed: %s", email.id, trouble)
            raise zqueue.Snooze(self._look_again) from trouble
        except ValueError as error:
            _log.exception("%s cannot be written as a message", email.id)
            return Reply(554, f"5.6.0 not a message: {error}")
        except (KeyError, StoreDamaged) as error:
            _log.exception("a file of %s is lost", email.id)
            return Reply(554, f"5.3.0 a file of the message is lost: {error}")

    async def _write(self, email: Email, outcome: Outcome) -> None:
        """Make the outcome durable, however long the store cannot take it: it is known nowhere else."""
        now = self._now()
        draw = random.random()  # noqa: S311 - spreads retries; drawn once, since the store may decide twice

        def settle(it: Email) -> Change:
            return life.settle(
                it,
                now=now,
                run=email.state.run,
                outcome=outcome,
                backoff=self._backoff,
                on_unknown=self._on_unknown,
                rng=lambda: draw,
            )

        try:
            while not await self._try_to_write(email.id, settle):  # noqa: ASYNC110 - a disk knows no events
                await asyncio.sleep(self._look_again.total_seconds())
        except StaleRun:
            _log.warning("%s: run %d was given up, and then came to %s", email.id, email.state.run, outcome)
            raise
        finally:
            self._late.discard(email.id)

    async def _try_to_write(self, email_id: str, settle: Callable[[Email], Change]) -> bool:
        try:
            ended = await self._store.change(email_id, settle)
        except StoreUnavailable as trouble:
            if trouble.reason not in _PASSING:
                raise
            _log.error("the outcome of %s cannot be written, trying again: %s", email_id, trouble)
            self._late.add(email_id)
            return False
        _log.info("%s is %s after run %d", email_id, ended.state.status, ended.state.run)
        return True


async def _unbroken(work: asyncio.Future[None]) -> None:
    """Wait for *work*, which goes on to its end though the caller is cancelled; that is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return work.result()
    fault = None if work.cancelled() else work.exception()
    if fault is not None and not isinstance(fault, _MOVED):
        _log.error("failed after its job was cancelled", exc_info=fault)
    raise cancelled
