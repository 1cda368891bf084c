"""What may be asked of e-mails from outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from service.email import life
from service.email.draft import Draft
from service.email.edits import check_rev
from service.email.record import Change, Email, Status
from service.outbox.composing import Composed, Composer, Fill
from service.outbox.line import Line
from service.settings import Settings
from service.store.idempotency import Accepted, Key
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

    def now(self) -> datetime:
        """The clock of everything: the queue server's."""
        return self._queue.now()

    async def accept(self, draft: Draft) -> Email:
        """Take an e-mail on. It is durable on return, and sent when it is due whatever happens next.

        Raises:
            InvalidRequest: It cannot be sent as it is: it is too large, or its template cannot be filled.
            StoreUnavailable: It was not taken; repeating is safe.
        """
        accepted = await self.take([await self.compose(draft)])
        return accepted.emails[0]

    async def compose(self, draft: Draft) -> Composed:
        """Make the record of an e-mail, without taking it on yet.

        Raises:
            InvalidRequest: As for `accept`.
        """
        return await self._composer.compose(draft, self.now())

    async def take(
        self, composed: Sequence[Composed], key: Key | None = None, extra: dict[str, Any] | None = None
    ) -> Accepted:
        """Take e-mails on, all of them or none, as one write; durable on return.

        Args:
            composed: At least one.
            key: What the client calls this request: it takes effect once, however often it comes.
            extra: What there is to say beside the e-mails; it is kept with the key.

        Raises:
            KeyReused: An earlier request with this key was another one.
            StoreUnavailable: Nothing was taken; repeating is safe.
        """
        emails = [one.email for one in composed]
        if key is None:
            accepted = Accepted(await self._store.accept(emails), replayed=False, extra=extra)
        else:
            accepted = await self._store.accept_once(emails, key, extra)
        if not accepted.replayed:
            await self._line.enqueue(email for email in accepted.emails if email.state.status is Status.SCHEDULED)
        return accepted

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

        def decide(email: Email) -> Change | None:
            check_rev(email, rev)
            return life.cancel(email)

        email = await self._store.change(email_id, decide)
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
        requeue = partial(life.requeue, now=self.now(), backoff=self._settings.backoff)

        def decide(email: Email) -> Change | None:
            check_rev(email, rev)
            return requeue(email)

        email = await self._store.change(email_id, decide)
        if email.state.status is Status.SCHEDULED:
            await self._line.enqueue([email])
        return email

    async def meet_queue(self) -> None:
        """Connect to the queue, so that its clock is known before the first e-mail; it need not be there."""
        await self._line.call(self._queue.stats)

    async def close(self) -> None:
        """Give what is on its way to the queue a moment to get there."""
        await self._line.close()
