"""What may be asked of endpoints from outside, and how their documents change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from service.email.faults import Fault, InvalidRequest
from service.store.documents import Document
from service.store.store import Store
from service.store.transaction import Transaction
from service.webhooks import endpoint as steps
from service.webhooks import message, signing
from service.webhooks.endpoint import KIND, Endpoint, from_document, to_data
from service.webhooks.sender import Answer, Sender
from zqueue import new_id

MOST = 100
"""Endpoints of one store."""

_PREFIX = "wh_"


def one_is_behind(store: Store) -> bool:
    """Is there an endpoint that is to be told something and does not take it? Then the log should stay as it is."""
    endpoints = map(from_document, store.documents(KIND))
    return any(one.enabled and one.failures > 0 for one in endpoints)


class WebhookNotFound(LookupError):
    """No endpoint has this id."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"no webhook {webhook_id!r}")
        self.webhook_id = webhook_id


class TooManyWebhooks(Exception):
    """There are `MOST` endpoints already."""


class Webhooks:
    """The endpoints of a store.

    Args:
        store: Keeps them.
        sender: Sends test messages.
        now: The queue's time.
    """

    def __init__(self, store: Store, sender: Sender, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._sender = sender
        self._now = now

    @property
    def allow_private(self) -> bool:
        """Whether a webhook may go to an address of this machine or its network."""
        return self._sender.allow_private

    def get(self, webhook_id: str) -> Document:
        """An endpoint's document.

        Raises:
            WebhookNotFound: There is none.
        """
        document = self._store.document(KIND, webhook_id)
        if document is None:
            raise WebhookNotFound(webhook_id)
        return document

    async def page(self, after: str | None, limit: int) -> tuple[list[Document], bool]:
        """Up to *limit* of them in the order they were made, after the id *after*; and whether there are more."""
        found = await asyncio.to_thread(self._store.documents, KIND, after=after, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def create(self, url: str, types: tuple[str, ...], description: str | None) -> tuple[Document, str]:
        """A new endpoint, which is told what happens from now on; and its secret.

        Raises:
            TooManyWebhooks: There are too many.
            StoreUnavailable: Nothing was written.
        """
        if self._store.count(KIND) >= MOST:
            raise TooManyWebhooks
        key = signing.new_secret()
        fresh = Endpoint(_PREFIX + new_id(), url, types, description, key, cursor=self._store.seq)
        document = await self._store.write(lambda it: it.put(KIND, fresh.id, to_data(fresh), type="webhook.created"))
        return document, key

    async def change(self, webhook_id: str, changes: dict[str, Any], on: bool | None) -> Document:
        """Exchange fields of an endpoint; *on* enables or disables it too.

        Raises:
            WebhookNotFound: There is none.
            StoreUnavailable: Nothing was written.
        """

        def decide(endpoint: Endpoint) -> tuple[Endpoint, str]:
            changed = replace(endpoint, **changes)
            if on is not None and on != endpoint.enabled:
                return (steps.enabled(changed), _ENABLED) if on else (steps.disabled(changed, "asked"), _DISABLED)
            if changed.enabled and changed.url != endpoint.url:  # what failed there may be taken here
                return steps.enabled(changed), "webhook.updated"
            return replace(changed, gen=changed.gen + 1), "webhook.updated"

        return await self._change(webhook_id, decide)

    async def delete(self, webhook_id: str) -> None:
        """End an endpoint.

        Raises:
            WebhookNotFound: There is none.
            StoreUnavailable: Nothing was written.
        """
        if not await self._store.write(lambda it: it.delete(KIND, webhook_id, type="webhook.deleted")):
            raise WebhookNotFound(webhook_id)

    async def enable(self, webhook_id: str) -> Document:
        """Tell an endpoint, at once, all that it has not been told.

        Raises:
            WebhookNotFound: There is none.
            StoreUnavailable: Nothing was written.
        """
        return await self._change(webhook_id, lambda endpoint: (steps.enabled(endpoint), _ENABLED))

    async def rotate(self, webhook_id: str) -> tuple[Document, str]:
        """Give an endpoint a new secret; the old one goes on signing beside it for a while.

        Raises:
            WebhookNotFound: There is none.
            StoreUnavailable: Nothing was written.
        """
        key, now = signing.new_secret(), self._now()
        document = await self._change(
            webhook_id, lambda endpoint: (steps.rotated(endpoint, key, now), "webhook.secret_rotated")
        )
        return document, key

    async def replay(self, webhook_id: str, *, after: int | None = None, since: datetime | None = None) -> Document:
        """Tell an endpoint again what came after line *after*, or happened at or after *since*.

        Raises:
            WebhookNotFound: There is none.
            InvalidRequest: There is no such line yet.
            StoreUnavailable: Nothing was written.
        """
        self.get(webhook_id)
        if since is not None:
            after = await asyncio.to_thread(self._line_before, since)
        assert after is not None
        if after > self._store.seq:
            raise InvalidRequest([Fault("/after", f"must be at most {self._store.seq}, the last event there is")])
        cursor = after
        return await self._change(webhook_id, lambda endpoint: (steps.replayed(endpoint, cursor), "webhook.replayed"))

    async def test(self, webhook_id: str) -> Answer:
        """Send a test message now, whether the endpoint is enabled or not; what came of it.

        Raises:
            WebhookNotFound: There is none.
        """
        endpoint, now = from_document(self.get(webhook_id)), self._now()
        return await self._sender.send(endpoint.url, message.of_test(endpoint.id, now), endpoint.keys(now), now)

    async def _change(self, webhook_id: str, decide: Callable[[Endpoint], tuple[Endpoint, str]]) -> Document:
        def work(transaction: Transaction) -> Document:
            document = transaction.document(KIND, webhook_id)
            if document is None:
                raise WebhookNotFound(webhook_id)
            endpoint, type_ = decide(from_document(document))
            return transaction.put(KIND, webhook_id, to_data(endpoint), type=type_)

        return await self._store.write(work)

    def _line_before(self, moment: datetime) -> int:
        """The last line before the first event at or after *moment*, as far as the log goes back. Takes a while."""
        low, high = 0, self._store.seq  # events at or before `low` are too old; all after `high` are not
        while low < high:
            middle = (low + high) // 2
            found = self._store.read_events(middle, 1)
            while not found.events and found.last < high:
                found = self._store.read_events(found.last, 1)
            if found.events and found.events[0].seq <= high and found.events[0].at < moment:
                low = found.events[0].seq
            else:
                high = middle
        return low


_ENABLED = "webhook.enabled"
_DISABLED = "webhook.disabled"
