"""Keeps the queue's schedules what the store says they are."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import zqueue
from service.email import jobs
from service.recurring.definition import KIND, PROGRESS, TASK, Definition, Progress
from service.store.documents import Document
from service.store.store import Store

_log = logging.getLogger(__name__)


class Upkeep:
    """Puts schedules into the queue and takes them out of it."""

    def __init__(self, store: Store, queue: zqueue.Queue) -> None:
        self._store = store
        self._queue = queue

    async def one(self, name: str) -> None:
        """Make the queue's schedule of this name what it should be, though it be changed meanwhile.

        Raises:
            zqueue.QueueUnavailable: The queue could not be reached.
        """
        document = self._store.document(KIND, name)
        while True:
            await self._apply(name, document)
            newer = self._store.document(KIND, name)
            if newer == document:
                return
            document = newer

    async def all(self) -> None:
        """Do so for every schedule, and end those in the queue that there are no more.

        Raises:
            zqueue.QueueUnavailable: The queue could not be reached.
        """
        there = {one.name: one for one in await self._queue.recurring() if self._is_ours(one)}
        for name in await asyncio.to_thread(self._astray, there):
            try:
                await self.one(name)
                _log.info("the schedule %s is in the queue, or out of it, as it should be again", name)
            except zqueue.InvalidJob as error:  # such as a time zone that this machine does not know
                _log.error("the schedule %s cannot be in the queue: %s", name, error)

    def payload(self, definition: Definition) -> dict[str, Any]:
        """What its jobs carry: the store, and the times, by which a fire of what it was before is known."""
        return {**jobs.payload(self._store.id), "times": definition.times}

    async def _apply(self, name: str, document: Document | None) -> None:
        definition = None if document is None else Definition.of(document.data)
        if definition is None or definition.paused:
            await self._queue.unrecur(name)
            return
        await self._queue.recur(
            name,
            definition.when,
            self.payload(definition),
            after=self._floor(name).floor,
            misfire=definition.misfire,
            task=TASK,
        )

    def _floor(self, name: str) -> Progress:
        document = self._store.document(PROGRESS, name)
        return Progress(self._queue.now()) if document is None else Progress.of(document.data)

    def _astray(self, there: dict[str, zqueue.Recurring]) -> list[str]:
        """The names for which store and queue, which has *there*, do not agree. Takes a while where there are many."""
        wrong = [one.name for one in self._store.documents(KIND) if not self._agrees(one, there.pop(one.name, None))]
        return [*wrong, *there]

    def _agrees(self, document: Document, there: zqueue.Recurring | None) -> bool:
        definition = Definition.of(document.data)
        if definition.paused or there is None:
            return definition.paused and there is None
        try:
            wanted = definition.when, definition.misfire, self.payload(definition)
        except zqueue.InvalidJob:  # of which `one` will tell
            return False
        known = there.schedule, there.misfire, there.payload
        return wanted == known and there.next_at > self._floor(document.name).floor

    def _is_ours(self, there: zqueue.Recurring) -> bool:
        return there.task == TASK and jobs.store_of(there.payload) == self._store.id
