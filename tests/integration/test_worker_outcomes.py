"""How a run ends: what a handler returns, raises and asks for, and what becomes of its job."""

from __future__ import annotations

import asyncio
import functools
from datetime import timedelta
from typing import Any

import pytest

import zqueue
from tests.conftest import unique_name
from zqueue.embedded import Server
from zqueue.testing import FakeClock

SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue under test."""
    return FakeClock()


@pytest.fixture
async def queue(valkey: Server, clock: FakeClock) -> Any:
    """A queue whose time the test moves, and whose failed jobs run again after 10 s, three times in all."""
    retry = zqueue.Retry(attempts=3, backoff=zqueue.fixed(10))
    async with zqueue.Queue(unique_name(), valkey.url, retry=retry, clock=clock) as fresh:
        yield fresh


def seen(job: zqueue.JobRecord | None) -> tuple[Any, ...]:
    """What matters about a job here: state, failed attempts, deliveries, error."""
    assert job is not None
    return job.state, job.attempts, job.deliveries, job.error


async def test_a_job_that_returns_is_gone(queue: zqueue.Queue) -> None:
    """A handler that returns acknowledges its job: nothing of it is left."""
    job = await queue.enqueue("x")

    await zqueue.Worker(queue, lambda job: None).run(burst=True)

    assert await queue.get(job.id) is None


async def test_a_handler_sees_its_job(queue: zqueue.Queue, clock: FakeClock) -> None:
    """A handler gets what was enqueued, leased, on its first attempt and its first delivery."""
    got: list[zqueue.Job] = []
    await queue.enqueue({"a": [1, None]}, id="one", name="n", delay=0, priority=zqueue.Priority.HIGH, timeout=5)

    await zqueue.Worker(queue, got.append).run(burst=True)

    now_us = clock.now_us()
    assert got == [
        zqueue.Job(
            "one",
            {"a": [1, None]},
            "n",
            state=zqueue.JobState.LEASED,
            priority=zqueue.Priority.HIGH,
            due_us=now_us,
            deliveries=1,
            retry=queue.retry,
            timeout=timedelta(seconds=5),
        )
    ]
    assert got[0].attempt == 1


async def test_a_job_that_raises_runs_again_until_its_attempts_are_spent(queue: zqueue.Queue, clock: FakeClock) -> None:
    """A job that fails runs again after the backoff with its last error, and is dead after the third attempt."""
    runs: list[tuple[int, int, str | None]] = []

    def handler(job: zqueue.Job) -> None:
        runs.append((job.attempt, job.deliveries, job.error))
        raise ValueError(f"no {job.attempt}")

    await queue.enqueue("x", id="x")
    worker = zqueue.Worker(queue, handler)
    states = []
    for _ in range(4):
        await worker.tick()
        states.append(seen(await queue.get("x")))
        clock.advance(9 * SECOND)
        assert await worker.tick() == 0
        clock.advance(SECOND)

    assert runs == [(1, 1, None), (2, 1, "ValueError: no 1"), (3, 1, "ValueError: no 2")]
    assert states == [
        (zqueue.JobState.SCHEDULED, 1, 0, "ValueError: no 1"),
        (zqueue.JobState.SCHEDULED, 2, 0, "ValueError: no 2"),
        (zqueue.JobState.DEAD, 3, 0, "ValueError: no 3"),
        (zqueue.JobState.DEAD, 3, 0, "ValueError: no 3"),
    ]


async def test_a_job_may_bring_its_own_retry(queue: zqueue.Queue) -> None:
    """The retry of a job goes before the queue's."""

    def handler(job: zqueue.Job) -> None:
        raise KeyError(job.id)

    await queue.enqueue("x", id="x", retry=zqueue.Retry(attempts=1))

    await zqueue.Worker(queue, handler).run(burst=True)

    assert seen(await queue.get("x")) == (zqueue.JobState.DEAD, 1, 0, "KeyError: 'x'")


async def _due_in_s(queue: zqueue.Queue, clock: FakeClock, job_id: str) -> float:
    job = await queue.get(job_id)
    assert job is not None
    assert job.due_us is not None
    return (job.due_us - clock.now_us()) / 1e6


