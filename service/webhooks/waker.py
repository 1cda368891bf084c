"""Sees to it that every endpoint that has something to be told has its job in the queue.

The log says what happened, and an endpoint's document how far it has been told; the queue is an index of it that can
be lost. One process does this at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Container, Iterable

import zqueue
from service.store.errors import StoreError
from service.store.store import Store
from service.store.transaction import Transaction
from service.webhooks import endpoint as steps
from service.webhooks import line
from service.webhooks.endpoint import KIND, Endpoint, from_document, to_data

ROLE = "webhooks"

_PAUSE_S = 0.1
"""Between two looks, however much happens."""
_LONGEST_S = 2.0
_SWEEP_S = 60.0
_CHUNK = 500
_PAGE = 100

_log = logging.getLogger(__name__)


class Waker:
    """Gives endpoints their jobs; see the module.

    Args:
        store: Holds the endpoints and the log.
        queue: That of webhooks.
    """

    def __init__(self, store: Store, queue: zqueue.Queue) -> None:
        self._store = store
        self._queue = queue
        self._looked_at: int | None = None  # the last line that was looked at
        self._wants: dict[str, tuple[int, int]] = {}  # endpoint -> its gen, and the last line it wants to be told
        self._sweep_at = 0.0
        self._away = False

    async def run(self) -> None:
        """Wake endpoints until cancelled. Neither a queue that is away nor a store in trouble ends it."""
        while True:
            idle = True
            try:
                if self._store.lead(ROLE):
                    idle = await self.step() == 0
                    self._away = False
                await asyncio.sleep(_PAUSE_S)
                if idle:
                    await self._store.changed(self._store.seq, _LONGEST_S)
            except zqueue.QueueUnavailable as error:
                if not self._away:
                    _log.warning("the queue of webhooks is away: %s", error)
                self._away = True
                await asyncio.sleep(_LONGEST_S)
            except StoreError as error:
                _log.error("webhooks wait for the store: %s", error)
                await asyncio.sleep(_LONGEST_S)
            except Exception:  # a fault here must not end the worker, which sends e-mails too
                _log.exception("webhooks cannot be told of what happens")
                await asyncio.sleep(_LONGEST_S)

    async def step(self) -> int:
        """Look once.

        Returns:
            How many endpoints have something to be told now.

        Raises:
            zqueue.QueueUnavailable: The queue could not be reached.
        """
        documents = await asyncio.to_thread(self._store.documents, KIND)
        endpoints = [one for one in map(from_document, documents) if one.enabled]
        changed = await self._look(endpoints)
        # A cursor beyond the end is one of another store, from which the endpoint was imported.
        behind = [one for one in endpoints if self._wants[one.id][1] > one.cursor or one.cursor > self._store.seq]
        if behind:
            await self._wake([one.id for one in behind], changed)
        if time.monotonic() >= self._sweep_at:
            await self._disable_poison()
            self._sweep_at = time.monotonic() + _SWEEP_S
        return sum(one.next_at is None for one in behind)

    async def _wake(self, ids: Collection[str], changed: Container[str]) -> None:
        store = self._store.id
        await self._queue.enqueue_many([line.job(one, store, anew=False) for one in ids if one not in changed])
        for one in ids:
            if one in changed:
                # One that runs is not replaced: it notices by itself that it is void, and is kept by the next step.
                with contextlib.suppress(zqueue.DuplicateJob):
                    await self._queue.enqueue_many([line.job(one, store, anew=True)])

    def sweep_soon(self) -> None:
        """Look at the queue's dead with the next step."""
        self._sweep_at = 0.0

    async def _look(self, endpoints: Iterable[Endpoint]) -> set[str]:
        """Read on, and see whom that concerns; whose job has to begin anew."""
        last = self._store.seq
        known = {one.id: one for one in endpoints}
        changed = {one.id for one in endpoints if self._wants.get(one.id, (0, 0))[0] != one.gen}
        self._wants = {name: wants for name, wants in self._wants.items() if name in known}
        self._wants |= {name: (known[name].gen, last) for name in changed}
        position = last if self._looked_at is None else self._looked_at
        while position < last:
            found = await asyncio.to_thread(self._store.read_events, position, _CHUNK)
            for event in found.events:
                for one in known.values():
                    if one.wanted.takes(event):
                        self._wants[one.id] = one.gen, max(event.seq, self._wants[one.id][1])
            position = found.last
        self._looked_at = position
        return changed

    async def _disable_poison(self) -> None:
        """Disable the endpoints whose jobs are dead: they kill workers."""
        page = await self._queue.jobs(zqueue.JobState.DEAD, _PAGE)
        while page:
            for job in page:
                await self._disable(job)
            page = await self._queue.jobs(zqueue.JobState.DEAD, _PAGE, after=page[-1])

    async def _disable(self, job: zqueue.JobRecord) -> None:
        def work(transaction: Transaction) -> bool:
            document = transaction.document(KIND, job.id)
            endpoint = None if document is None else from_document(document)
            if endpoint is None or not endpoint.enabled or endpoint.gen != self._wants.get(job.id, (0, 0))[0]:
                return False
            transaction.put(KIND, job.id, to_data(steps.disabled(endpoint, "poison")), type="webhook.disabled")
            return True

        if await self._store.write(work):
            _log.error("webhook %s is disabled: its job is dead: %s", job.id, job.error)
