"""What tests of webhooks share: a real store, a real queue, a real receiver, and a clock that stands still."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import zqueue
from service.email import jobs
from service.store.store import Store
from service.webhooks.deliver import Deliverer
from service.webhooks.endpoint import KIND, Endpoint, from_document
from service.webhooks.registry import Webhooks
from service.webhooks.sender import Sender
from tests.integration.dispatching import START
from tests.receiver import Receiver, receiving

BACKOFF = zqueue.steps(5, 300, 1800)


class World:
    """All of it, without a worker: jobs are handled one by one."""

    def __init__(self, store: Store, sender: Sender, receiver: Receiver) -> None:
        self.store = store
        self.sender = sender
        self.receiver = receiver
        self.now = START
        self.hooks = Webhooks(store, sender, now=self.clock)
        self.deliverer = self.a_deliverer()

    def clock(self) -> datetime:
        """The time, which only tests move."""
        return self.now

    def a_deliverer(self, **options: Any) -> Deliverer:
        """A handler of jobs."""
        return Deliverer(self.store, self.sender, now=self.clock, backoff=BACKOFF, **options)

    async def create(self, *types: str, url: str | None = None) -> tuple[str, str]:
        """A new endpoint; its id and its secret."""
        document, secret = await self.hooks.create(url or self.receiver.url(), types or ("key.*",), None)
        return document.name, secret

    async def note(self, type_: str = "key.made", **data: Any) -> int:
        """Write an event; its number."""
        await self.store.write(lambda it: it.note("key:test", type_, data))
        return self.store.seq

    def endpoint(self, webhook_id: str) -> Endpoint:
        """An endpoint as it is now."""
        document = self.store.document(KIND, webhook_id)
        assert document is not None
        return from_document(document)

    def job(self, webhook_id: str) -> zqueue.Job:
        """A delivery of an endpoint's job."""
        due = round(self.now.timestamp() * 1_000_000)
        payload = jobs.payload(self.store.id)
        return zqueue.Job(webhook_id, payload, state=zqueue.JobState.LEASED, due_us=due, name="webhook")

    async def handle(self, webhook_id: str, deliverer: Deliverer | None = None) -> timedelta | None:
        """One delivery; how long it is snoozed for, or None when the job is done."""
        try:
            await (deliverer or self.deliverer)(self.job(webhook_id))
        except zqueue.Snooze as snooze:
            return snooze.delay
        return None

    def types(self) -> list[str]:
        """The types of all events of webhooks so far."""
        return [one.type for one in self.store.read_events(0, 1000).events if one.type.startswith("webhook.")]


@contextlib.asynccontextmanager
async def a_world(directory: Path) -> AsyncIterator[World]:
    """An empty store, and a receiver that takes everything."""
    store = await Store.open(directory, now=lambda: world.now, min_free=0)
    sender = Sender(allow_private=True, connections=4, timeout=timedelta(seconds=5))
    async with receiving() as receiver:
        world = World(store, sender, receiver)
        yield world
        await sender.close()
    await store.close()
