"""Typed tasks on a server: from the call that is enqueued to the call that runs, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zqueue
import zqueue.blocking
from tests.asking import until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue.embedded import Server
from zqueue.testing import FakeClock, run_until_idle

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue under test."""
    return FakeClock()


@pytest.fixture
async def timed(valkey: Server, clock: FakeClock) -> AsyncIterator[zqueue.Queue]:
    """A queue whose time the test moves, and whose failed jobs run again after 10 s, three times in all."""
    retry = zqueue.Retry(attempts=3, backoff=zqueue.fixed(10))
    async with zqueue.Queue(unique_name(), valkey.url, retry=retry, clock=clock) as fresh:
        yield fresh


@pytest.fixture
async def keeping(any_server: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue on each kind of server that keeps results."""
    async with zqueue.Queue(unique_name(), any_server.url, keep_done=HOUR) as fresh:
        yield fresh


async def test_a_call_runs_elsewhere_and_its_result_comes_back(keeping: zqueue.Queue) -> None:
    """Coroutine functions in the loop and plain ones in threads, from one worker that was told of no handler."""
    where: list[tuple[str, bool]] = []

    @keeping.task
    async def greet(name: str, *, punctuation: str = ".") -> str:
        where.append(("greet", threading.current_thread() is threading.main_thread()))
        return f"hello {name}{punctuation}"

    @keeping.task(name="sum")
    def add(*numbers: int) -> int:
        where.append(("add", threading.current_thread() is threading.main_thread()))
        return sum(numbers)

    greeting = await greet.enqueue("world", punctuation="!")
    total = await add.enqueue(1, 2, 3)
    async with working(zqueue.Worker(keeping)):
        assert await greeting.result(timeout=10) == "hello world!"
        assert await total.result(timeout=10) == 6
    assert sorted(where) == [("add", False), ("greet", True)]
    record = await keeping.get(total.id)
    assert record is not None
    assert (record.name, record.payload, record.result) == ("sum", {"args": [1, 2, 3], "kwargs": {}}, 6)


async def test_many_calls_at_once(timed: zqueue.Queue) -> None:
    """Calls of several tasks go into one `enqueue_many` and run in order, each with its own arguments."""
    ran: list[Any] = []

    @timed.task(name="one")
    async def one(value: int) -> None:
        ran.append(value)

    @timed.task(name="two")
    async def two(value: str) -> None:
        ran.append(value)

    await timed.enqueue_many([one.new(1), two.new("2"), one.new(3)])
    assert await run_until_idle(zqueue.Worker(timed, concurrency=1)) == 3
    assert ran == [1, "2", 3]


async def test_options_reach_the_job(timed: zqueue.Queue, clock: FakeClock) -> None:
    """What a task and its options say of a job is what is stored of it."""

    @timed.task(name="send", priority=zqueue.Priority.LOW, group="g", timeout=5)
    async def send(to: str) -> None:
        """Send it."""

    at = clock.now() + HOUR
    options = {"id": "x", "at": at, "group": "h", "retry": zqueue.Retry(2), "timeout": 7, "keep_done": 60}
    await send.options(**options).enqueue("a")  # type: ignore[arg-type]
    await send.options(id="y", delay=60, priority=zqueue.Priority.HIGH).enqueue("b")

    now_us = clock.now_us()
    common: dict[str, Any] = {"name": "send", "state": zqueue.JobState.SCHEDULED}
    first = zqueue.JobRecord(
        "x",
        {"args": ["a"], "kwargs": {}},
        group="h",
        priority=zqueue.Priority.LOW,
        due_us=now_us + 3_600_000_000,
        score_us=now_us + 3_600_000_000,
        retry=zqueue.Retry(2),
        timeout=timedelta(seconds=7),
        keep_done=timedelta(seconds=60),
        **common,
    )
    second = zqueue.JobRecord(
        "y",
        {"args": ["b"], "kwargs": {}},
        group="g",
        priority=zqueue.Priority.HIGH,
        due_us=now_us + 60_000_000,
        score_us=now_us + 60_000_000,
        **common,
    )
    assert [await timed.get("x"), await timed.get("y")] == [first, second]


async def test_an_id_that_is_taken(timed: zqueue.Queue) -> None:
    """A task's jobs are kept, replaced or refused under a taken id as the options say: the last call wins, or not."""

    @timed.task(name="save")
    async def save(version: int) -> None:
        saved.append(version)

    saved: list[int] = []
    debounced = save.options(id="draft", delay=10, on_conflict="replace")
    assert [(await debounced.enqueue(version)).created for version in (1, 2, 3)] == [True, True, True]
    assert (await save.options(id="draft").enqueue(4)).created is False
    with pytest.raises(zqueue.DuplicateJob, match="draft"):
        await save.options(id="draft", on_conflict="raise").enqueue(5)
    clock = timed._clock
    assert isinstance(clock, FakeClock)
    await run_until_idle(zqueue.Worker(timed), clock)
    assert saved == [3]


@pytest.mark.parametrize(
    ("task_retry", "job_retry", "runs"),
    [(None, None, 3), (zqueue.Retry(2), None, 2), (zqueue.Retry(2), zqueue.Retry(1), 1)],
)
async def test_whose_retry_counts(
    timed: zqueue.Queue, clock: FakeClock, task_retry: zqueue.Retry | None, job_retry: zqueue.Retry | None, runs: int
) -> None:
    """The job's goes before the task's, and that before the queue's."""

    @timed.task(name="fail", retry=task_retry)
    async def fail() -> None:
        raise ValueError("no")

    await fail.options(id="x", retry=job_retry).enqueue()
    assert await run_until_idle(zqueue.Worker(timed), clock) == runs
    record = await timed.get("x")
    assert record is not None
    assert (record.state, record.attempts) == (zqueue.JobState.DEAD, runs)


@pytest.mark.parametrize(("task_timeout", "job_timeout", "said"), [(0.02, None, "0.02"), (60, 0.03, "0.03")])
async def test_whose_timeout_counts(
    timed: zqueue.Queue, task_timeout: float, job_timeout: float | None, said: str
) -> None:
    """The job's goes before the task's."""

    @timed.task(name="hang", retry=zqueue.Retry(1), timeout=task_timeout)
    async def hang() -> None:
        await asyncio.Event().wait()

    await hang.options(id="x", timeout=job_timeout).enqueue()
    await zqueue.Worker(timed).run(burst=True)
    record = await timed.get("x")
    assert record is not None
    assert record.error == f"TimeoutError: the handler ran for more than {said} s"


async def test_a_task_that_changed_its_mind(valkey: Server) -> None:
    """A worker's own retry and timeout of a task hold for the jobs that were enqueued under others."""

    async def fail() -> None:
        raise ValueError("no")

    name = unique_name()
    async with zqueue.Queue(name, valkey.url) as before, zqueue.Queue(name, valkey.url) as after:
        await before.task(name="fail", retry=zqueue.Retry(9))(fail).options(id="x").enqueue()
        after.task(name="fail", retry=zqueue.Retry(1))(fail)
        await zqueue.Worker(after).run(burst=True)
        record = await after.get("x")
    assert record is not None
    assert (record.state, record.attempts) == (zqueue.JobState.DEAD, 1)


async def test_a_recurring_call(timed: zqueue.Queue, clock: FakeClock) -> None:
    """A task's schedule makes a job for each slot, with the same arguments; its options hold for all of them."""
    ran: list[tuple[str, int, str | None, datetime | None]] = []

    @timed.task(name="report", group="reports")
    async def report(what: str, *, pages: int) -> None:
        job = zqueue.current_job()
        ran.append((what, pages, job.group, job.due_at))

    every = zqueue.every(timedelta(minutes=10))
    first = await report.options(misfire="skip").recur("ten", every, "sales", pages=2)
    (recurring,) = await timed.recurring()
    assert (recurring.name, recurring.schedule, recurring.next_at) == ("ten", every, first)
    assert (recurring.task, recurring.payload) == ("report", {"args": ["sales"], "kwargs": {"pages": 2}})
    assert (recurring.misfire, recurring.group) == ("skip", "reports")

    assert await run_until_idle(zqueue.Worker(timed), clock, limit=timedelta(minutes=30)) == 3
    slots = [first + n * timedelta(minutes=10) for n in range(3)]
    assert ran == [("sales", 2, "reports", slot) for slot in slots]


@pytest.mark.parametrize("option", [{"at": datetime(2030, 1, 1, tzinfo=UTC)}, {"id": "x"}, {"on_conflict": "keep"}])
async def test_options_that_a_schedule_does_not_take(timed: zqueue.Queue, option: Any) -> None:
    """What makes no sense for a schedule is refused by name; and the other way round."""

    @timed.task(name="report")
    async def report() -> None:
        """Report."""

    with pytest.raises(TypeError, match=next(iter(option))):
        await report.options(**option).recur("daily", zqueue.every(HOUR))
    with pytest.raises(TypeError, match="misfire"):
        await report.options(misfire="all").enqueue()
    assert await timed.recurring() == []


async def test_a_payload_that_does_not_fit_its_task(timed: zqueue.Queue) -> None:
    """A job that its task cannot be called with is dead at once, with the reason, and its neighbours run."""
    ran: list[int] = []

    @timed.task(name="one")
    async def one(value: int) -> None:
        ran.append(value)

    await timed.enqueue({"value": 1}, name="one", id="no call")
    await timed.enqueue({"args": [1, 2], "kwargs": {}}, name="one", id="too many")
    await one.enqueue(3)
    await zqueue.Worker(timed).run(burst=True)

    dead = {job.id: (job.state, job.attempts, job.error) for job in await timed.jobs(zqueue.JobState.DEAD)}
    words = "task 'one' does not take the payload: "
    assert dead == {
        "no call": (zqueue.JobState.DEAD, 1, f"{words}KeyError: 'args'"),
        "too many": (zqueue.JobState.DEAD, 1, f"{words}TypeError: too many positional arguments"),
    }
    assert ran == [3]


async def test_an_older_worker_leaves_a_newer_task_to_a_newer_worker(valkey: Server, clock: FakeClock) -> None:
    """During a deployment a worker that does not have the task yet gives its job back; one that has it runs it."""
    ran: list[str] = []

    async def new(value: str) -> None:
        ran.append(value)

    async def old() -> None:
        """An old task."""

    name = unique_name()
    async with (
        zqueue.Queue(name, valkey.url, clock=clock) as older,
        zqueue.Queue(name, valkey.url, clock=clock) as newer,
    ):
        older.task(name="old")(old)
        await newer.task(name="new")(new).options(id="x").enqueue("a")
        await zqueue.Worker(older).run(burst=True)
        record = await newer.get("x")
        assert record is not None
        assert (record.state, record.attempts, record.deliveries) == (zqueue.JobState.SCHEDULED, 0, 0)
        assert await run_until_idle(zqueue.Worker(newer), clock) == 1
    assert ran == ["a"]


async def test_a_task_knows_its_job(keeping: zqueue.Queue) -> None:
    """In a task, `current_job` has the state that the worker's lifespan yielded, and shows progress."""
    told: list[Any] = []
    shown = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(worker: zqueue.Worker) -> AsyncIterator[str]:
        yield "the database"

    @keeping.task(name="work")
    async def work() -> str:
        job = zqueue.current_job()
        await job.progress({"done": 1, "of": 2})
        await asyncio.wait_for(shown.wait(), 10)
        return f"{job.state}, attempt {job.attempt}"

    async def watch(job_id: str) -> None:
        async def progressed() -> bool:
            record = await keeping.get(job_id)
            told.append(None if record is None else record.progress)
            return told[-1] is not None

        await until(progressed)
        shown.set()

    job = await work.enqueue()
    async with working(zqueue.Worker(keeping, lifespan=lifespan)):
        await watch(job.id)
        assert await job.result(timeout=10) == "the database, attempt 1"
    assert told[-1] == {"done": 1, "of": 2}


async def test_middleware_sees_a_task_and_its_result(keeping: zqueue.Queue) -> None:
    """Middleware wraps typed tasks as it wraps handlers: it may change the arguments and the result."""

    @keeping.task(name="double")
    def double(value: int) -> int:
        return 2 * value

    async def plus_one(job: zqueue.Job[Any], call: Any) -> Any:
        (value,) = job.payload["args"]
        return -await call(dataclasses.replace(job, payload={"args": [value + 1], "kwargs": {}}))

    job = await double.enqueue(20)
    await zqueue.Worker(keeping, middleware=[plus_one]).run(burst=True)
    assert await job.result(timeout=10) == -42


async def test_enqueueing_without_an_event_loop(keeping: zqueue.Queue) -> None:
    """Threads enqueue and schedule calls on the very queue whose worker runs in the event loop, and get results."""

    @keeping.task(name="double")
    async def double(value: int) -> int:
        return 2 * value

    got: list[tuple[int, int]] = []
    slots: list[datetime] = []

    def flask_view(value: int) -> None:
        job = double.blocking.enqueue(value)
        got.append((value, zqueue.blocking.run(job.result(timeout=10))))
        if value == 0:
            slots.append(double.options(misfire="all").blocking.recur("hourly", zqueue.every(HOUR), 7))

    threads = [threading.Thread(target=flask_view, args=(value,)) for value in range(8)]
    async with working(zqueue.Worker(keeping)):
        for thread in threads:
            thread.start()
        await wait_until(lambda: not any(thread.is_alive() for thread in threads))
    assert sorted(got) == [(value, 2 * value) for value in range(8)]
    assert [each.next_at for each in await keeping.recurring()] == slots
    await asyncio.to_thread(lambda: zqueue.blocking.run(keeping.close()))


async def test_blocking_inside_an_event_loop_is_refused(timed: zqueue.Queue) -> None:
    """A coroutine that would block its own loop is told to await instead, and nothing is enqueued."""

    @timed.task(name="double")
    async def double(value: int) -> int:
        return 2 * value

    with pytest.raises(zqueue.ZQueueError, match="await the asynchronous one"):
        double.blocking.enqueue(1)
    with pytest.raises(zqueue.ZQueueError, match="await the asynchronous one"):
        double.blocking.recur("hourly", zqueue.every(HOUR), 1)
    assert (await timed.stats()).scheduled == 0


async def test_a_task_in_a_mapping_is_called_with_its_arguments(queue: zqueue.Queue) -> None:
    """A worker may be given tasks by other names than their own: they keep their options."""

    @queue.task(name="double", retry=zqueue.Retry(attempts=1))
    async def double(number: int) -> int:
        raise ValueError(number)

    await queue.enqueue({"args": [4], "kwargs": {}}, name="twice", id="j")
    assert await zqueue.Worker(queue, {"twice": double}).tick() == 1
    dead = await queue.get("j")
    assert dead is not None
    assert (dead.state, dead.error) == (zqueue.JobState.DEAD, "ValueError: 4")


async def test_a_recurring_task_keeps_its_results(queue: zqueue.Queue) -> None:
    """What its jobs return is kept as the task says."""

    @queue.task(name="double", keep_done=60)
    async def double(number: int) -> int:
        return 2 * number

    await double.recur("often", zqueue.every(0.1), 5)
    async with working(zqueue.Worker(queue)):
        await until(lambda: _has_done(queue))
    (first, *_) = await queue.jobs(zqueue.JobState.DONE)
    assert (first.name, first.result) == ("double", 10)


async def _has_done(queue: zqueue.Queue) -> bool:
    return (await queue.stats()).done > 0
