"""What surrounds one run: middleware, the job that runs, and the result that is kept."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from zqueue.errors import Bury, Snooze, ZQueueError
from zqueue.execute import Verdict, execute
from zqueue.handler import Handler, Middleware, Next, is_async
from zqueue.job import Job, current_job
from zqueue.retry import Retry, fixed

RETRY = Retry(3, fixed(7))
MINUTE = timedelta(minutes=1)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """A thread for sync handlers."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def _job(**attributes: Any) -> Job[Any]:
    return Job("a", {"n": 1}, **attributes)


async def _run(
    handler: Handler, threads: ThreadPoolExecutor, job: Job[Any] | None = None, middleware: Sequence[Middleware] = ()
) -> Verdict:
    executor = None if is_async(handler) else threads
    job = job or _job()
    return await execute(job, handler, RETRY, executor, lambda thread: None, middleware=middleware, max_result=10)


async def _async(job: Job[Any]) -> Any:
    return job.payload


def _sync(job: Job[Any]) -> Any:
    return job.payload


@pytest.mark.parametrize("handler", [_async, _sync])
async def test_middleware_wraps_a_handler(handler: Handler, threads: ThreadPoolExecutor) -> None:
    """The first one outermost; each sees the job and the result of what it wraps, and may return another one."""
    said: list[str] = []

    def named(name: str) -> Middleware:
        async def middleware(job: Job[Any], call: Next) -> Any:
            said.append(f"{name} in {job.id}")
            result = await call(job)
            said.append(f"{name} out {result}")
            return f"{name} {result}"

        return middleware

    verdict = await _run(handler, threads, _job(keep_done=MINUTE), [named("o"), named("i")])
    assert said == ["o in a", "i in a", "i out {'n': 1}", "o out i {'n': 1}"]
    assert verdict == Verdict(
        "retry", 7_000_000, "zqueue.errors.InvalidJob: the result of 14 bytes is over the limit of 10"
    )


@pytest.mark.parametrize("handler", [_async, _sync])
async def test_middleware_may_hand_on_another_job(handler: Handler, threads: ThreadPoolExecutor) -> None:
    """What is inside gets the job that was handed on (decrypted, say), or the same one where none is named."""

    async def nothing_new(job: Job[Any], call: Next) -> Any:
        return await call()

    async def double(job: Job[Any], call: Next) -> Any:
        return await call(dataclasses.replace(job, payload=2 * job.payload["n"]))

    verdict = await _run(handler, threads, _job(keep_done=MINUTE), [nothing_new, double, nothing_new])
    assert verdict == Verdict("ack", 60_000_000, b"2")


async def test_middleware_may_leave_the_handler_out(threads: ThreadPoolExecutor) -> None:
    """What it returns is the result, and what it raises counts as what a handler raises."""

    async def cached(job: Job[Any], call: Next) -> Any:
        return "cached"

    async def not_now(job: Job[Any], call: Next) -> Any:
        raise Snooze(MINUTE)

    async def forgiving(job: Job[Any], call: Next) -> Any:
        try:
            return await call(job)
        except ZeroDivisionError as error:
            raise Bury("divided by zero") from error

    async def broken(job: Job[Any]) -> Any:
        return 1 / 0

    assert await _run(broken, threads, _job(keep_done=MINUTE), [cached]) == Verdict("ack", 60_000_000, b'"cached"')
    assert await _run(broken, threads, None, [not_now]) == Verdict("snooze", 60_000_000)
    assert await _run(broken, threads, None, [forgiving]) == Verdict("bury", 0, "divided by zero")


async def test_the_timeout_is_for_middleware_too(threads: ThreadPoolExecutor) -> None:
    """Middleware that hangs is cancelled with its run, and the attempt has failed."""
    cancelled = asyncio.Event()

    async def hanging(job: Job[Any], call: Next) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    verdict = await _run(_async, threads, _job(timeout=timedelta(milliseconds=10)), [hanging])
    assert verdict == Verdict("retry", 7_000_000, "TimeoutError: the handler ran for more than 0.01 s")
    assert cancelled.is_set()


def test_no_job_runs_elsewhere() -> None:
    """Code that no worker runs has no job, and is told so."""
    with pytest.raises(ZQueueError, match="no job runs here"):
        current_job()


async def test_the_job_that_runs(threads: ThreadPoolExecutor) -> None:
    """Middleware, a coroutine, what it starts, and a thread all find the job they run for: each run its own."""
    found: list[tuple[str, str]] = []

    async def middleware(job: Job[Any], call: Next) -> Any:
        found.append(("middleware", current_job().id))
        return await call()

    async def deeper(word: str) -> None:
        found.append((word, current_job().id))

    async def handler(job: Job[Any]) -> None:
        await asyncio.sleep(0)
        await deeper("call")
        await asyncio.create_task(deeper("task"))

    def thread(job: Job[Any]) -> None:
        found.append(("thread", current_job().id))

    async def run(handler: Handler, job_id: str) -> None:
        await _run(handler, threads, Job(job_id, None), [middleware])

    await asyncio.gather(asyncio.create_task(run(handler, "a")), asyncio.create_task(run(handler, "b")))
    await asyncio.create_task(run(thread, "c"))
    words = ("middleware", "call", "task")
    assert sorted(found) == sorted(
        [*((word, job) for word in words for job in "ab"), ("middleware", "c"), ("thread", "c")]
    )


@pytest.mark.parametrize(
    ("result", "text"),
    [(None, b"null"), ({"a": [1, 2]}, b'{"a":[1,2]}'), ("x" * 8, b'"xxxxxxxx"'), ((1, 2), b"[1,2]")],
)
async def test_a_result_is_kept_as_json(result: Any, text: bytes, threads: ThreadPoolExecutor) -> None:
    """What a handler of a job that is kept returns, up to the largest result, and for how long."""
    keep = _job(keep_done=timedelta(hours=1))

    async def handler(job: Job[Any]) -> Any:
        return result

    verdict = await execute(keep, handler, RETRY, None, lambda thread: None, max_result=len(text))
    assert verdict == Verdict("ack", 3_600_000_000, text)
    if len(text) > 4:
        small = await execute(keep, handler, RETRY, None, lambda thread: None, max_result=len(text) - 1)
        words = f"zqueue.errors.InvalidJob: the result of {len(text)} bytes is over the limit of {len(text) - 1}"
        assert small == Verdict("retry", 7_000_000, words)


@pytest.mark.parametrize("result", [object(), {1: 2}, float("nan"), b"x", "x" * 5000, {1, 2}])
async def test_a_result_that_nobody_keeps_may_be_anything(result: Any, threads: ThreadPoolExecutor) -> None:
    """A job that is not kept is done whatever its handler returns; one that is kept has failed, and says why."""

    async def handler(job: Job[Any]) -> Any:
        return result

    assert await _run(handler, threads) == Verdict("ack")
    kept = await _run(handler, threads, _job(keep_done=MINUTE))
    assert (kept.verb, kept.time_us) == ("retry", 7_000_000)
    assert str(kept.text).startswith("zqueue.errors.InvalidJob: the result ")
