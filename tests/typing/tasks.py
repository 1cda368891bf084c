"""What a type checker says of tasks. This file is checked (`make types`) and never run.

A wrong call carries the error that the checker finds in it; were it accepted, the unused comment would fail the check.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, assert_type

import zqueue
from zqueue.blocking import Queue as BlockingQueue
from zqueue.blocking import run
from zqueue.tasks import Task

queue = zqueue.Queue("typed")
blocking = BlockingQueue("typed")
daily = zqueue.cron("0 9 * * *", tz="Europe/Berlin")


@queue.task
async def send(to: str, subject: str = "none", *, copies: int = 1) -> str:
    """An asynchronous task, without options."""
    return f"{to} {subject} {copies}"


@queue.task(name="sum", retry=zqueue.Retry(3), timeout=30, priority=zqueue.Priority.LOW, group="sums")
def add(first: int, second: int) -> int:
    """A plain function, with every option."""
    return first + second


async def greet(to: str) -> str:
    """What becomes a task below."""
    return to


@queue.task(timeout=timedelta(seconds=1))
async def nothing() -> None:
    """A task without a parameter and without a result."""


async def right() -> None:
    """Calls as their functions have them, and what comes back."""
    job = await send.enqueue("a@example.com", subject="hi", copies=2)
    assert_type(job, zqueue.Job[str])
    assert_type(await job.result(timeout=5), str)
    assert_type(await (await add.enqueue(1, second=2)).result(), int)
    assert_type(await nothing.enqueue(), zqueue.Job[None])

    variant = send.options(id="x", at=datetime.now().astimezone(), priority=zqueue.Priority.HIGH, group="g")
    assert_type(await variant.enqueue("a@example.com"), zqueue.Job[str])
    variant = variant.options(delay=60, retry=zqueue.Retry(1), timeout=5, on_conflict="replace", keep_done=3600)
    assert_type(variant.new("a@example.com"), zqueue.NewJob)
    assert_type(await queue.enqueue_many([variant.new("a"), add.new(1, 2)]), list[zqueue.Job[Any]])

    assert_type(await send.recur("hello", daily, "a@example.com", subject="good morning"), datetime)
    assert_type(await send.options(misfire="skip").recur("hello", daily, "a@example.com"), datetime)
    assert_type(zqueue.current_job(), zqueue.Job[Any])

    async def pass_on(task: Task[[str], str]) -> None:
        await task.enqueue("a@example.com")

    await pass_on(queue.task(name="greet")(greet))


def right_without_a_loop() -> None:
    """The same from code that has no event loop."""
    assert_type(send.blocking.enqueue("a@example.com", subject="hi"), zqueue.Job[str])
    assert_type(run(send.blocking.enqueue("a@example.com").result(timeout=5)), str)
    assert_type(add.options(delay=5).blocking.recur("sums", daily, 1, 2), datetime)
    assert_type(blocking.enqueue({"n": 1}, id="x", delay=5), zqueue.Job[Any])
    assert_type(blocking.get("x"), zqueue.JobRecord | None)
    assert_type(blocking.cancel("x"), bool)
    with blocking as entered:
        assert_type(entered, BlockingQueue)


async def wrong() -> None:
    """Calls that their functions do not take, and options that there are not."""
    await send.enqueue()  # type: ignore[call-arg]
    await send.enqueue(5)  # type: ignore[arg-type]
    await send.enqueue("a@example.com", subjekt="hi")  # type: ignore[call-arg]
    await send.enqueue("a@example.com", "hi", 2)  # type: ignore[call-arg]
    await add.enqueue(1, second="2")  # type: ignore[arg-type]
    await nothing.enqueue(1)  # type: ignore[call-arg]
    add.new(1)  # type: ignore[call-arg]
    add.blocking.enqueue(1, 2, 3)  # type: ignore[call-arg]
    await add.recur("sums", daily)  # type: ignore[call-arg]
    await add.recur("sums", "0 9 * * *", 1, 2)  # type: ignore[arg-type]
    send("a@example.com", copies="2")  # type: ignore[arg-type]

    send.options(retries=3)  # type: ignore[call-arg]
    send.options(name="x")  # type: ignore[call-arg]
    send.options(delay="soon")  # type: ignore[arg-type]
    await send.options(on_conflict="ignore").enqueue("a")  # type: ignore[arg-type]
    queue.task(retries=3)(add)  # type: ignore[call-overload]

    wrong_result: zqueue.Job[int] = await send.enqueue("a")  # type: ignore[assignment]
    blocking.enqueue({"n": 1}, dely=5)  # type: ignore[call-arg]
    blocking.cancel(5)  # type: ignore[arg-type]
    BlockingQueue(5)  # type: ignore[arg-type]
    BlockingQueue("typed", shard=2)  # type: ignore[call-arg]
    del wrong_result

    async def pass_on(task: Task[[int], str]) -> None:
        await task.enqueue(1)

    await pass_on(queue.task(name="greet")(greet))  # type: ignore[arg-type]