@pytest.mark.parametrize(
    ("raised", "due_in_s", "attempts", "error"),
    [
        (zqueue.RetryLater(timedelta(seconds=77)), 77, 1, "retry in 0:01:17"),
        (zqueue.RetryLater(timedelta(0), "soon"), 0, 1, "soon"),
        (zqueue.Snooze(timedelta(minutes=5)), 300, 0, None),
        (zqueue.RetryLater(timedelta(seconds=-1), "odd"), 10, 1, None),
        (zqueue.Snooze(timedelta(days=400_000)), 10, 1, None),
        (zqueue.Snooze("soon"), 10, 1, None),  # type: ignore[arg-type]
        (zqueue.RetryLater(float("nan")), 10, 1, None),  # type: ignore[arg-type]
    ],
)
async def test_a_handler_says_when(
    queue: zqueue.Queue, clock: FakeClock, raised: Exception, due_in_s: float, attempts: int, error: str | None
) -> None:
    """RetryLater spends an attempt, Snooze does not; a delay that is none is a failure like any other."""

    async def handler(job: zqueue.Job) -> None:
        raise raised

    await queue.enqueue("x", id="x")

    await zqueue.Worker(queue, handler).tick()

    job = await queue.get("x")
    assert job is not None
    assert (await _due_in_s(queue, clock, "x"), job.attempts) == (due_in_s, attempts)
    if error is None and attempts:
        assert str(job.error).startswith("zqueue.errors.InvalidJob: a ")
    else:
        assert job.error == error


async def test_retry_later_on_the_last_attempt_is_the_end(queue: zqueue.Queue) -> None:
    """Attempts are a limit for RetryLater too: the last one leaves the job dead with the reason."""

    def handler(job: zqueue.Job) -> None:
        raise zqueue.RetryLater(SECOND, "still closed")

    await queue.enqueue("x", id="x", retry=zqueue.Retry(attempts=1))

    await zqueue.Worker(queue, handler).tick()

    assert seen(await queue.get("x")) == (zqueue.JobState.DEAD, 1, 0, "still closed")


async def test_bury_is_the_end(queue: zqueue.Queue) -> None:
    """Bury leaves the job dead with the reason, whatever attempts were left."""

    async def handler(job: zqueue.Job) -> None:
        raise zqueue.Bury("no such user")

    await queue.enqueue("x", id="x")

    await zqueue.Worker(queue, handler).tick()

    assert seen(await queue.get("x")) == (zqueue.JobState.DEAD, 1, 0, "no such user")


