"""Typed tasks: what makes one, what its jobs carry, and how a call comes back out of a payload."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

import zqueue
from zqueue import Bury, InvalidJob, Job, NewJob, Priority, Queue, Retry
from zqueue.handler import is_async


async def send(to: str, subject: str = "none", *, copies: int = 1) -> str:
    """Send it."""
    return f"{to}: {subject} x {copies}"


def add(first: int, second: int) -> int:
    """Add."""
    return first + second


def _queue() -> Queue:
    return Queue("tasks")


def _job(*args: Any, **kwargs: Any) -> Job[Any]:
    return Job("a", {"args": list(args), "kwargs": kwargs})


def test_a_task_is_its_function() -> None:
    """Called, it calls the function; its name, documentation and signature are the function's."""
    task = _queue().task(send)
    assert asyncio.run(task("a", copies=2)) == "a: none x 2"
    assert (task.name, task.__doc__, inspect.signature(task)) == ("send", "Send it.", inspect.signature(send))
    assert _queue().task(add)(1, second=2) == 3


def test_tasks_are_listed_by_name() -> None:
    """The decorator takes options or none; the queue knows its tasks under the names that their jobs carry."""
    queue = _queue()
    first = queue.task(send)
    second = queue.task(name="sum", retry=Retry(1), timeout=5)(add)
    assert dict(queue.tasks) == {"send": first, "sum": second}
    assert (first.retry, first.timeout) == (None, None)
    assert (second.retry, second.timeout) == (Retry(1), timedelta(seconds=5))


def test_the_name_does_not_depend_on_how_the_module_was_started() -> None:
    """A program's module is `__main__` to itself and has a name for others: only the qualified name is taken."""

    def inner() -> None:
        """A function in a function."""

    inner.__module__ = "__main__"
    prefix = "test_the_name_does_not_depend_on_how_the_module_was_started.<locals>"
    assert _queue().task(inner).name == f"{prefix}.inner"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda queue: queue.task(lambda: None), "a task of <function .*<lambda>.* needs a name="),
        (lambda queue: queue.task(functools.partial(add, 1)), r"a task of functools.partial\(.* needs a name="),
        (lambda queue: queue.task("send"), "a task is made of a function, not 'send'"),
        (lambda queue: queue.task(name="")(add), "a task's name must be 1 to 200 bytes long, not 0"),
        (lambda queue: queue.task(name="a\n")(add), "a task's name holds a control character"),
        (lambda queue: queue.task(name=5)(add), "a task's name must be a string, not 5"),
        (lambda queue: queue.task(name="sum")(send), "there is a task 'sum' already"),
        (lambda queue: queue.task(retry=3)(add), "retry must be a Retry, not 3"),
        (lambda queue: queue.task(timeout=0)(add), "timeout must be longer than 0"),
        (lambda queue: queue.task(timeout=-1)(add), "timeout must be between 0"),
        (lambda queue: queue.task(priority=7)(add), "priority must be a Priority, not 7"),
        (lambda queue: queue.task(group="")(add), "group must be 1 to 200 bytes long, not 0"),
    ],
)
def test_what_cannot_be_a_task(make: Callable[[Any], Any], message: str) -> None:
    """Refused where it is written, with the reason; and nothing is listed."""
    queue = _queue()
    taken = queue.task(name="sum")(add)
    with pytest.raises(InvalidJob, match=message):
        make(queue)
    assert dict(queue.tasks) == {"sum": taken}


def test_an_unknown_option_of_a_task() -> None:
    """A misspelt option is not swallowed."""
    with pytest.raises(TypeError, match="retries"):
        _queue().task(retries=3)(add)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="misfire"):
        _queue().task(misfire="all")(add)  # type: ignore[call-overload]


def test_a_job_carries_the_call() -> None:
    """Arguments as they were given, under the task's name, with its options; but its retry and timeout are its own."""
    task = _queue().task(priority=Priority.HIGH, group="g", retry=Retry(1), timeout=5, keep_done=60)(send)
    assert task.new("a", copies=2) == NewJob(
        {"args": ("a",), "kwargs": {"copies": 2}}, name="send", priority=Priority.HIGH, group="g", keep_done=60
    )


