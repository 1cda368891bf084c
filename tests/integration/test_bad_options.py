"""Bad input to every call (`enqueue`: see also `test_queue_enqueue`): refused with an error that names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

import zqueue
from tests.queue_state import read_keys
from zqueue import InvalidJob, JobState, NewJob, Queue, Worker

NAIVE = datetime(2040, 1, 1)  # noqa: DTZ001
AWARE = NAIVE.astimezone()
DAILY = zqueue.cron("0 9 * * *")
KILOBYTE = "x" * 1024

Call = Callable[[Any], Any]
"""A call on a queue; typed loosely, as callers without a type checker have it."""


def recur(**options: Any) -> Call:
    """A call of `recur` with these arguments, the others good."""
    return lambda queue: queue.recur(**{"name": "daily", "schedule": DAILY, "payload": 1} | options)


def limit(**options: Any) -> Call:
    """A call of `set_limit` on a group."""
    return lambda queue: queue.set_limit(**{"group": "g"} | options)


def new(**options: Any) -> Call:
    """A call of `enqueue_many` with a good job and one like this."""
    return lambda queue: queue.enqueue_many([NewJob(1), NewJob(**{"payload": 2} | options)])


REFUSED: list[tuple[Call, str]] = [
    # jobs
    (new(group=""), "group must be 1 to 200 bytes long, not 0"),
    (new(group=KILOBYTE), "group must be 1 to 200 bytes long, not 1024"),
    (new(group="a\0b"), r"group holds a control character: 'a\\x00b'"),
    (new(group=5), "group must be a string, not 5"),
    (new(on_conflict="ignore"), "on_conflict must be keep, replace or raise, not 'ignore'"),
    (new(on_conflict=None), "on_conflict must be keep, replace or raise, not None"),
    (new(keep_done=-1), "keep_done must be between 0 and 1,000 years, not -1"),
    (new(keep_done="1h"), "keep_done must be a timedelta or seconds, not '1h'"),
    (new(timeout=0), "timeout must be longer than 0"),
    (new(timeout=timedelta(days=-1)), "timeout must be between 0 and 1,000 years, not -1 day, 0:00:00"),
    (new(at=NAIVE), "at must be an aware datetime; 2040-01-01T00:00:00 has no time zone"),
    (new(at=AWARE, delay=0), "give at or delay, not both"),
    (new(id=KILOBYTE), "id must be 1 to 200 bytes long, not 1024"),
    (new(id=""), "id must be 1 to 200 bytes long, not 0"),
    (new(payload=object()), "the payload is not JSON: Type is not JSON serializable: object"),
    (lambda queue: queue.enqueue(1, group=""), "group must be 1 to 200 bytes long, not 0"),
    (lambda queue: queue.enqueue(1, on_conflict="ignore"), "on_conflict must be keep, replace or raise, not 'ignore'"),
    (lambda queue: queue.enqueue_many([{"payload": 1}]), "enqueue_many takes NewJobs, not {'payload': 1}"),
    # one job
    (lambda queue: queue.reschedule("x"), "give at or delay"),
    (lambda queue: queue.reschedule("x", at=AWARE, delay=5), "give at or delay, not both"),
    (
        lambda queue: queue.reschedule("x", at=NAIVE),
        "at must be an aware datetime; 2040-01-01T00:00:00 has no time zone",
    ),
    (lambda queue: queue.reschedule("x", delay=-1), "delay must be between 0 and 1,000 years, not -1"),
    (lambda queue: queue.reschedule("", delay=1), "id must be 1 to 200 bytes long, not 0"),
    (lambda queue: queue.requeue(KILOBYTE), "id must be 1 to 200 bytes long, not 1024"),
    (lambda queue: queue.cancel(5), "id must be a string, not 5"),
    (lambda queue: queue.get(""), "id must be 1 to 200 bytes long, not 0"),
    (lambda queue: queue.result(KILOBYTE), "id must be 1 to 200 bytes long, not 1024"),
    (lambda queue: queue.result("x", timeout=-1), "timeout must be between 0 and 1,000 years, not -1"),
    (lambda queue: queue.result("x", timeout="5"), "timeout must be a timedelta or seconds, not '5'"),
    (lambda queue: queue.missing(["x", ""]), "id must be 1 to 200 bytes long, not 0"),
    # many jobs
    (lambda queue: queue.jobs("waiting"), "state must be one of scheduled, leased, done, dead, not 'waiting'"),
    (lambda queue: queue.jobs(JobState.DEAD, limit=0), "limit must be from 1 to 1,000, not 0"),
    (lambda queue: queue.purge(JobState.LEASED), "state must be one of scheduled, done, dead, not "),
    (lambda queue: queue.purge("all"), "state must be one of scheduled, done, dead, not 'all'"),
    (lambda queue: queue.purge("dead", older_than=-1), "older_than must be between 0 and 1,000 years, not -1"),
    (lambda queue: queue.purge("dead", older_than="1d"), "older_than must be a timedelta or seconds, not '1d'"),
    # schedules
    (recur(name=""), "the name of a schedule must be 1 to 200 bytes long, not 0"),
    (recur(name="x" * 161), "the name of a schedule must be at most 160 bytes long"),
    (recur(name="a\nb"), r"the name of a schedule holds a control character: 'a\\nb'"),
    (recur(schedule="0 9 * * *"), r"a schedule comes from cron\(...\) or every\(...\), not '0 9 \* \* \*'"),
    (recur(schedule=None), r"a schedule comes from cron\(...\) or every\(...\), not None"),
    (recur(misfire="twice"), "misfire must be one of skip, once, all, not 'twice'"),
    (recur(after=NAIVE), "after must be an aware datetime; 2040-01-01T00:00:00 has no time zone"),
    (recur(after=5), "after must be an aware datetime, not 5"),
    (recur(task="a\tb"), r"name holds a control character: 'a\\tb'"),
    (recur(group=""), "group must be 1 to 200 bytes long, not 0"),
    (recur(priority=9), "priority must be a Priority, not 9"),
    (recur(retry=3), "retry must be a Retry, not 3"),
    (recur(timeout=0), "timeout must be longer than 0"),
    (recur(payload={1, 2}), "the payload is not JSON: Type is not JSON serializable: set"),
    (lambda queue: queue.unrecur(""), "the name of a schedule must be 1 to 200 bytes long, not 0"),
    # limits
    (limit(group=""), "group must be 1 to 200 bytes long, not 0"),
    (limit(group=5), "group must be a string, not 5"),
    (limit(rate=0), "rate must be a number above 0 and at most a million, or None, not 0"),
    (limit(rate=-1), "rate must be a number above 0 and at most a million, or None, not -1"),
    (limit(rate="5"), "rate must be a number above 0 and at most a million, or None, not '5'"),
    (limit(rate=True), "rate must be a number above 0 and at most a million, or None, not True"),
    (limit(rate=float("nan")), "rate must be a number above 0 and at most a million, or None, not nan"),
    (limit(rate=1, per=0), "rate must be between one a year and a million a second, not 1 in 0"),
    (limit(rate=1, per=-1), "per must be between 0 and 1,000 years, not -1"),
    (limit(rate=1, per="minute"), "per must be a timedelta or seconds, not 'minute'"),
    (limit(rate=1, burst=0), "burst must be a whole number of at least 1, not 0"),
    (limit(rate=1, burst=1.5), "burst must be a whole number of at least 1, not 1.5"),
    (limit(concurrency=0), "concurrency must be a whole number of at least 1, or None, not 0"),
    (limit(concurrency=True), "concurrency must be a whole number of at least 1, or None, not True"),
    (limit(concurrency="2"), "concurrency must be a whole number of at least 1, or None, not '2'"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _call, message in REFUSED])
async def test_a_bad_argument(queue: Queue, call: Call, message: str) -> None:
    """`InvalidJob` says which argument and what is wrong with it, and nothing of the call is on the server."""
    with pytest.raises(InvalidJob, match=f"^{message}"):
        await call(queue)
    link = queue.link(queue.shards[0])
    try:
        assert set(await read_keys(link, queue.shards[0].keys)) <= {"meta"}
    finally:
        await link.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.enqueue(1, pirority=1),
        lambda queue: queue.enqueue_many([NewJob(1, pirority=1)]),  # type: ignore[call-arg]
        lambda queue: queue.reschedule("x", pirority=1),
        lambda queue: queue.result("x", pirority=1),
        lambda queue: queue.jobs(JobState.DEAD, pirority=1),
        lambda queue: queue.purge(JobState.DEAD, pirority=1),
        recur(pirority=1),
        limit(pirority=1),
        lambda queue: queue.task(pirority=1)(print),
        lambda queue: Queue("q", pirority=1),  # type: ignore[call-arg]
        lambda queue: Worker(queue, print, pirority=1),  # type: ignore[call-arg]
    ],
)
async def test_an_unknown_option(queue: Queue, call: Call) -> None:
    """A misspelt option is a `TypeError` with its name, wherever there are options."""
    with pytest.raises(TypeError, match="'pirority'"):  # noqa: PT012
        called = call(queue)
        if inspect.isawaitable(called):
            await called
    assert not queue._loops, "it has not even connected"


MADE_BADLY: list[tuple[Callable[[], Any], str]] = [
    (lambda: Queue("q", shards=0), "shards must be from 1 to 1,000, not 0"),
    (lambda: Queue("q", shards=1001), "shards must be from 1 to 1,000, not 1001"),
    (lambda: Queue("q", shards=True), "shards must be a whole number of at least 0, not True"),
    (lambda: Queue("q", replicas=-1), "replicas must be a whole number of at least 0, not -1"),
    (lambda: Queue("q", keep_done=-1), "keep_done must be between 0 and 1,000 years, not -1"),
    (lambda: Queue("q", keep_max=1.5), "keep_max must be a whole number of at least 0, not 1.5"),  # type: ignore[arg-type]
    (lambda: Queue("q", eviction="allow"), "eviction must be refuse or warn, not 'allow'"),  # type: ignore[arg-type]
    (lambda: Queue("q").bind("localhost"), "a queue's URL starts with one of"),
    (lambda: Queue("q", "redis://one").bind("redis://two"), "queue 'q' is bound to redis://one already"),
    (lambda: Worker(Queue("q"), print, concurrency=0), "concurrency must be a whole number of at least 1, not 0"),
    (lambda: Worker(Queue("q"), print, concurrency=2.5), "concurrency must be a whole number of at least 1, not 2.5"),  # type: ignore[arg-type]
    (lambda: Worker(Queue("q"), print, max_deliveries=0), "max_deliveries must be a whole number of at least 1, not 0"),
    (lambda: Worker(Queue("q"), print, lease=0.05), "a lease must be at least 0.1 s long, not 0.05"),
    (lambda: Worker(Queue("q"), print, lease="10s"), "lease must be a timedelta or seconds, not '10s'"),  # type: ignore[arg-type]
    (lambda: Worker(Queue("q"), print, drain=-1), "drain must be between 0 and 1,000 years, not -1"),
    (lambda: Worker(Queue("q"), "send"), "a handler must be callable, not 'send'"),  # type: ignore[arg-type]
    (lambda: Worker(Queue("q"), {"send": None}), "a handler must be callable, not None"),  # type: ignore[dict-item]
    (lambda: Worker(Queue("q"), print, middleware=[None]), "a middleware must be callable, not None"),  # type: ignore[list-item]
    (lambda: Worker(Queue("q"), print, lifespan=5), "lifespan must be callable, not 5"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "message"), MADE_BADLY, ids=[message for _make, message in MADE_BADLY])
def test_what_cannot_be_made(make: Callable[[], Any], message: str) -> None:
    """A queue or a worker that cannot work is refused where it is written, with the argument and what is wrong."""
    with pytest.raises(InvalidJob, match=f"^{message}"):
        make()


async def test_a_limit_on_a_sharded_queue(queue: Queue) -> None:
    """Limits are for queues of one shard, and the error says so."""
    with pytest.raises(InvalidJob, match=r"^limits are for queues of one shard; 'wide' has 2$"):
        await Queue("wide", shards=2).set_limit("g", rate=1)


async def test_a_worker_without_anything_to_do(queue: Queue) -> None:
    """A worker of a queue without tasks needs a handler, and says so when it runs."""
    with pytest.raises(
        InvalidJob, match=f"^the worker of queue '{queue.name}' has no handler, and the queue no tasks$"
    ):
        await Worker(queue).run(burst=True)
