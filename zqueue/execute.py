"""One run of one job: call the handler and turn what comes of it into a verdict."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, Final, NamedTuple

from zqueue.clock import duration_us
from zqueue.commands import Verb
from zqueue.errors import Bury, InvalidJob, RetryLater, Snooze
from zqueue.job import Job
from zqueue.retry import Retry

_LOG: Final = logging.getLogger("zqueue")

Handler = Callable[[Job], Awaitable[Any] | Any]
"""Takes a job. A coroutine function runs in the event loop, any other in a thread; what that returns is awaited if it
can be."""

_LONGEST_ERROR: Final = 2000


class Verdict(NamedTuple):
    """How a run ended, before it is settled."""

    verb: Verb
    delay_us: int = 0
    error: str = ""


def is_async(handler: Handler) -> bool:
    """Whether a handler runs in the event loop: a coroutine function, or an object whose call is one."""
    call = getattr(type(handler), "__call__", None)  # noqa: B004  # what kind of function it is, not whether
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)


async def execute(
    job: Job, handler: Handler, retry: Retry, executor: Executor | None, started: Callable[[asyncio.Future[Any]], None]
) -> Verdict:
    """Run *handler* on *job*; never raises but CancelledError (and what is not an Exception).

    Args:
        retry: Says what follows a failure.
        executor: Runs the handler in a thread; None for one that `is_async`.
        started: Gets that thread's future: a thread cannot be killed, and may outlive this call.
    """
    limit = None if job.timeout is None else job.timeout.total_seconds()
    try:
        async with asyncio.timeout(limit) as timer:
            if executor is None:
                await handler(job)
            else:
                context = contextvars.copy_context()
                thread = asyncio.get_running_loop().run_in_executor(executor, context.run, _call, handler, job)
                started(thread)
                result = await asyncio.shield(thread)
                if inspect.isawaitable(result):  # a plain function that called an asynchronous one
                    await result
    except TimeoutError as error:
        if not timer.expired():
            return failed(job, retry, error)
        return failed(job, retry, TimeoutError(f"the handler ran for more than {limit:g} s"))
    except Exception as error:  # whatever a handler raises ends its run, and the worker lives
        try:
            return _said(job, retry, error)
        except InvalidJob as invalid:  # it asked for a delay that is none
            return failed(job, retry, invalid)
    return Verdict("ack")


def _call(handler: Handler, job: Job) -> Any:
    """Call a sync handler. A future cannot carry StopIteration: the run would never end."""
    try:
        return handler(job)
    except StopIteration as error:
        raise RuntimeError("the handler raised StopIteration") from error


def _said(job: Job, retry: Retry, error: Exception) -> Verdict:
    """What a handler wants by raising."""
    if isinstance(error, Snooze):
        return Verdict("snooze", duration_us("a Snooze", error.delay))
    if isinstance(error, Bury):
        _LOG.warning("job %s buried itself: %s", job.id, error)
        return Verdict("bury", 0, _shorten(str(error) or "buried by its handler"))
    if isinstance(error, RetryLater):
        return failed(job, retry, error, duration_us("a RetryLater", error.delay))
    return failed(job, retry, error)


def failed(job: Job, retry: Retry, error: BaseException, delay_us: int | None = None) -> Verdict:
    """What follows a failed attempt: another one after a delay, or the end."""
    words = str(error) if isinstance(error, RetryLater) else "".join(traceback.format_exception_only(error)).strip()
    planned = retry.next_delay(job.attempt)
    if planned is None:
        _LOG.error("job %s failed its last attempt (%d): %s", job.id, job.attempt, words, exc_info=error)
        return Verdict("bury", 0, _shorten(words))
    if delay_us is None:
        delay_us = duration_us("the delay", planned)
    _LOG.warning("job %s failed attempt %d, again in %.1f s: %s", job.id, job.attempt, delay_us / 1e6, words)
    _LOG.debug("job %s", job.id, exc_info=error)
    return Verdict("retry", delay_us, _shorten(words))


def _shorten(error: str) -> str:
    error = error.encode("utf-8", "backslashreplace").decode()  # a lone surrogate could not be sent
    return error if len(error) <= _LONGEST_ERROR else error[: _LONGEST_ERROR - 1] + "…"
