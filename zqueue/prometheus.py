"""Metrics for Prometheus: the size of queues, and how runs go. Needs the extra ``prometheus``.

    prometheus_client.REGISTRY.register(QueueCollector(queue))

    runs = RunMetrics()
    worker = zqueue.Worker(queue, middleware=[runs.middleware(queue)])

The collector looks at queues when it is scraped; the middleware counts runs where they happen.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from zqueue import loops
from zqueue.clock import Duration, duration_us
from zqueue.errors import Bury, Snooze, ZQueueError
from zqueue.handler import Middleware, Next
from zqueue.job import Job
from zqueue.queue import Queue
from zqueue.replies import Stats

R = TypeVar("R")

_LOG: Final = logging.getLogger("zqueue")

_GAUGES: Final = {
    "zqueue_up": "Whether the queue's server answered this scrape.",
    "zqueue_due": "Scheduled jobs whose time has come.",
    "zqueue_parked": "Scheduled jobs that wait for the limit of their group.",
    "zqueue_oldest_due_age_seconds": "How late the first scheduled job is.",
    "zqueue_workers": "Workers seen within the last minute.",
    "zqueue_paused": "Whether the queue is paused.",
}
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Seconds: jobs take longer than requests do."""


class QueueCollector:
    """Shows the size of queues to a registry: ``zqueue_jobs{queue,state}`` and the gauges above, by ``queue``.

    A scrape asks the servers, all at once, and blocks its thread meanwhile. Of a server that does not answer only
    ``zqueue_up`` is shown, as 0.

    Args:
        timeout: The longest a scrape waits for a server.
    """

    def __init__(self, *queues: Queue, timeout: Duration = 5) -> None:
        self._queues = queues
        self._timeout_s = duration_us("timeout", timeout) / 1e6

    def describe(self) -> list[Metric]:
        """The names, for the registry, without asking the servers."""
        return list(_families().values())

    def collect(self) -> list[Metric]:
        """Ask all the servers."""
        answers = _apart(self._ask_all())
        families = _families()
        for queue, stats in zip(self._queues, answers, strict=True):
            labels = [queue.name]
            families["zqueue_up"].add_metric(labels, stats is not None)
            if stats is not None:
                _add(families, labels, stats)
        return list(families.values())

    def close(self) -> None:
        """Close the connections of the scrapes; another scrape makes new ones."""
        _apart(self._close())

    async def _close(self) -> None:
        for queue in self._queues:
            await queue.close()

    async def _ask_all(self) -> list[Stats | None]:
        return await asyncio.gather(*map(self._ask, self._queues))

    async def _ask(self, queue: Queue) -> Stats | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await queue.stats()
        except (ZQueueError, TimeoutError) as error:
            _LOG.warning("queue %s cannot be measured: %s", queue.name, error or "no answer in time")
            return None


def _apart(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run it in the loop of blocking callers, and wait for it in a thread: the caller's may run a loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(loops.run, coroutine).result()


def _families() -> dict[str, GaugeMetricFamily]:
    jobs = GaugeMetricFamily("zqueue_jobs", "Jobs by state.", labels=["queue", "state"])
    gauges = {name: GaugeMetricFamily(name, text, labels=["queue"]) for name, text in _GAUGES.items()}
    return {"zqueue_jobs": jobs, **gauges}


def _add(families: dict[str, GaugeMetricFamily], labels: Sequence[str], stats: Stats) -> None:
    by_state = {"scheduled": stats.scheduled, "leased": stats.leased, "done": stats.done, "dead": stats.dead}
    for state, count in by_state.items():
        families["zqueue_jobs"].add_metric([*labels, state], count)
    families["zqueue_due"].add_metric(labels, stats.due)
    families["zqueue_parked"].add_metric(labels, stats.parked)
    families["zqueue_oldest_due_age_seconds"].add_metric(labels, stats.oldest_due_age.total_seconds())
    families["zqueue_workers"].add_metric(labels, stats.workers)
    families["zqueue_paused"].add_metric(labels, stats.paused)


class RunMetrics:
    """Counts and times runs, by a worker's middleware. One for all workers of a registry.

    ``zqueue_job_runs_total{queue,task,outcome}``: outcome is ``done``, ``failed``, ``buried``, ``snoozed``,
    ``timed_out``, or ``cancelled`` (cancelled, its lease lost, or its worker stopped).
    ``zqueue_job_duration_seconds{queue,task}`` and ``zqueue_job_schedule_delay_seconds{queue,task}``: how long a run
    took, and how late it started.

    Names come from whoever enqueues: only those of the queue's tasks, and *names*, become a label; others are ``""``.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, names: Sequence[str] = ()) -> None:
        labels = ("queue", "task")
        self._names = frozenset(names)
        self._runs = Counter("zqueue_job_runs", "Runs that ended.", (*labels, "outcome"), registry=registry)
        self._duration = Histogram(
            "zqueue_job_duration_seconds", "How long runs took.", labels, buckets=_BUCKETS, registry=registry
        )
        self._delay = Histogram(
            "zqueue_job_schedule_delay_seconds",
            "How long after their due time runs started.",
            labels,
            buckets=_BUCKETS,
            registry=registry,
        )

    def middleware(self, queue: Queue) -> Middleware:
        """The middleware for a worker of *queue*."""

        async def measured(job: Job[Any], call: Next) -> Any:
            task = job.name if job.name in queue.tasks or job.name in self._names else ""
            if job.due_at is not None:
                self._delay.labels(queue.name, task).observe(max(0.0, (queue.now() - job.due_at).total_seconds()))
            began = time.perf_counter()
            outcome = "done"
            try:
                return await call()
            except BaseException as error:
                outcome = _outcome(job, error, time.perf_counter() - began)
                raise
            finally:
                self._duration.labels(queue.name, task).observe(time.perf_counter() - began)
                self._runs.labels(queue.name, task, outcome).inc()

        return measured


_SLACK_S: Final = 0.01
"""The timer of a run starts a little before the middleware does, and may end it early by the loop's resolution."""


def _outcome(job: Job[Any], error: BaseException, seconds: float) -> str:
    if isinstance(error, asyncio.CancelledError):
        timed_out = job.timeout is not None and seconds >= job.timeout.total_seconds() - _SLACK_S
        return "timed_out" if timed_out else "cancelled"
    return "snoozed" if isinstance(error, Snooze) else "buried" if isinstance(error, Bury) else "failed"
