"""Metrics for Prometheus, scraped from a real registry."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import zqueue
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue.embedded import Server
from zqueue.prometheus import QueueCollector, RunMetrics
from zqueue.testing import seed

Samples = dict[tuple[str, ...], float]


def scraped(registry: CollectorRegistry, *, without: Iterable[str] = ()) -> Samples:
    """What a scrape shows: values by name and label values, in the order of the labels."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    return {
        (each.name, *(each.labels[key] for key in sorted(each.labels))): each.value
        for each in samples
        if not each.name.endswith(("_created", *without))
    }


@contextlib.contextmanager
def collecting(*queues: zqueue.Queue, **options: Any) -> Iterator[CollectorRegistry]:
    """A registry with a collector of these queues."""
    registry = CollectorRegistry(auto_describe=True)
    collector = QueueCollector(*queues, **options)
    registry.register(collector)
    yield registry
    collector.close()


async def test_the_size_of_a_queue(queue: zqueue.Queue) -> None:
    """By state, with what is late, paused and parked; the scrape may come from a thread that runs an event loop."""
    await seed(
        queue,
        dead=[zqueue.NewJob(None), zqueue.NewJob(None)],
        done=[zqueue.NewJob(None, keep_done=60)],
        leased=[zqueue.NewJob(None)],
        lease=3600,
    )
    await queue.pause()
    await queue.enqueue(None, at=datetime.now(UTC) - timedelta(hours=1))
    await queue.enqueue(None, delay=3600)
    with collecting(queue) as registry:
        scrapes = [scraped(registry), await asyncio.to_thread(scraped, registry)]
    for shown in scrapes:
        age = shown.pop(("zqueue_oldest_due_age_seconds", queue.name))
        assert 3599 < age < 3700
        workers = shown.pop(("zqueue_workers", queue.name))
        assert workers == (await queue.stats()).workers
        assert shown == {
            ("zqueue_up", queue.name): 1,
            ("zqueue_jobs", queue.name, "scheduled"): 2,
            ("zqueue_jobs", queue.name, "leased"): 1,
            ("zqueue_jobs", queue.name, "done"): 1,
            ("zqueue_jobs", queue.name, "dead"): 2,
            ("zqueue_due", queue.name): 1,
            ("zqueue_parked", queue.name): 0,
            ("zqueue_paused", queue.name): 1,
        }


async def test_a_server_that_is_away(queue: zqueue.Queue, caplog: pytest.LogCaptureFixture) -> None:
    """Is told by zqueue_up alone, and hides no other queue; registering does not ask anybody."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        away = zqueue.Queue("away", f"redis://127.0.0.1:{free.getsockname()[1]}")
    with collecting(away, queue) as registry:
        assert caplog.messages == []
        shown = scraped(registry)
    assert (shown["zqueue_up", "away"], shown["zqueue_up", queue.name]) == (0, 1)
    assert [labels for labels in shown if "away" in labels] == [("zqueue_up", "away")]
    assert [message for message in caplog.messages if "queue away cannot be measured: " in message] == caplog.messages


async def test_a_server_that_does_not_answer() -> None:
    """Costs a scrape its timeout, and no more."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mute = zqueue.Queue("mute", f"redis://127.0.0.1:{silent.getsockname()[1]}")
        began = asyncio.get_running_loop().time()
        with collecting(mute, timeout=0.2) as registry:
            shown = await asyncio.to_thread(scraped, registry)
        took = asyncio.get_running_loop().time() - began
    assert shown == {("zqueue_up", "mute"): 0}
    assert 0.2 <= took < 8  # a server has 10 s to answer otherwise


async def test_two_collectors_of_one_registry(queue: zqueue.Queue) -> None:
    """Are refused: one collector takes all queues."""
    with collecting(queue) as registry, pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(QueueCollector(queue))


async def test_runs_are_counted_and_timed(valkey: Server) -> None:
    """By task and by how they ended; names that are not known do not become labels."""
    queue = zqueue.Queue(unique_name(), valkey.url, retry=zqueue.Retry(attempts=1))
    hanging = asyncio.Event()

    async def handler(job: zqueue.Job[Any]) -> None:
        match job.payload:
            case "fail":
                raise ValueError(job.payload)
            case "bury":
                raise zqueue.Bury("enough")
            case "snooze":
                raise zqueue.Snooze(timedelta(hours=1))
            case "late" | "hang":
                hanging.set()
                await asyncio.sleep(3600)

    registry = CollectorRegistry()
    metrics = RunMetrics(registry, names=["known"])
    late = datetime.now(UTC) - timedelta(hours=1)
    payloads = ["work", "work", "fail", "bury", "snooze"]
    await queue.enqueue_many(zqueue.NewJob(each, at=late, name="known") for each in payloads)
    await queue.enqueue("late", timeout=0.05, name="known")
    await queue.enqueue("work", name="user-4711")
    worker = zqueue.Worker(queue, handler, middleware=[metrics.middleware(queue)])
    await worker.run(burst=True)
    hanging.clear()
    async with working(worker):
        hung = await queue.enqueue("hang", name="known")
        await asyncio.wait_for(hanging.wait(), 10)
        assert await queue.cancel(hung.id)

        def cancelled() -> bool:
            return scraped(registry).get(("zqueue_job_runs_total", "cancelled", queue.name, "known")) == 1

        await wait_until(cancelled)
    shown = scraped(registry, without=["_bucket"])
    assert {key[1:]: value for key, value in shown.items() if key[0] == "zqueue_job_runs_total"} == {
        ("done", queue.name, "known"): 2,
        ("failed", queue.name, "known"): 1,
        ("buried", queue.name, "known"): 1,
        ("snoozed", queue.name, "known"): 1,
        ("timed_out", queue.name, "known"): 1,
        ("cancelled", queue.name, "known"): 1,
        ("done", queue.name, ""): 1,
    }
    for name in ("zqueue_job_duration_seconds_count", "zqueue_job_schedule_delay_seconds_count"):
        assert (shown[name, queue.name, "known"], shown[name, queue.name, ""]) == (7, 1)
    assert shown["zqueue_job_duration_seconds_sum", queue.name, "known"] >= 0.05
    assert 5 * 3600 <= shown["zqueue_job_schedule_delay_seconds_sum", queue.name, "known"] < 5 * 3700
    await queue.close()


async def test_tasks_are_known(valkey: Server) -> None:
    """The names of a queue's tasks become labels by themselves; what a task returns is not changed."""
    queue = zqueue.Queue(unique_name(), valkey.url, keep_done=60)

    @queue.task
    def double(number: int) -> int:
        return 2 * number

    registry = CollectorRegistry()
    job = await double.enqueue(21)
    await zqueue.Worker(queue, middleware=[RunMetrics(registry).middleware(queue)]).run(burst=True)
    assert await job.result(timeout=5) == 42
    assert scraped(registry)["zqueue_job_runs_total", "done", queue.name, double.name] == 1
    await queue.close()
