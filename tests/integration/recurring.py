"""What tests of schedules share: a real store and a real queue, on a clock that the test moves."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import zqueue
from service.email.record import Email
from service.outbox import Outbox
from service.recurring.definition import TASK, Definition
from service.recurring.fires import Fires
from service.recurring.requests import read
from service.recurring.schedules import Schedules
from service.recurring.upkeep import Upkeep
from service.settings import Settings
from service.store.listing import Filter
from service.store.store import Store
from service.templating.library import Library
from service.templating.renderer import Renderer
from zqueue.testing import FakeClock, run_until_idle

EMAIL: dict[str, Any] = {"from": "a@example.com", "to": "b@example.com", "subject": "Hi", "text": "Hi"}


def a_definition(cron: str = "0 9 * * *", zone: str = "Europe/Berlin", **fields: Any) -> Definition:
    """A schedule as a request would have it; *fields* are those of its e-mail, and `misfire`."""
    misfire = fields.pop("misfire", "once")
    return read({"cron": cron, "timezone": zone, "misfire": misfire, "email": EMAIL | fields})[0]


class World:
    """One process, or several that share store and queue."""

    def __init__(self, store: Store, queue: zqueue.Queue, clock: FakeClock, renderer: Renderer) -> None:
        self.store = store
        self.queue = queue
        self.clock = clock
        self.renderer = renderer
        self.templates = Library(store, renderer)
        settings = Settings(_env_file=None, data_dir=Path("unused"), public_url="https://mail.example.com")
        self.outbox = Outbox(store, queue, settings, self.templates.fill)
        self.schedules = Schedules(store, queue, self.outbox)
        self.upkeep = Upkeep(store, queue)
        self.fires = Fires(store, self.outbox, look_again=timedelta(seconds=1))
        self.worker = zqueue.Worker(queue, {"": _sent, TASK: self.fires})

    async def follow(self, until: datetime) -> None:
        """Move the clock to *until*, running all that becomes due."""
        await run_until_idle(self.worker, self.clock, limit=until - self.clock.now())
        self.clock.travel_to(until)
        await run_until_idle(self.worker)

    async def empty_queue(self) -> None:
        """Lose everything that the queue holds, as FLUSHALL would; other tests use the same server."""
        for one in await self.queue.recurring():
            await self.queue.unrecur(one.name)
        for state in (zqueue.JobState.SCHEDULED, zqueue.JobState.DEAD):
            await self.queue.purge(state)

    @property
    def emails(self) -> list[Email]:
        """Those that were accepted, oldest first."""
        return self.store.page(Filter(), 1_000).data[::-1]

    @property
    def accepted_at(self) -> list[str]:
        """When that was, in UTC."""
        return [email.created_at.isoformat(timespec="minutes").removesuffix("+00:00") for email in self.emails]

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Type and data of the events of schedules."""
        events = self.store.read_events(0, 10_000).events
        return [(one.type, dict(one.data)) for one in events if one.type.startswith("schedule.")]


async def _sent(_: zqueue.Job) -> None:
    """In place of the sending."""


@contextlib.asynccontextmanager
async def a_world(directory: Path, queue: zqueue.Queue, clock: FakeClock) -> AsyncIterator[World]:
    """Everything that schedules need."""
    store = await Store.open(directory, now=queue.now, min_free=0)
    renderer = Renderer()
    try:
        world = World(store, queue, clock, renderer)
        yield world
        await world.schedules.close()
        await world.outbox.close()
    finally:
        await renderer.close()
        await store.close()
