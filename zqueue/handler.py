"""What takes a job: handlers, and the middleware around them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from zqueue.job import Job

Handler = Callable[[Job[Any]], Awaitable[Any] | Any]
"""Takes a job. A coroutine function runs in the event loop, any other in a thread; what that returns is awaited if it
can be. What comes of it is the job's result."""

Next = Callable[..., Awaitable[Any]]
"""`await call(job)`, or `await call()` for the same job, runs what is inside a middleware and gives its result."""

Middleware = Callable[[Job[Any], Next], Awaitable[Any]]
"""`async def middleware(job, call): return await call(job)`: wraps each run of a worker, that of a sync handler too."""


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether a function runs in the event loop: a coroutine function, or an object whose call is one."""
    call = getattr(type(handler), "__call__", None)  # noqa: B004  # what kind of function it is, not whether
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)
