"""One run of one handler: what comes of each way in which it can end."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from zqueue.errors import Bury, RetryLater, Snooze
from zqueue.execute import Verdict, execute, failed
from zqueue.handler import Handler, is_async
from zqueue.job import Job, JobState
from zqueue.retry import Retry, fixed

RETRY = Retry(3, fixed(7))


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Two threads for sync handlers."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


def _job(**attributes: Any) -> Job[Any]:
    return Job("a", {"n": 1}, state=JobState.LEASED, **attributes)


def _raising(error: BaseException) -> Handler:
    async def handler(job: Job[Any]) -> None:
        raise error

    return handler


async def _run(handler: Handler, job: Job[Any] | None = None, retry: Retry = RETRY) -> Verdict:
    return await execute(
        job or _job(), handler, retry, None, lambda thread: pytest.fail("no thread is needed"), max_result=100
    )


async def test_a_return_is_an_ack() -> None:
    """Whatever a handler returns, its job is done; it was given the job."""
    seen: list[Job[Any]] = []

    async def handler(job: Job[Any]) -> str:
        seen.append(job)
        return "anything"

    job = _job()
    assert await _run(handler, job) == Verdict("ack")
    assert seen == [job]


@pytest.mark.parametrize(
    ("error", "attempts", "expected"),
    [
        (ValueError("no"), 0, Verdict("retry", 7_000_000, "ValueError: no")),
        (ValueError("no"), 1, Verdict("retry", 7_000_000, "ValueError: no")),
        (ValueError("no"), 2, Verdict("bury", 0, "ValueError: no")),
        (KeyError("x"), 0, Verdict("retry", 7_000_000, "KeyError: 'x'")),
        (TimeoutError("its own"), 0, Verdict("retry", 7_000_000, "TimeoutError: its own")),
        (RetryLater(timedelta(seconds=2)), 0, Verdict("retry", 2_000_000, "retry in 0:00:02")),
        (RetryLater(timedelta(0), "451: busy"), 0, Verdict("retry", 0, "451: busy")),
        (RetryLater(timedelta(seconds=2), "451"), 2, Verdict("bury", 0, "451")),
        (Snooze(timedelta(minutes=1)), 2, Verdict("snooze", 60_000_000)),
        (Bury("no such user"), 0, Verdict("bury", 0, "no such user")),
        (Bury(), 0, Verdict("bury", 0, "buried by its handler")),
    ],
)
async def test_what_raising_means(error: Exception, attempts: int, expected: Verdict) -> None:
    """A failure spends an attempt and is buried with the last; a Snooze spends none; a Bury ends it."""
    assert await _run(_raising(error), _job(attempts=attempts)) == expected


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Snooze(timedelta(seconds=-1)), "zqueue.errors.InvalidJob: a Snooze must be between 0 and 1,000 years"),
        (RetryLater("soon"), "zqueue.errors.InvalidJob: a RetryLater must be a timedelta or seconds, not 'soon'"),  # type: ignore[arg-type]
    ],
)
async def test_a_delay_that_is_none_is_a_failure(error: Exception, words: str) -> None:
    """A handler that asks for nonsense has failed: its job is retried by the plan, with the reason."""
    verdict = await _run(_raising(error))
    assert (verdict.verb, verdict.time_us) == ("retry", 7_000_000)
    assert str(verdict.text).startswith(words)


async def test_an_endless_retry_never_buries() -> None:
    """Without a number of attempts the millionth failure is retried as the first was."""
    verdict = await _run(_raising(ValueError("no")), _job(attempts=10**6), Retry(None, fixed(1)))
    assert verdict == Verdict("retry", 1_000_000, "ValueError: no")


async def test_a_timeout_spends_an_attempt() -> None:
    """A handler that runs for too long is cancelled, and told apart from one that raises TimeoutError itself."""
    cancelled = asyncio.Event()

    async def handler(job: Job[Any]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    verdict = await _run(handler, _job(timeout=timedelta(milliseconds=10)))
    assert verdict == Verdict("retry", 7_000_000, "TimeoutError: the handler ran for more than 0.01 s")
    assert cancelled.is_set()


async def test_a_cancellation_passes_through() -> None:
    """Who cancels a run decides what becomes of the job."""
    task = asyncio.create_task(_run(_raising(asyncio.CancelledError())))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_sync_handler_runs_in_a_thread(threads: ThreadPoolExecutor) -> None:
    """Away from the loop, with the context of its caller; its future is handed out."""
    colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour")
    colour.set("red")
    seen: list[tuple[bool, str]] = []
    futures: list[asyncio.Future[Any]] = []

    def handler(job: Job[Any]) -> None:
        seen.append((threading.current_thread() is threading.main_thread(), colour.get()))

    assert await execute(_job(), handler, RETRY, threads, futures.append, max_result=100) == Verdict("ack")
    assert seen == [(False, "red")]
    assert [future.done() for future in futures] == [True]


async def test_a_sync_handlers_errors(threads: ThreadPoolExecutor) -> None:
    """What a thread raises counts as what a coroutine raises, StopIteration included."""

    def handler(job: Job[Any]) -> None:
        raise errors.pop()

    errors: list[Exception] = [Snooze(timedelta(seconds=1)), StopIteration(), ValueError("no")]
    verdicts = [await execute(_job(), handler, RETRY, threads, lambda thread: None, max_result=100) for _ in range(3)]
    assert verdicts == [
        Verdict("retry", 7_000_000, "ValueError: no"),
        Verdict("retry", 7_000_000, "RuntimeError: the handler raised StopIteration"),
        Verdict("snooze", 1_000_000),
    ]


async def test_a_sync_handlers_timeout_leaves_its_thread(threads: ThreadPoolExecutor) -> None:
    """The run is over when its time is; the thread, which cannot be killed, is known by its future."""
    release = threading.Event()
    futures: list[asyncio.Future[Any]] = []
    job = _job(timeout=timedelta(milliseconds=10))
    verdict = await execute(job, lambda job: release.wait(10), RETRY, threads, futures.append, max_result=100)
    assert verdict == Verdict("retry", 7_000_000, "TimeoutError: the handler ran for more than 0.01 s")
    assert not futures[0].done()
    release.set()
    assert await futures[0] is True


async def test_what_a_sync_handler_returns_is_awaited(threads: ThreadPoolExecutor) -> None:
    """A plain function that returns a coroutine, as a lambda does, is not done before that is."""
    done: list[str] = []

    async def inner(job: Job[Any]) -> None:
        done.append(job.id)

    assert await execute(
        _job(), lambda job: inner(job), RETRY, threads, lambda thread: None, max_result=100
    ) == Verdict("ack")
    assert done == ["a"]


async def _coroutine(job: Job[Any]) -> None:
    """A coroutine function."""


def _function(job: Job[Any]) -> None:
    """A plain function."""


class _AsyncCall:
    async def __call__(self, job: Job[Any]) -> None:
        """A coroutine method."""

    async def method(self, job: Job[Any]) -> None:
        """Another."""


class _SyncCall:
    def __call__(self, job: Job[Any]) -> None:
        """A plain method."""


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (_coroutine, True),
        (functools.partial(_coroutine), True),
        (_AsyncCall(), True),
        (_AsyncCall().method, True),
        (_function, False),
        (functools.partial(_function), False),
        (_SyncCall(), False),
        (print, False),
        (lambda job: _coroutine(job), False),
    ],
)
def test_which_handlers_run_in_the_loop(handler: Callable[[Job[Any]], Any], expected: bool) -> None:
    """Coroutine functions however they are wrapped; nothing else."""
    assert is_async(handler) is expected


async def test_errors_are_kept_within_bounds() -> None:
    """A long error is cut to 2,000 characters; what UTF-8 cannot carry is written out."""
    long = await _run(_raising(Bury("x" * 5000)))
    assert long.text == "x" * 1999 + "…"
    assert (await _run(_raising(Bury("x" * 2000)))).text == "x" * 2000
    assert (await _run(_raising(Bury("a\ud800b")))).text == "a\\ud800b"


def test_failures_are_logged_where_they_matter(caplog: pytest.LogCaptureFixture) -> None:
    """A failed attempt is a warning in one line; the last one is an error with its traceback."""
    caplog.set_level(logging.INFO, "zqueue")
    try:
        raise ValueError("no")
    except ValueError as raised:
        failed(_job(attempts=0), RETRY, raised)
        failed(_job(attempts=2), RETRY, raised)
    assert [(record.levelname, record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        ("WARNING", "job a failed attempt 1, again in 7.0 s: ValueError: no", False),
        ("ERROR", "job a failed its last attempt (3): ValueError: no", True),
    ]