class Answer:
    """Handlers of several kinds that note what they got."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def __call__(self, job: zqueue.Job) -> None:
        """An object whose call is a coroutine function."""
        await asyncio.sleep(0)
        self.got.append(job.payload)

    def plainly(self, job: zqueue.Job) -> None:
        """A method for a thread."""
        self.got.append(job.payload)

    async def with_prefix(self, prefix: str, job: zqueue.Job) -> None:
        """A method with an argument of its own."""
        await asyncio.sleep(0)
        self.got.append(prefix + job.payload)


@pytest.mark.parametrize("kind", ["object", "method", "partial", "lambda"])
async def test_any_callable_is_a_handler(queue: zqueue.Queue, kind: str) -> None:
    """Objects, methods, partials, and plain functions that return an awaitable all run to their end."""
    answer = Answer()
    handler: Any = {
        "object": answer,
        "method": answer.plainly,
        "partial": functools.partial(answer.with_prefix, ""),
        "lambda": lambda job: answer(job),
    }[kind]
    await queue.enqueue("x")

    await zqueue.Worker(queue, handler).run(burst=True)

    assert (answer.got, (await queue.stats()).scheduled) == (["x"], 0)


class Abort(BaseException):
    """An error that `except Exception` lets through."""


def _next_of_nothing(job: zqueue.Job) -> None:
    next(iter(()))


def _surrogate(job: zqueue.Job) -> None:
    raise ValueError("file \udcff")


def _long(job: zqueue.Job) -> None:
    raise ValueError("x" * 100_000)


async def _abort(job: zqueue.Job) -> None:
    raise Abort("stop it")


async def _cancel_itself(job: zqueue.Job) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)


async def _raise_cancelled(job: zqueue.Job) -> None:
    raise asyncio.CancelledError("by hand")


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (_next_of_nothing, "RuntimeError: the handler raised StopIteration"),
        (_surrogate, r"ValueError: file \udcff"),
        (_long, f"ValueError: {'x' * 1987}…"),
        (_abort, "tests.integration.test_worker_outcomes.Abort: stop it"),
        (_cancel_itself, "asyncio.exceptions.CancelledError"),
        (_raise_cancelled, "asyncio.exceptions.CancelledError"),
    ],
)
async def test_odd_ends_are_failures(queue: zqueue.Queue, handler: Any, error: str) -> None:
    """However strangely a handler ends, its job has failed an attempt, its slot is free and the worker lives."""
    await queue.enqueue("x", id="x")
    worker = zqueue.Worker(queue, {"": handler, "next": lambda job: None}, concurrency=1)
    await worker.tick()
    await queue.enqueue("y", id="y", name="next")
    await worker.tick()

    assert seen(await queue.get("x")) == (zqueue.JobState.SCHEDULED, 1, 0, error)
    assert await queue.get("y") is None


async def test_names_choose_the_handler(queue: zqueue.Queue) -> None:
    """A mapping sends each job to the handler of its name."""
    got: list[tuple[str, Any]] = []

    async def mail(job: zqueue.Job) -> None:
        got.append(("mail", job.payload))

    def sms(job: zqueue.Job) -> None:
        got.append(("sms", job.payload))

    await queue.enqueue_many(
        [zqueue.NewJob(1, name="mail"), zqueue.NewJob(2, name="sms"), zqueue.NewJob(3, name="mail")]
    )

    await zqueue.Worker(queue, {"mail": mail, "sms": sms}).run(burst=True)

    assert sorted(got) == [("mail", 1), ("mail", 3), ("sms", 2)]


async def test_an_unknown_name_is_left_to_others(queue: zqueue.Queue, clock: FakeClock) -> None:
    """A job whose name a worker does not know costs nothing, waits 5 s, and runs on a worker that knows it."""
    got: list[zqueue.Job] = []
    await queue.enqueue("x", id="x", name="new")
    old, new = zqueue.Worker(queue, {"old": got.append}), zqueue.Worker(queue, {"new": got.append})

    for _ in range(8):  # more often than a job may be delivered
        assert await old.tick() == 1
        assert seen(await queue.get("x")) == (zqueue.JobState.SCHEDULED, 0, 0, None)
        assert await old.tick() == 0
        clock.advance(5 * SECOND)
    await new.tick()

    assert [(job.id, job.attempt, job.deliveries) for job in got] == [("x", 1, 1)]


async def test_a_burst_ends_when_nothing_is_due(queue: zqueue.Queue, clock: FakeClock) -> None:
    """A burst runs what is due, and what its jobs make due, and leaves the future alone."""
    got: list[int] = []

    async def handler(job: zqueue.Job) -> None:
        got.append(job.payload)
        if job.payload < 3:
            await queue.enqueue(job.payload + 1)

    await queue.enqueue(1)
    await queue.enqueue(99, id="later", delay=60)

    await zqueue.Worker(queue, handler, concurrency=1).run(burst=True)
    assert got == [1, 2, 3]

    clock.advance(60 * SECOND)
    await zqueue.Worker(queue, handler).run(burst=True)
    assert got == [1, 2, 3, 99]


async def test_a_burst_is_larger_than_a_worker(queue: zqueue.Queue) -> None:
    """A burst with few slots runs many jobs, each once, in the order of their ids, and uses no more slots."""
    at_work = most = 0
    got: list[int] = []

    async def handler(job: zqueue.Job) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        got.append(job.payload)
        await asyncio.sleep(0)
        at_work -= 1

    await queue.enqueue_many([zqueue.NewJob(number) for number in range(350)])

    await zqueue.Worker(queue, handler, concurrency=3).run(burst=True)

    assert (got, most) == (list(range(350)), 3)


async def test_a_tick_is_one_claim(queue: zqueue.Queue) -> None:
    """One step runs what one claim gives, to its end, and says how many that were."""
    got: list[int] = []
    await queue.enqueue_many([zqueue.NewJob(number) for number in range(5)])
    worker = zqueue.Worker(queue, lambda job: got.append(job.payload), concurrency=2)

    assert [await worker.tick() for _ in range(4)] == [2, 2, 1, 0]
    assert sorted(got) == [0, 1, 2, 3, 4]


async def test_a_dead_worker_costs_a_delivery_not_an_attempt(queue: zqueue.Queue, clock: FakeClock) -> None:
    """A job whose lease ended runs again on delivery 2, attempt 1, once the clock passes the end of the lease."""
    got: list[tuple[int, int]] = []
    await queue.enqueue("x", id="x")
    await _lose_a_claim(queue)
    worker = zqueue.Worker(queue, lambda job: got.append((job.deliveries, job.attempt)))

    clock.advance(timedelta(microseconds=9_999_999))
    assert await worker.tick() == 0
    clock.advance(timedelta(microseconds=1))
    assert await worker.tick() == 1

    assert got == [(2, 1)]


async def _lose_a_claim(queue: zqueue.Queue) -> None:
    """Claim everything for 10 s and forget about it, as a worker does that dies."""
    from zqueue.sending import ask

    link = queue.link(queue.shards[0])
    call = queue.shards[0].commands.claim(100, 10_000_000, "f" * 16, 5, solo_ok=True, worker="", kept=queue.kept)
    await ask(link, call)
    await link.close()
