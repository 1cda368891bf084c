"""The queue for callers without an event loop: Flask, Django, scripts; from any thread, and after a fork.

    with zqueue.blocking.Queue("mail", "redis://localhost") as queue:
        queue.enqueue({"to": "a@example.com"}, delay=60)

Each call is that of `zqueue.Queue`, awaited in the process's private event loop (`zqueue.loops`). `run` awaits anything
else there: ``run(job.result(timeout=5))``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from zqueue import queue
from zqueue.loops import run

__all__ = ["Queue", "run"]

P = ParamSpec("P")
R = TypeVar("R")

_Async = queue.Queue


def _like(
    model: Callable[Concatenate[Any, P], object],
) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, P], R]]:
    """A method with the parameters of another."""
    return lambda method: functools.update_wrapper(method, model, ("__doc__", "__annotations__"), ())


def _blocking(method: Callable[Concatenate[_Async, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[Queue, P], R]:
    @functools.wraps(method)
    def call(self: Queue, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run(method(self.asynchronous, *args, **kwargs))

    return call


class Queue:
    """A `zqueue.Queue`, made with the same arguments, whose calls block.

    Attributes:
        asynchronous: The queue itself, for tasks and workers: ``run(queue.asynchronous.check())``.

    Raises:
        ZQueueError: Any of the calls, in a thread that runs an event loop.
    """

    @_like(_Async.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        self.asynchronous: Final = _Async(*args, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.asynchronous.name

    def bind(self, url: str) -> None:
        """See `zqueue.Queue.bind`."""
        self.asynchronous.bind(url)

    def now(self) -> datetime:
        """See `zqueue.Queue.now`."""
        return self.asynchronous.now()

    enqueue = _blocking(_Async.enqueue)
    enqueue_many = _blocking(_Async.enqueue_many)
    get = _blocking(_Async.get)
    result = _blocking(_Async.result)
    cancel = _blocking(_Async.cancel)
    reschedule = _blocking(_Async.reschedule)
    requeue = _blocking(_Async.requeue)
    missing = _blocking(_Async.missing)
    jobs = _blocking(_Async.jobs)
    stats = _blocking(_Async.stats)
    purge = _blocking(_Async.purge)
    pause = _blocking(_Async.pause)
    resume = _blocking(_Async.resume)
    recur = _blocking(_Async.recur)
    recurring = _blocking(_Async.recurring)
    unrecur = _blocking(_Async.unrecur)
    set_limit = _blocking(_Async.set_limit)
    incarnation = _blocking(_Async.incarnation)
    close = _blocking(_Async.close)
