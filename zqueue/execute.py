"""One run of one job: call the handler and turn what comes of it into a verdict."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final, NamedTuple

from zqueue.clock import duration_us
from zqueue.commands import Verb
from zqueue.envelope import dump_json
from zqueue.errors import Bury, InvalidJob, RetryLater, Snooze
from zqueue.handler import Handler, Middleware
from zqueue.job import CURRENT, Job
from zqueue.retry import Retry

_LOG: Final = logging.getLogger("zqueue")

_LONGEST_ERROR: Final = 2000


class Verdict(NamedTuple):
    """How a run ended, before it is settled.

    Attributes:
        time_us: The delay of a retry, a snooze or a release; how long an acked job is kept.
        text: What went wrong, of a retry and a bury; the result as JSON, of the ack of a job that is kept.
    """

    verb: Verb
    time_us: int = 0
    text: str | bytes = ""


async def execute(
    job: Job[Any],
    handler: Handler,
    retry: Retry,
    executor: Executor | None,
    started: Callable[[asyncio.Future[Any]], None],
    *,
    middleware: Sequence[Middleware] = (),
    max_result: int,
) -> Verdict:
    """Run *handler* on *job*; never raises but CancelledError (and what is not an Exception).

    Args:
        retry: Says what follows a failure.
        executor: Runs the handler in a thread; None for one that `is_async`.
        started: Gets that thread's future: a thread cannot be killed, and may outlive this call.
        middleware: Wraps the handler, the first one outermost.
        max_result: Bytes of a kept result at most.
    """

    async def call(job: Job[Any]) -> Any:
        CURRENT.set(job)
        if executor is None:
            return await handler(job)
        context = contextvars.copy_context()
        thread = asyncio.get_running_loop().run_in_executor(executor, context.run, _call, handler, job)
        started(thread)
        result = await asyncio.shield(thread)
        return await result if inspect.isawaitable(result) else result  # a plain function called an asynchronous one

    CURRENT.set(job)
    run = _within(middleware, job, call) if middleware else call(job)
    limit, timer = job.timeout, None
    try:
        if limit is None:
            result = await run
        else:
            async with asyncio.timeout(limit.total_seconds()) as timer:
                result = await run
        return _done(job, result, max_result)
    except TimeoutError as error:
        if limit is None or timer is None or not timer.expired():
            return failed(job, retry, error)
        return failed(job, retry, TimeoutError(f"the handler ran for more than {limit.total_seconds():g} s"))
    except Exception as error:  # whatever a handler raises ends its run, and the worker lives
        try:
            return _said(job, retry, error)
        except InvalidJob as invalid:  # it asked for a delay that is none
            return failed(job, retry, invalid)


async def _within(middleware: Sequence[Middleware], job: Job[Any], call: Callable[[Job[Any]], Awaitable[Any]]) -> Any:
    """Make *call* inside *middleware*, each of which may hand another job on, or none."""
    if not middleware:
        return await call(job)

    async def inner(handed_on: Job[Any] = job) -> Any:
        return await _within(middleware[1:], handed_on, call)

    return await middleware[0](job, inner)


def _done(job: Job[Any], result: Any, max_result: int) -> Verdict:
    """The ack, with the result if somebody may ask for it; else nobody cares what it is."""
    if not job.keep_done:
        return Verdict("ack")
    encoded = dump_json("the result", result)
    if len(encoded) > max_result:
        raise InvalidJob(f"the result of {len(encoded):,} bytes is over the limit of {max_result:,}")
    return Verdict("ack", duration_us("keep_done", job.keep_done), encoded)


def _call(handler: Handler, job: Job[Any]) -> Any:
    """Call a sync handler. A future cannot carry StopIteration: the run would never end."""
    try:
        return handler(job)
    except StopIteration as error:
        raise RuntimeError("the handler raised StopIteration") from error


def _said(job: Job[Any], retry: Retry, error: Exception) -> Verdict:
    """What a handler wants by raising."""
    if isinstance(error, Snooze):
        return Verdict("snooze", duration_us("a Snooze", error.delay))
    if isinstance(error, Bury):
        words = _shorten(str(error) or "buried by its handler")
        _LOG.warning("job %s buried itself: %s", job.id, words)
        return Verdict("bury", 0, words)
    if isinstance(error, RetryLater):
        return failed(job, retry, error, duration_us("a RetryLater", error.delay))
    return failed(job, retry, error)


def failed(job: Job[Any], retry: Retry, error: BaseException, delay_us: int | None = None) -> Verdict:
    """What follows a failed attempt: another one after a delay, or the end."""
    words = str(error) if isinstance(error, RetryLater) else "".join(traceback.format_exception_only(error)).strip()
    words = _shorten(words)
    planned = retry.next_delay(job.attempt)
    if planned is None:
        _LOG.error("job %s failed its last attempt (%d): %s", job.id, job.attempt, words, exc_info=error)
        return Verdict("bury", 0, words)
    if delay_us is None:
        delay_us = duration_us("the delay", planned)
    _LOG.warning("job %s failed attempt %d, again in %.1f s: %s", job.id, job.attempt, delay_us / 1e6, words)
    _LOG.debug("job %s", job.id, exc_info=error)
    return Verdict("retry", delay_us, words)


def _shorten(error: str) -> str:
    error = error.encode("utf-8", "backslashreplace").decode()  # a lone surrogate could neither be sent nor logged
    return error if len(error) <= _LONGEST_ERROR else error[: _LONGEST_ERROR - 1] + "…"
