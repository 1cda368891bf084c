"""The limits of the queue that carries e-mails: set from the settings, again when lost, lifted when not wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import zqueue
from service.rates import Rate
from service.reconcile import Reconciler
from service.store.store import Store
from service.throttle import Throttle
from tests.integration.dispatching import START


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty one."""
    opened = await Store.open(tmp_path, now=lambda: START, min_free=0)
    yield opened
    await opened.close()


async def started(queue: zqueue.Queue, groups: list[str]) -> list[str]:
    """The groups of the jobs that start at once, of three in each; all jobs are gone afterwards."""
    for group in groups:
        await queue.enqueue_many([zqueue.NewJob(None, group=group) for _ in range(3)])
    claim = queue.shards[0].commands.claim(100, 5_000_000, "ab", 5, solo_ok=True, worker="", kept=queue.kept)
    deliveries = (await queue.ask(queue.shards[0], claim)).deliveries
    found = [await queue.get(each.id.decode()) for each in deliveries]
    await queue.purge(zqueue.JobState.SCHEDULED)
    for each in deliveries:
        assert await queue.cancel(each.id.decode())
    return sorted(job.group or "" for job in found if job is not None)


async def test_limits_are_those_of_the_settings(store: Store, queue: zqueue.Queue) -> None:
    """So many at once to each domain, and at the rate of a domain that has one."""
    await Throttle(store, queue, rates={"b.example": Rate(1, 3600)}, domain_concurrency=2).apply()
    assert await started(queue, ["a.example", "b.example", "c.example"]) == [
        "a.example",
        "a.example",
        "b.example",
        "c.example",
        "c.example",
    ]


async def test_the_rate_of_all(store: Store, queue: zqueue.Queue) -> None:
    """`*` is the rate of the whole queue."""
    await Throttle(store, queue, rates={"*": Rate(1, 3600)}, domain_concurrency=2).apply()
    assert await started(queue, ["a.example", "b.example"]) == ["a.example"]


async def test_what_is_not_wanted_any_more_is_lifted(store: Store, queue: zqueue.Queue) -> None:
    """Another process with other settings lifts what the last one set; nothing is written where nothing changed."""
    before = {"*": Rate(1, 3600), "a.example": Rate(1, 3600)}
    await Throttle(store, queue, rates=before, domain_concurrency=1).apply()
    now = Throttle(store, queue, rates={"b.example": Rate(1, 3600)}, domain_concurrency=2)
    await now.apply()
    assert await started(queue, ["a.example", "b.example"]) == ["a.example", "a.example", "b.example"]
    last = store.read_events(0, 100).last
    await now.apply()
    assert store.read_events(0, 100).last == last


async def test_limits_come_back_with_the_emails(store: Store, queue: zqueue.Queue) -> None:
    """A queue that was emptied has its limits again before the e-mails are in it again."""
    throttle = Throttle(store, queue, rates={}, domain_concurrency=1)
    reconciler = Reconciler(store, queue, now=lambda: START, throttle=throttle)
    await reconciler.step()
    assert await started(queue, ["a.example"]) == ["a.example"]
    for group in (None, "*"):  # as FLUSHALL would
        await queue.set_limit(group)
    again = Reconciler(store, queue, now=lambda: START, throttle=throttle)
    await again.step()
    assert await started(queue, ["a.example"]) == ["a.example"]
