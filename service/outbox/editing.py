"""From a patch and the record it is for to the edit of an e-mail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from service import unsubscribe
from service.email import life, patch, request_times
from service.email.draft import Draft
from service.email.edits import Edit
from service.email.faults import Fault, InvalidRequest
from service.email.patch import Patch
from service.email.record import Content, Email
from service.email.terms import Terms
from service.outbox.composing import Composed, Composer
from service.settings import Settings
from service.store.store import Store
from zqueue import Backoff

_BODIES = frozenset({"subject", "text", "html"})


class Editor:
    """Makes edits of patches."""

    def __init__(self, store: Store, composer: Composer, settings: Settings) -> None:
        self._store = store
        self._composer = composer
        self._settings = settings
        self._backoff = settings.backoff

    async def edit(self, email: Email, body: Mapping[str, Any], terms: Terms) -> Edit:
        """What is to be different in *email* after the patch *body*; new files are kept on return.

        Raises:
            InvalidRequest: It cannot be so.
        """
        wanted = await asyncio.to_thread(patch.read, body, email.content, terms)
        timing = timed(email, wanted, max_retries=self._settings.max_retries, backoff=self._backoff)
        if wanted.draft is None:
            return timing
        content = await self._content(email, wanted, wanted.draft)
        return replace(timing, content=content, addresses=wanted.draft.addresses)

    async def _content(self, email: Email, wanted: Patch, draft: Draft) -> Content:
        content = await self._composer.content(draft, email.content.message_id)
        if draft.template is None and not wanted.given & _BODIES:
            content = replace(content, template=email.content.template)
        if unsubscribe.is_offered(self._store, email):  # for the recipient that it has by now
            if len(draft.addresses) != 1:
                raise InvalidRequest([Fault("/to", "must be one recipient, who is offered to unsubscribe")])
            content = await self._composer.offer_unsubscribing(email.id, content, draft.addresses[0])
        files = {one.attachment.sha256: one.data for one in draft.files if one.data is not None}
        composed = Composed(replace(email, content=content), files)
        await self._composer.check_size(composed)
        await self._composer.keep(composed)
        return content


def timed(email: Email, wanted: Patch, *, max_retries: int, backoff: Backoff) -> Edit:
    """The part of an edit that is no content.

    Args:
        email: The record that the patch was read for.
        wanted: What was asked for.
        max_retries: The default.
        backoff: The delays between counted attempts.

    Raises:
        InvalidRequest: The e-mail would be given up before its time.
    """
    retries = None
    if "max_retries" in wanted.given:
        retries = max_retries if wanted.max_retries is None else wanted.max_retries
    retry_until = wanted.retry_until or _moved(email, wanted, retries, backoff)
    scheduled_at = wanted.scheduled_at
    if retry_until is not None or scheduled_at is not None:
        due = scheduled_at or email.state.next_attempt_at or email.state.scheduled_at
        if (retry_until or email.state.retry_until) <= due:
            raise InvalidRequest([request_times.TOO_EARLY])
    return Edit(scheduled_at=scheduled_at, max_retries=retries, retry_until=retry_until)


def _moved(email: Email, wanted: Patch, retries: int | None, backoff: Backoff) -> datetime | None:
    """The default end, where it applies: it moves with what it depends on. None leaves the end as it is."""
    state = email.state
    starts = {state.scheduled_at, state.next_attempt_at or state.scheduled_at}  # a retry by hand begins a new life
    ends = (life.default_retry_until(start, state.max_retries, backoff) for start in starts)
    was_default = state.retry_until in ends
    reset = "retry_until" in wanted.given  # to null, or this would not be asked
    if not reset and not (was_default and (wanted.scheduled_at is not None or retries is not None)):
        return None
    start = wanted.scheduled_at or state.scheduled_at
    return life.default_retry_until(start, state.max_retries if retries is None else retries, backoff)
