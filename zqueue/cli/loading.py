"""What ``zqueue worker module:attribute`` names: found, and made into workers. What cannot be is said in one line."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zqueue.cli.failures import Misused
from zqueue.errors import ZQueueError
from zqueue.queue import Queue
from zqueue.worker import Worker

_EXAMPLE = "name a queue, a worker, or a function that makes one: zqueue worker app:queue"


def load(target: str, options: Mapping[str, Any]) -> Worker:
    """The worker that *target* names.

    Args:
        target: ``module:attribute``: a Queue with tasks, a Worker, or a function that makes either.
        options: For the worker of a Queue, as `Worker` takes them.

    Raises:
        Misused: There is none; the message says what was found instead.
    """
    found = _attribute(target)
    if inspect.isroutine(found):
        found = _made_by(target, found)
    try:
        return _worker(target, found, options)
    except ZQueueError as error:
        raise Misused(f"{target}: {error}") from error


def _made_by(target: str, factory: Callable[..., Any]) -> Any:
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise Misused(f"{target} cannot be called without arguments: {error}", _EXAMPLE) from None
    return factory()


def _worker(target: str, found: Any, options: Mapping[str, Any]) -> Worker:
    if isinstance(found, Worker):
        if options:
            given = ", ".join(f"--{name}" for name in options)
            raise Misused(
                f"{target} is a Worker, which brings its own settings", f"leave out {given}, or name its queue"
            )
        worker = found
    elif isinstance(found, Queue):
        if not found.tasks:
            raise Misused(
                f"queue {found.name!r} ({target}) has no tasks",
                f"put @{target.partition(':')[2]}.task above a function of the module",
            )
        worker = Worker(found, **options)
    else:
        raise Misused(f"{target} is neither a Queue nor a Worker: its type is {type(found).__name__}", _EXAMPLE)
    _ = worker.queue.address  # a URL that is wrong or missing is found out now
    return worker


def _attribute(target: str) -> Any:
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise Misused(f"{target!r} does not say which attribute of which module", _EXAMPLE)
    found: Any = _module(module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            there = ", ".join(_candidates(sys.modules[module_name])) or "nothing that a worker could run"
            raise Misused(f"{module_name} has no {path!r}; it has {there}") from None
    return found


def _module(name: str) -> Any:
    """Import a module, looking in the current directory first. What goes wrong inside it shows its traceback."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise Misused(f"there is no module {error.name!r}, from the current directory or installed", _EXAMPLE) from None


def _candidates(module: Any) -> Iterator[str]:
    for name, value in vars(module).items():
        if isinstance(value, Queue | Worker):
            yield f"{name} (a {type(value).__name__})"
