"""What a worker needs for webhooks: their queue, who takes its jobs, and who puts them there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import zqueue
from service.dispatch import ForeignJob
from service.settings import Settings
from service.store.store import Store
from service.webhooks.deliver import LAST_WORDS, Deliverer
from service.webhooks.line import CONCURRENCY, NAME, hooks_queue
from service.webhooks.sender import Sender
from service.webhooks.waker import Waker

_DRAIN = LAST_WORDS + timedelta(seconds=5)
_MAX_DELIVERIES = 20


class Crew:
    """Tells a store's endpoints what happens. Made by `opened`."""

    def __init__(self, waker: Waker, deliverer: Deliverer, worker: zqueue.Worker) -> None:
        self._waker = waker
        self._deliverer = deliverer
        self._worker = worker

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        settings: Settings,
        store: Store,
        *,
        lease: timedelta,
        on_foreign: Callable[[ForeignJob], None],
    ) -> AsyncIterator[Crew]:
        """A crew that is ready to run.

        Args:
            settings: Checked ones.
            store: Holds the endpoints and the log; it is left open.
            lease: How long after this process's death its jobs run elsewhere.
            on_foreign: Called before a job of another store is refused.

        Raises:
            SettingsError: The URL of the queue cannot be used.
        """
        async with hooks_queue(settings) as queue:
            sender = Sender(allow_private=settings.webhook_allow_private, connections=CONCURRENCY)
            try:
                deliverer = Deliverer(store, sender, now=queue.now, on_foreign=on_foreign)
                worker = zqueue.Worker(
                    queue,
                    {NAME: deliverer},
                    concurrency=CONCURRENCY,
                    lease=lease,
                    drain=_DRAIN,
                    max_deliveries=_MAX_DELIVERIES,
                )
                yield cls(Waker(store, queue), deliverer, worker)
            finally:
                await sender.close()

    async def run(self) -> None:
        """Work until `stop`, or until cancelled."""
        async with asyncio.TaskGroup() as group:
            waking = group.create_task(self._waker.run())
            await self._worker.run()
            waking.cancel()

    def stop(self) -> None:
        """Begin nothing more, and end once the messages on their way have arrived."""
        self._deliverer.stop()
        self._worker.stop()
