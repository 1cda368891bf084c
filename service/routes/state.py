"""What every request can reach, put there by the application's lifespan."""

from __future__ import annotations

from typing import TypedDict

from starlette.requests import Request

from service.access.limiter import Limiter
from service.events.feed import Feed
from service.mailer.target import Target
from service.outbox import Outbox
from service.recurring.schedules import Schedules
from service.settings import Settings
from service.store.store import Store
from service.templating.library import Library
from service.webhooks.registry import Webhooks
from zqueue import Queue


class AppState(TypedDict):
    """Opened once per process.

    `keys_in_flight` are the idempotency keys of the requests that this process is working on.
    """

    settings: Settings
    store: Store
    queue: Queue
    outbox: Outbox
    templates: Library
    schedules: Schedules
    relays: list[Target]
    keys_in_flight: set[str]
    limiter: Limiter
    feed: Feed
    webhooks: Webhooks


def state_of(request: Request) -> AppState:
    """The application's state, with its types."""
    found: AppState = request.scope["state"]
    return found