def test_options_are_for_the_jobs_of_the_variant() -> None:
    """Each option goes into the job, over the task's own and over those given before; the task stays as it was."""
    task = _queue().task(priority=Priority.HIGH, group="g")(add)
    variant = task.options(id="x", delay=5, group="h", retry=Retry(2), timeout=7).options(
        delay=6, on_conflict="raise", keep_done=60
    )
    call = {"args": (1, 2), "kwargs": {}}
    assert variant.new(1, 2) == NewJob(
        call,
        id="x",
        delay=6,
        priority=Priority.HIGH,
        retry=Retry(2),
        timeout=7,
        name="add",
        group="h",
        on_conflict="raise",
        keep_done=60,
    )
    assert task.new(1, 2) == NewJob(call, name="add", priority=Priority.HIGH, group="g")


@pytest.mark.parametrize("option", ["name", "payload", "retries", "delay_s"])
def test_an_unknown_option_of_a_job(option: str) -> None:
    """What is no option is refused by name, before anything is enqueued; the name of a task is not the job's to say."""
    with pytest.raises(TypeError, match=f"task 'add': a job has no option '{option}'"):
        _queue().task(add).options(**{option: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "task 'send': missing a required argument: 'to'"),
        (("a", "b", 3), {}, "task 'send': too many positional arguments"),
        (("a",), {"subjekt": "b"}, "task 'send': got an unexpected keyword argument 'subjekt'"),
        (("a",), {"to": "b"}, "task 'send': multiple values for argument 'to'"),
    ],
)
async def test_a_call_that_does_not_fit(args: tuple[Any, ...], kwargs: dict[str, Any], message: str) -> None:
    """Refused with the task and what is wrong, by all that makes a job of a call."""
    task = _queue().task(send)
    with pytest.raises(InvalidJob, match=message):
        task.new(*args, **kwargs)
    with pytest.raises(InvalidJob, match=message):
        await task.enqueue(*args, **kwargs)
    with pytest.raises(InvalidJob, match=message):
        await task.recur("daily", zqueue.every(timedelta(days=1)), *args, **kwargs)


async def _run(handler: Callable[[Job[Any]], Awaitable[Any] | Any], job: Job[Any]) -> Any:
    result = handler(job)
    return await result if is_async(handler) else result


async def test_the_handler_calls_the_function() -> None:
    """A worker's handler of a task is asynchronous where the function is, and calls it with what the job carries."""
    sending, adding = _queue().task(send), _queue().task(add)
    assert (is_async(sending.handler), is_async(adding.handler)) == (True, False)
    assert await _run(sending.handler, _job("a", copies=3)) == "a: none x 3"
    assert await _run(adding.handler, _job(1, second=2)) == 3


@pytest.mark.parametrize("function", [send, add])
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"args": [1, 2, 3], "kwargs": {}}, "too many positional arguments"),
        ({"args": [], "kwargs": {"x": 1}}, "(missing a required|got an unexpected keyword) argument"),
        ({"args": []}, "'kwargs'"),
        ({"args": 5, "kwargs": {}}, "must be an iterable"),
        ([1, 2], "list indices must be integers"),
        (None, "'NoneType' object is not subscriptable"),
    ],
)
async def test_a_payload_that_does_not_fit_is_buried(function: Callable[..., Any], payload: Any, reason: str) -> None:
    """A payload that the function cannot be called with will never fit: the job ends, with the reason."""
    task = _queue().task(function)
    with pytest.raises(Bury, match=f"task '{task.name}' does not take the payload: .*{reason}"):
        await _run(task.handler, Job("a", payload))


def test_a_type_error_of_the_function_is_its_own() -> None:
    """What the function raises itself is a failed attempt like any other, and no unfit payload."""

    def broken(first: int) -> int:
        return first + "1"  # type: ignore[operator]

    with pytest.raises(TypeError, match="unsupported operand"):
        _queue().task(broken)._run(_job(1))
