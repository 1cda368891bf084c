"""The worker: store, relay, queue and handler wired together, with the reconciler beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta

import zqueue
from service.dispatch import Dispatch
from service.housekeeping import Housekeeping
from service.mailer.dkim import Signer
from service.mailer.relay import Relay
from service.mailer.relays import Relays
from service.mailer.report import Reporter
from service.mailer.target import Target
from service.outbox import Outbox, mail_queue
from service.overdue import Overdue
from service.reconcile import Reconciler
from service.recurring.definition import TASK
from service.recurring.fires import Fires
from service.recurring.upkeep import Upkeep
from service.settings import Settings
from service.store.store import Store
from service.templating.library import Library
from service.templating.renderer import Renderer
from service.throttle import Throttle
from service.webhooks.crew import Crew
from service.webhooks.registry import one_is_behind

MAX_DELIVERIES = 20
"""Deaths of its workers after which a job is taken for what kills them."""

LEASE = timedelta(seconds=10)
DRAIN = timedelta(seconds=30)
LAST_WORDS = timedelta(seconds=15)
"""How long a worker that is to stop at once waits for the outcome of a transaction."""

_log = logging.getLogger(__name__)


async def run(settings: Settings, stop: asyncio.Event, *, lease: timedelta = LEASE, drain: timedelta = DRAIN) -> None:
    """Send e-mails as they become due, until *stop* is set and what is on its way is done.

    Cancelling it stops at once, but for transactions that have begun: they get `LAST_WORDS` to end.

    Args:
        settings: Checked ones.
        stop: Ends it in good order.
        lease: How long after this process's death its jobs run elsewhere.
        drain: How long a stopping worker waits for what runs before it cancels it.

    Raises:
        SettingsError: The relay's URL or a key cannot be used.
        StoreError: The store cannot be opened, or takes no more writes from this process.
        ForeignJob: The queue holds jobs of another store; going on would lose them or send from the wrong one.
    """
    async with contextlib.AsyncExitStack() as stack:
        signer = await asyncio.to_thread(Signer.of, settings)
        if signer is not None:
            stack.callback(signer.close)
        queue = await stack.enter_async_context(mail_queue(settings))
        fate = _Fate(stop)
        store = await Store.open(settings.data_dir, now=queue.now, min_free=settings.min_free, on_dead=fate.seal)
        stack.push_async_callback(store.close)
        relays = _relays(settings, store, queue)
        stack.push_async_callback(relays.close)
        dispatch = Dispatch(
            store,
            relays,
            now=queue.now,
            backoff=settings.backoff,
            on_unknown=settings.on_unknown,
            return_path=settings.return_path,
            signer=signer,
            on_foreign=fate.seal,
        )
        stack.push_async_callback(dispatch.finish, LAST_WORDS)
        worker = zqueue.Worker(
            queue,
            {"": dispatch, TASK: _fires(stack, settings, store, queue, fate)},
            concurrency=settings.concurrency,
            lease=lease,
            drain=drain,
            max_deliveries=MAX_DELIVERIES,
        )
        through = ", ".join(one.address for one in relays.health())
        _log.info("sending through %s, %d e-mails at once", through, settings.concurrency)
        hooks = await stack.enter_async_context(Crew.opened(settings, store, lease=lease, on_foreign=fate.seal))
        throttle = Throttle(store, queue, rates=settings.rate_limits, domain_concurrency=settings.domain_concurrency)
        housekeeping = Housekeeping(store, settings, hold=lambda: one_is_behind(store))
        stack.push_async_callback(housekeeping.close)
        reconciler = Reconciler(
            store,
            queue,
            now=queue.now,
            overdue=Overdue(store, trouble=relays.trouble),
            throttle=throttle,
            also=[Upkeep(store, queue).all, housekeeping.look],
        )
        await _work(worker, dispatch, reconciler, hooks, fate)
    if fate.error is not None:
        raise fate.error


def _relays(settings: Settings, store: Store, queue: zqueue.Queue) -> Relays:
    """The relays of the settings, whose states the other processes are told."""
    reporter = Reporter(store.tell, now=queue.now)
    relays = Relays(
        [
            Relay(target, connections=settings.smtp_connections, ehlo=settings.ehlo_hostname)
            for target in Target.all_of(settings)
        ],
        changed=lambda: reporter.look(relays.health()),
    )
    reporter.look(relays.health())
    return relays


def _fires(
    stack: contextlib.AsyncExitStack, settings: Settings, store: Store, queue: zqueue.Queue, fate: _Fate
) -> Fires:
    """The handler of what schedules make, which is closed with *stack*."""
    renderer = Renderer(timedelta(seconds=settings.template_timeout))
    stack.push_async_callback(renderer.close)
    outbox = Outbox(store, queue, settings, Library(store, renderer).fill)
    stack.push_async_callback(outbox.close)
    return Fires(store, outbox, on_foreign=fate.seal)


class _Fate:
    """What ends the worker: a wish from outside, or an error after which it must not go on."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self.error: Exception | None = None

    def seal(self, error: Exception) -> None:
        """End in good order because of *error*; the first one counts."""
        if self.error is None:
            _log.critical("this worker stops: %s", error)
            self.error = error
        self.stop.set()


async def _work(worker: zqueue.Worker, dispatch: Dispatch, reconciler: Reconciler, hooks: Crew, fate: _Fate) -> None:
    """Run worker, reconciler and webhooks until the worker ends; an error of one ends all."""

    async def stop_when_told() -> None:
        await fate.stop.wait()
        worker.stop()
        dispatch.stop()
        hooks.stop()

    async with asyncio.TaskGroup() as group:
        group.create_task(hooks.run())
        beside = [group.create_task(reconciler.run()), group.create_task(stop_when_told())]
        await worker.run()
        for task in beside:
            task.cancel()
