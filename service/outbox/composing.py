"""From a draft to the record of an e-mail: its template filled, its files counted, its size known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from service import suppression, unsubscribe
from service.email import header_fields, ids, life
from service.email.draft import Draft, Filled, TemplateCall
from service.email.faults import Fault, InvalidRequest, pointer
from service.email.record import Content, Email
from service.email.request import UNSUBSCRIBE_HEADERS
from service.email.request_fields import LONGEST_SUBJECT
from service.mailer import mime
from service.outbox.size import most_bytes
from service.settings import PREFIX, Settings
from service.store.store import Store

Fill = Callable[[TemplateCall], Awaitable[Filled]]
"""Makes subject and bodies from a template, or raises InvalidRequest with faults below ``/template``."""


@dataclass(frozen=True, slots=True)
class Composed:
    """An e-mail that could be taken on.

    Attributes:
        files: The bytes of attachments that the store has not, by their SHA-256.
    """

    email: Email
    files: dict[str, bytes]


class Composer:
    """Makes records of drafts."""

    def __init__(self, store: Store, settings: Settings, fill: Fill | None) -> None:
        self._store = store
        self._settings = settings
        self._fill = fill
        self._backoff = settings.backoff

    async def compose(self, draft: Draft, now: datetime) -> Composed:
        """The record of *draft*, accepted at *now*.

        Raises:
            InvalidRequest: Its template cannot be filled, or the message would be too large.
        """
        scheduled_at = draft.scheduled_at or now
        max_retries = self._settings.max_retries if draft.max_retries is None else draft.max_retries
        email_id = ids.new_email_id()
        content = await self.content(draft, ids.message_id(email_id, draft.sender.domain))
        if draft.unsubscribe:
            content = await self.offer_unsubscribing(email_id, content, draft.addresses[0])
        email = life.accept(
            email_id,
            content,
            addresses=draft.addresses,
            now=now,
            scheduled_at=scheduled_at,
            max_retries=max_retries,
            retry_until=draft.retry_until or life.default_retry_until(scheduled_at, max_retries, self._backoff),
            suppressed=suppression.suppressed(self._store, draft.addresses),
        )
        composed = Composed(email, {one.attachment.sha256: one.data for one in draft.files if one.data is not None})
        await self.check_size(composed)
        return composed

    async def content(self, draft: Draft, message_id: str) -> Content:
        """What of *draft* fixes the bytes that are sent.

        Raises:
            InvalidRequest: Its template cannot be filled.
        """
        filled = Filled(draft.subject, draft.text, draft.html, "")
        if draft.template is not None:
            filled = await self._filled(draft.template)
        return Content(
            sender=str(draft.sender),
            to=tuple(map(str, draft.to)),
            subject=draft.subject or filled.subject,
            message_id=message_id,
            cc=tuple(map(str, draft.cc)),
            bcc=tuple(map(str, draft.bcc)),
            reply_to=tuple(map(str, draft.reply_to)),
            text=filled.text,
            html=filled.html,
            headers=draft.headers,
            tags=draft.tags,
            attachments=tuple(one.attachment for one in draft.files),
            envelope_from=draft.envelope_from,
            template=filled.label or None,
        )

    async def offer_unsubscribing(self, email_id: str, content: Content, address: str) -> Content:
        """*content* with the headers by which *address*, the one recipient, unsubscribes with one click."""
        names = {name.lower() for name in UNSUBSCRIBE_HEADERS}
        fields = {name: value for name, value in content.headers.items() if name.lower() not in names}
        if self._settings.public_url is not None:
            fields |= await unsubscribe.headers(self._store, self._settings.public_url, email_id, address)
        return replace(content, headers=fields)

    async def check_size(self, composed: Composed) -> None:
        """See that the message is not larger than it may be.

        Raises:
            InvalidRequest: It is.
        """
        limit = self._settings.max_message
        content = composed.email.content
        if most_bytes(content) <= limit:
            return
        size = await asyncio.to_thread(self._size, composed)
        if size > limit:
            what = "/attachments" if content.attachments else "/text" if content.html is None else "/html"
            raise InvalidRequest(
                [Fault(what, f"would make a message of {size:,} bytes; {PREFIX}MAX_MESSAGE is {limit:,}")]
            )

    async def keep(self, composed: Composed) -> None:
        """See that the files of an e-mail are there when a line names them.

        Raises:
            InvalidRequest: One that was uploaded is gone.
            StoreUnavailable: One could not be kept.
        """
        if composed.email.content.attachments:
            await asyncio.to_thread(self._keep, composed)

    def _keep(self, composed: Composed) -> None:
        for data in composed.files.values():
            self._store.put_blob(data)
        for index, one in enumerate(composed.email.content.attachments):
            if one.sha256 not in composed.files:
                try:
                    self._store.touch_blob(one.sha256)
                except KeyError:
                    where = pointer("attachments", index, "sha256")
                    raise InvalidRequest([Fault(where, "is gone; upload the file again")]) from None

    def _size(self, composed: Composed) -> int:
        def blob(sha256: str) -> bytes:
            return composed.files[sha256] if sha256 in composed.files else self._store.blob(sha256)

        return len(mime.build(composed.email, composed.email.state.scheduled_at, blob).data)

    async def _filled(self, call: TemplateCall) -> Filled:
        if self._fill is None:
            raise InvalidRequest([Fault("/template", "cannot be used here")])
        filled = await self._fill(call)
        complaint = header_fields.complaint_about_text(filled.subject)
        if complaint is None and len(filled.subject) > LONGEST_SUBJECT:
            complaint = f"is {len(filled.subject):,} characters long, more than {LONGEST_SUBJECT}"
        if complaint is not None:
            raise InvalidRequest([Fault("/template", f"makes a subject that {complaint}")])
        return filled
