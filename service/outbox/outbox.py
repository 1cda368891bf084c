"""What may be asked of e-mails from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from service import suppression
from service.email import edits, life
from service.email.draft import Draft
from service.email.edits import StaleRevision, check_rev
from service.email.record import Change, Email, Status
from service.email.terms import Terms
from service.mailer import headers
from service.outbox import bulk
from service.outbox.bulk import Tally
from service.outbox.composing import Composed, Composer, Fill
from service.outbox.editing import Editor
from service.outbox.line import Line
from service.settings import Settings
from service.store.errors import EmailNotFound
from service.store.idempotency import Accepted, Key
from service.store.listing import Filter
from service.store.store import Store
from zqueue import Queue


class Outbox:
    """Takes e-mails on, and lets them be cancelled, changed and retried."""

    def __init__(self, store: Store, queue: Queue, settings: Settings, fill: Fill | None = None) -> None:
        """Work with these.

        Args:
            store: Holds the records.
            queue: Carries them; it may be away.
            settings: Checked ones.
            fill: Makes subject and bodies from a template; None where no e-mail is made from one.
        """
        self._store = store
        self._queue = queue
        self._settings = settings
        self._line = Line(queue, store.id)
        self._composer = Composer(store, settings, fill)
        self._editor = Editor(store, self._composer, settings)

    def now(self) -> datetime:
        """The clock of everything: the queue server's."""
        return self._queue.now()

    def terms(self) -> Terms:
        """What requests are held to now."""
        settings = self._settings
        return Terms(
            self.now(),
            headers.custom,
            settings.default_from,
            settings.max_message,
            self._store.blob_size,
            unsubscribe=settings.public_url is not None,
        )

    async def accept(self, draft: Draft) -> Email:
        """Take an e-mail on. It is durable on return, and sent when it is due whatever happens next.

        Raises:
            InvalidRequest: It cannot be sent as it is: it is too large, or its template cannot be filled.
            StoreUnavailable: It was not taken; repeating is safe.
        """
        accepted = await self.take([await self.compose(draft)])
        return accepted.emails[0]

    async def compose(self, draft: Draft, now: datetime | None = None) -> Composed:
        """Make the record of an e-mail, without taking it on yet.

        Args:
            draft: What is asked for.
            now: When it is accepted, one time for all that are taken together; None for the present.

        Raises:
            InvalidRequest: As for `accept`.
        """
        return await self._composer.compose(draft, now or self.now())

    async def keep(self, composed: Sequence[Composed]) -> None:
        """Make the files of e-mails durable, though the e-mails are not taken on now."""
        for one in composed:
            await self._composer.keep(one)

    async def take(
        self, composed: Sequence[Composed], key: Key | None = None, extra: dict[str, Any] | None = None
    ) -> Accepted:
        """Take e-mails on, all of them or none, as one write; durable on return.

        Args:
            composed: At least one, all accepted at the same time.
            key: What the client calls this request: it takes effect once, however often it comes.
            extra: What there is to say beside the e-mails; it is kept with the key.

        Raises:
            KeyReused: An earlier request with this key was another one.
            StoreUnavailable: Nothing was taken; repeating is safe.
        """
        emails = [one.email for one in composed]
        await self.keep(composed)
        if key is None:
            accepted = Accepted(await self._store.accept(emails), replayed=False, extra=extra)
        else:
            accepted = await self._store.accept_once(emails, key, extra)
        if not accepted.replayed:
            await self._line.enqueue(email for email in accepted.emails if email.state.status is Status.SCHEDULED)
        return accepted

    async def edit(self, email_id: str, body: Mapping[str, Any], terms: Terms, rev: int | None = None) -> Email:
        """Change an e-mail that is not being sent: its content before the first attempt, its times until the last.

        Args:
            email_id: Which one.
            body: What is to be otherwise, see `service.email.patch`.
            terms: What requests are held to.
            rev: The revision it has to have; None for any.

        Raises:
            EmailNotFound: There is no such e-mail.
            InvalidRequest: It cannot be so.
            StaleRevision: It has another revision.
            WrongState: It is too late.
            StoreUnavailable: Nothing was changed; repeating is safe.
        """
        while True:
            email = self._store.get(email_id)
            if email is None:
                raise EmailNotFound(email_id)
            check_rev(email, rev)
            wanted = await self._editor.edit(email, body, terms)
            nobody = suppression.suppressed(self._store, wanted.addresses or ())
            decide = partial(edits.edit, edit=wanted, rev=email.rev, suppressed=nobody)
            try:
                changed = await self._store.change(email_id, decide)
            except StaleRevision:
                if rev is not None:
                    raise
                continue  # somebody else changed it since it was read
            if changed.state.gen != email.state.gen:
                await self._line.enqueue([changed])
                await self._line.cancel([email.job_id])
            return changed

    async def cancel(self, email_id: str, rev: int | None = None) -> Email:
        """Stop an e-mail that is not being sent; one that is cancelled stays so.

        Args:
            email_id: Which one.
            rev: The revision it has to have; None for any.

        Raises:
            EmailNotFound: There is no such e-mail.
            StaleRevision: It has another revision.
            WrongState: It is too late.
            StoreUnavailable: Nothing was changed; repeating is safe.
        """
        email = await self._store.change(email_id, _of(rev, life.cancel))
        await self._line.cancel([email.job_id])
        return email

    async def retry(self, email_id: str, rev: int | None = None) -> Email:
        """Send a failed or held e-mail again; one that is on its way stays so.

        Args:
            email_id: Which one.
            rev: The revision it has to have; None for any.

        Raises:
            EmailNotFound: There is no such e-mail.
            StaleRevision: It has another revision.
            WrongState: It is completed or cancelled.
            StoreUnavailable: Nothing was changed; repeating is safe.
        """
        email = await self._store.change(email_id, _of(rev, self._requeue()))
        if email.state.status is Status.SCHEDULED:
            await self._line.enqueue([email])
        return email

    async def cancel_all(self, where: Filter, *, dry_run: bool = False) -> Tally:
        """Cancel every e-mail that is like *where* now; *dry_run* only counts what would come of it.

        Raises:
            StoreUnavailable: Not all were cancelled; repeating is safe.
        """
        if dry_run:
            return await bulk.survey(self._store, where, life.cancel)
        tally = Tally()
        async for counted, emails in bulk.change(self._store, where, life.cancel):
            tally += counted
            await self._line.cancel(email.job_id for email in emails)
        return tally

    async def retry_all(self, where: Filter, *, dry_run: bool = False) -> Tally:
        """Send every failed or held e-mail again that is like *where* now; *dry_run* only counts.

        Raises:
            StoreUnavailable: Not all were requeued; repeating is safe.
        """
        if dry_run:
            return await bulk.survey(self._store, where, self._requeue())
        tally = Tally()
        async for counted, emails in bulk.change(self._store, where, self._requeue()):
            tally += counted
            await self._line.enqueue(emails)
        return tally

    async def meet_queue(self) -> None:
        """Connect to the queue, so that its clock is known before the first e-mail; it need not be there."""
        await self._line.call(self._queue.stats)

    async def close(self) -> None:
        """Give what is on its way to the queue a moment to get there."""
        await self._line.close()

    def _requeue(self) -> bulk.Decide:
        return partial(life.requeue, now=self.now(), backoff=self._settings.backoff)


def _of(rev: int | None, decide: bulk.Decide) -> bulk.Decide:
    """*decide*, for an e-mail of revision *rev* only."""

    def checked(email: Email) -> Change | None:
        check_rev(email, rev)
        return decide(email)

    return checked
