"""The API as an ASGI application: routes, error map, lifespan."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from starlette.applications import Starlette
from starlette.middleware import Middleware

from service.access import reach
from service.access.limiter import Limiter
from service.events.feed import Feed
from service.mailer.target import Target
from service.outbox import Outbox, mail_queue
from service.recurring.schedules import Schedules
from service.routes import ROUTES
from service.routes.access import AccessLog
from service.routes.emails.reading import most_of_bodies
from service.routes.limits import LimitFields
from service.routes.memory import BodyMemory
from service.routes.problems import EXCEPTION_HANDLERS
from service.routes.state import AppState
from service.settings import Settings
from service.store.errors import StoreError
from service.store.store import Store
from service.templating.library import Library
from service.templating.renderer import Renderer
from service.webhooks.line import CONCURRENCY
from service.webhooks.registry import Webhooks
from service.webhooks.sender import Sender
from zqueue import Queue

_log = logging.getLogger(__name__)


def stop_process(error: StoreError) -> None:
    """End this process in good order, as its signal would: only a new one can write to the store again."""
    _log.critical("the store takes no more writes from this process, which stops: %s", error)
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.asynccontextmanager
async def opened(
    settings: Settings,
    *,
    store: Store | None = None,
    queue: Queue | None = None,
    on_dead: Callable[[StoreError], None] = stop_process,
) -> AsyncIterator[AppState]:
    """What an application serves from; closed in order at the end.

    Redis need not be there, neither now nor later.

    Args:
        settings: Checked ones.
        store: An open one to use instead; it is left open.
        queue: One to use instead; it is left open.
        on_dead: Called once when this process can write to its own store no more.

    Raises:
        SettingsError: The relay's URL cannot be used, or others would reach an API that asks for no key.
        StoreError: The store cannot be opened.
    """
    async with contextlib.AsyncExitStack() as stack:
        if queue is None:
            queue = await stack.enter_async_context(mail_queue(settings))
        if store is None:
            store = await Store.open(settings.data_dir, now=queue.now, min_free=settings.min_free, on_dead=on_dead)
            stack.push_async_callback(store.close)
        reach.check(settings, store)
        relays = Target.all_of(settings)
        renderer = Renderer(timedelta(seconds=settings.template_timeout))
        stack.push_async_callback(renderer.close)
        templates = Library(store, renderer)
        outbox = Outbox(store, queue, settings, templates.fill)
        stack.push_async_callback(outbox.close)
        sender = Sender(allow_private=settings.webhook_allow_private, connections=CONCURRENCY)
        stack.push_async_callback(sender.close)
        schedules = Schedules(store, queue, outbox)
        stack.push_async_callback(schedules.close)
        await outbox.meet_queue()
        yield {
            "settings": settings,
            "store": store,
            "queue": queue,
            "outbox": outbox,
            "templates": templates,
            "schedules": schedules,
            "relays": relays,
            "keys_in_flight": set(),
            "limiter": Limiter(settings.api_rate),
            "feed": Feed(store),
            "webhooks": Webhooks(store, sender, now=queue.now),
        }


def create_app(state: AppState) -> Starlette:
    """The application that serves from *state*."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[AppState]:
        yield state

    app = Starlette(
        routes=ROUTES,
        middleware=[
            Middleware(AccessLog),
            Middleware(LimitFields),
            Middleware(BodyMemory, most_of_bodies(state["settings"])),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = (
        False  # to most clients of a POST a redirect is an empty answer; a 404 says what is wrong
    )
    return app
