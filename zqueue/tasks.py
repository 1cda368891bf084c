"""Typed tasks: functions whose calls can be enqueued.

A task is enqueued with its function's own parameters, which a type checker checks and `enqueue` checks again. They
travel as the payload ``{"args": [...], "kwargs": {...}}``, and a worker calls the function with them.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from zqueue import loops
from zqueue.clock import Duration, duration_us
from zqueue.envelope import NewJob, OnConflict, checked_text
from zqueue.errors import Bury, InvalidJob
from zqueue.handler import Handler, is_async
from zqueue.job import Job, Priority
from zqueue.retry import Retry
from zqueue.schedule import Misfire, Schedule

P = ParamSpec("P")
R = TypeVar("R")


class JobOptions(TypedDict, total=False):
    """What the jobs of a task may be given; as in `NewJob`."""

    id: str | None
    at: datetime | None
    delay: Duration | None
    priority: Priority
    group: str | None
    retry: Retry | None
    timeout: Duration | None
    on_conflict: OnConflict
    keep_done: Duration | None


class TaskOptions(JobOptions, total=False):
    """What `queue.task` may be told; see `Task`."""

    name: str | None


class CallOptions(JobOptions, total=False):
    """What `Task.options` may be told; the last two are for `Task.recur`, as in `Queue.recur`."""

    after: datetime | None
    misfire: Misfire


class TaskQueue(Protocol):
    """What a task needs of a queue."""

    async def enqueue_many(self, jobs: Iterable[NewJob]) -> list[Job[Any]]:
        """Schedule jobs."""

    async def recur(self, *args: Any, **options: Any) -> datetime:
        """Schedule jobs again and again."""


class Task(Generic[P, R]):
    """A function whose calls can be enqueued; `queue.task` makes it one.

    Calling the task calls the function, here and now. What is enqueued travels as JSON: a tuple arrives as a list.

    Args:
        name: How workers find it, so that it stays the same for as long as jobs wait; by default the qualified name of
            the function. Not the module's as well: a module that is run as a program is called ``__main__`` there.
        options: For the task's jobs that do not say themselves.

    Attributes:
        retry: This and `timeout` are not written into the jobs: the worker's code has the word, and a change of it
            applies to the jobs that wait already.

    Raises:
        InvalidJob: The function has no name of its own, or an option is not as it must be.
        TypeError: There is no such option.
    """

    def __init__(
        self, queue: TaskQueue, fn: Callable[P, Any], *, name: str | None = None, **options: Unpack[JobOptions]
    ) -> None:
        if not callable(fn):
            raise InvalidJob(f"a task is made of a function, not {fn!r}")
        functools.update_wrapper(self, fn)
        name = getattr(fn, "__qualname__", "<lambda>") if name is None else name
        self.name = checked_text("a task's name", name)
        if "<lambda>" in self.name:
            raise InvalidJob(f"a task of {fn!r} needs a name=")
        NewJob([], **options).encode(max_payload=2)  # what is wrong with the options is refused where they are written
        timeout = options.pop("timeout", None)
        self.timeout = None if timeout is None else timedelta(microseconds=duration_us("timeout", timeout))
        self.retry = options.pop("retry", None)
        self._queue = queue
        self._fn = fn
        self._signature = inspect.signature(fn)
        self._options: dict[str, Any] = {**options}

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the function itself."""
        return self._fn(*args, **kwargs)

    def options(self, **options: Unpack[CallOptions]) -> Task[P, R]:
        """The same task for jobs with other options: ``await task.options(delay=60).enqueue(...)``.

        Raises:
            TypeError: There is no such option.
        """
        for unknown in options.keys() - CallOptions.__annotations__.keys():
            raise TypeError(f"task {self.name!r}: a job has no option {unknown!r}")
        variant = copy.copy(self)
        variant._options = {**self._options, **options}
        return variant

    def new(self, /, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """The job that `enqueue` would schedule, for `Queue.enqueue_many`.

        Raises:
            InvalidJob: The function does not take these arguments.
        """
        return NewJob(self._payload(*args, **kwargs), name=self.name, **self._options)

    async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Schedule a call.

        Raises:
            InvalidJob: The function does not take these arguments, or JSON cannot carry them.
            QueueUnavailable, DuplicateJob, NotReplicated: As `Queue.enqueue` does.
        """
        (job,) = await self._queue.enqueue_many((self.new(*args, **kwargs),))
        return job

    async def recur(self, name: str, schedule: Schedule, /, *args: P.args, **kwargs: P.kwargs) -> datetime:
        """Schedule a call at each slot of *schedule*, replacing the schedule of this *name*; see `Queue.recur`.

        Returns:
            The next slot.
        """
        return await self._queue.recur(name, schedule, self._payload(*args, **kwargs), task=self.name, **self._options)

    @property
    def blocking(self) -> BlockingTask[P, R]:
        """`enqueue` and `recur` for callers without an event loop."""
        return BlockingTask(self)

    @property
    def handler(self) -> Handler:
        """Runs the task's jobs in a worker."""
        return self._run_in_loop if is_async(self._fn) else self._run

    async def _run_in_loop(self, job: Job[Any]) -> Any:
        return await self._run(job)

    def _run(self, job: Job[Any]) -> Any:
        try:
            call = self._signature.bind(*job.payload["args"], **job.payload["kwargs"])
        except (TypeError, LookupError) as error:
            words = f"{type(error).__name__}: {error}"
            raise Bury(f"task {self.name!r} does not take the payload: {words}") from None
        return self._fn(*call.args, **call.kwargs)

    def _payload(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidJob(f"task {self.name!r}: {error}") from None
        return {"args": args, "kwargs": kwargs}


class BlockingTask(Generic[P, R]):
    """A task for callers without an event loop; see `zqueue.loops`."""

    def __init__(self, task: Task[P, R]) -> None:
        self._task = task

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """`Task.enqueue`, blocking."""
        return loops.run(self._task.enqueue(*args, **kwargs))

    def recur(self, name: str, schedule: Schedule, /, *args: P.args, **kwargs: P.kwargs) -> datetime:
        """`Task.recur`, blocking."""
        return loops.run(self._task.recur(name, schedule, *args, **kwargs))


class TaskDecorator:
    """Makes tasks of functions and lists them in *tasks*, by name; what `queue.task(...)` returns."""

    def __init__(self, queue: TaskQueue, tasks: dict[str, Task[..., Any]], **options: Unpack[TaskOptions]) -> None:
        self._queue = queue
        self._tasks = tasks
        self._options = options

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    def __call__(self, fn: Callable[P, Any], /) -> Task[P, Any]:
        """The task of a function.

        Raises:
            InvalidJob: It cannot be a task, or there is one of its name.
        """
        task: Task[P, Any] = Task(self._queue, fn, **self._options)
        if task.name in self._tasks:
            raise InvalidJob(f"there is a task {task.name!r} already: give one of the two a name=")
        self._tasks[task.name] = task
        return task
