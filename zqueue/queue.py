"""The queue as producers and inspectors see it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, ParamSpec, TypeVar, Unpack, overload

from zqueue.clock import Duration, duration_us, instant_us, moment
from zqueue.control import Controlled
from zqueue.envelope import Encoded, NewJob, OnConflict
from zqueue.errors import CorruptJob, DuplicateJob, InvalidJob
from zqueue.job import Job, Priority
from zqueue.limits import encode_limit
from zqueue.producer import Enqueued
from zqueue.recurring import Recurring, checked_name, encode_spec, read_recurring
from zqueue.retry import Retry
from zqueue.schedule import Misfire, Schedule
from zqueue.sending import results
from zqueue.tasks import Task, TaskDecorator, TaskOptions

_LOG: Final = logging.getLogger("zqueue")

P = ParamSpec("P")
R = TypeVar("R")


class Queue(Controlled):
    """A named queue on a server, or on many.

    Connects when first used, so that making one, and ``async with``, never fail because a server is away. One object
    serves any number of tasks and event loops; each loop has connections of its own, and closes them with `close`.

    Args:
        name: 1 to 64 of ``A-Z a-z 0-9 _ . -``.
        url: ``redis://`` ``rediss://`` ``unix://``; ``redis+sentinel://h1,h2/master/0``; ``redis+cluster://h1,h2``; or
            ``embedded:///folder``, which starts a Valkey with its files in that folder. None is for a queue that gets
            its URL later, by `bind`, or from ``ZQUEUE_URL`` in the environment at first use.
        shards: Over how many hash tags its keys are spread, so that a Cluster can spread them over its nodes. Fixed by
            whoever uses the queue first. Order and limits hold within a shard; limits are for queues of one.
        retry: For jobs whose task, and that themselves, do not say.
        max_payload: Bytes of a job's JSON at most, and of its result's.
        keep_done: How long jobs that are done are kept, with their results; zero: not at all.
        keep_dead: How long dead jobs are kept; applied by this queue's workers.
        keep_max: How many done, and how many dead, jobs are kept on a shard; applied by this queue's workers.
        replicas: How many replicas must have a job before `enqueue` returns (``WAIT``).
        fsync: Whether a job must be in the append-only file on disk, there too, before `enqueue` returns (``WAITAOF``:
            Valkey, Redis 7.2). A server that syncs each second lets every call wait for that.
        eviction: What to do with a server that may drop keys when its memory is full: ``refuse``, or ``warn`` once.
        clock: A clock to use instead of the server's, in tests.

    Raises:
        InvalidJob: An argument is not as described; the message names it.
    """

    async def enqueue(
        self,
        payload: object,
        *,
        id: str | None = None,
        at: datetime | None = None,
        delay: Duration | None = None,
        priority: Priority = Priority.NORMAL,
        group: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        on_conflict: OnConflict = "keep",
        name: str = "",
    ) -> Job[Any]:
        """Schedule a job; see `NewJob` for the arguments.

        Calls made at the same time share a round trip.

        Raises:
            InvalidJob: An argument is not as described; the message names it.
            DuplicateJob: The *id* is taken, and *on_conflict* says so.
            QueueUnavailable: The server could not be reached; the message says whether the job may be there.
                Repeating with the same *id* is safe.
            NotReplicated: The job is enqueued, but not as safely as the queue asks for. Repeating is safe.
        """
        new = NewJob(payload, id, at, delay, priority, retry, timeout, name, group, on_conflict)
        (job,) = await self.enqueue_many((new,))
        return job

    async def enqueue_many(self, jobs: Iterable[NewJob]) -> list[Job[Any]]:
        """Schedule many jobs, in order, in as few round trips as possible.

        All are checked before the first is sent. More than 100, or of more than one shard, go in several steps: should
        the server be lost between two of them, some jobs are there and some are not; repeating with the same ids is
        safe.

        Raises:
            InvalidJob: One of the jobs is not as it must be; nothing was sent.
            DuplicateJob: An id was taken and that job says so; the others are enqueued.
            QueueUnavailable: The server could not be reached.
            NotReplicated: All are enqueued, but not as safely as the queue asks for.
        """
        jobs = list(jobs)
        if not jobs:
            return []
        for each in jobs:
            if not isinstance(each, NewJob):
                raise InvalidJob(f"enqueue_many takes NewJobs, not {each!r}")
        encoded = [job.encode(self.max_payload, self.keep_done_us) for job in jobs]
        await self.check()
        enqueued = []
        for new, parts, answer in zip(jobs, encoded, await self._enqueue(encoded), strict=True):
            job = self._enqueued(new, parts[0].decode(), answer)
            job.await_result = self.result
            enqueued.append(job)
        for new, job in zip(jobs, enqueued, strict=True):
            if not job.created and new.on_conflict != "keep":
                raise DuplicateJob(job.id, job.state)
        return enqueued

    async def _enqueue(self, encoded: Sequence[Encoded]) -> list[Enqueued]:
        producers = self.connections().producers
        if len(producers) == 1:
            return await producers[0].enqueue(encoded)
        parts: dict[int, list[int]] = {}
        for place, job in enumerate(encoded):
            parts.setdefault(self.shard(job[0].decode()).index, []).append(place)
        answers: list[Enqueued] = [None] * len(encoded)
        for places, part in zip(
            parts.values(),
            await asyncio.gather(
                *(producers[index].enqueue([encoded[place] for place in places]) for index, places in parts.items())
            ),
            strict=True,
        ):
            for place, answer in zip(places, part, strict=True):
                answers[place] = answer
        return answers

    def _enqueued(self, new: NewJob, job_id: str, answer: Enqueued) -> Job[Any]:
        if isinstance(answer, Job):
            return answer
        keep_us = self.keep_done_us if new.keep_done is None else duration_us("keep_done", new.keep_done)
        return Job(
            job_id,
            new.payload,
            new.name,
            new.group,
            priority=Priority(new.priority),
            due_us=answer,
            score_us=answer,
            retry=new.retry,
            timeout=None if new.timeout is None else timedelta(microseconds=duration_us("timeout", new.timeout)),
            keep_done=timedelta(microseconds=keep_us),
            created=answer is not None,
        )

    async def recur(
        self,
        name: str,
        schedule: Schedule,
        payload: object,
        *,
        after: datetime | None = None,
        misfire: Misfire = "once",
        task: str = "",
        priority: Priority = Priority.NORMAL,
        group: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        keep_done: Duration | None = None,
    ) -> datetime:
        """Make a job at each slot of *schedule*, or change the schedule of this *name*.

        Each slot makes one job, whatever the number of workers; it is called ``NAME@SLOT`` (the slot in UTC) and due at
        its slot. To say the same again, from any number of programs, changes nothing: a schedule whose times stay what
        they were keeps its next slot.

        Args:
            name: 1 to 160 bytes.
            schedule: `cron` or `every`.
            after: Only slots after this moment; None for now, by the server's clock.
            misfire: What becomes of the slots at whose time no worker ran, or none had a free slot. ``once``: one job,
                for the last of them; ``all``: a job for each; ``skip``: none, unless the last is at most a minute late.
            task: The `name` of the jobs: the handler, or the task, that takes them.
            priority: Of the jobs, and so *group*, *retry*, *timeout* and *keep_done*: see `NewJob`.

        Returns:
            The slot that is next.

        Raises:
            InvalidJob: An argument is not as described; the message names it.
            QueueUnavailable: The server could not be reached. Repeating is safe.
        """
        new = NewJob(
            payload, priority=priority, retry=retry, timeout=timeout, name=task, group=group, keep_done=keep_done
        )
        times, what = encode_spec(schedule, misfire, new.envelope(self.max_payload, self.keep_done_us))
        shard = self.shard(checked_name(name))
        now_us = await self.ask(shard, shard.commands.time())
        start = moment(now_us if after is None else instant_us("after", after))
        slot_us = instant_us("a slot", schedule.next_after(start))
        call = shard.commands.recur(name, times, what, slot_us, forward=after is not None)
        next_us = await self.ask(shard, call)
        return moment(next_us)

    async def recurring(self) -> list[Recurring]:
        """All schedules, by name.

        Raises:
            QueueUnavailable: A server could not be reached.
        """
        await self.check()
        found: list[Recurring] = []
        for shard, links in zip(self.shards, self.connections().links, strict=True):
            async with links.one() as link:
                specs, slots = await results(link, shard.commands.recurring())
            for name in specs.keys() & slots.keys():
                try:
                    found.append(read_recurring(name, specs[name], slots[name]))
                except CorruptJob as corrupt:  # of a newer version, perhaps: it is not ours to drop
                    _LOG.warning("%s", corrupt)
        return sorted(found, key=lambda each: each.name)

    async def unrecur(self, name: str) -> bool:
        """End a schedule; the jobs it has made stay.

        Returns:
            Whether there was one.

        Raises:
            QueueUnavailable: The server could not be reached. Repeating is safe.
        """
        shard = self.shard(checked_name(name))
        ended = await self.ask(shard, shard.commands.unrecur(name))
        return bool(ended)

    async def set_limit(
        self,
        group: str | None,
        *,
        rate: float | None = None,
        per: Duration = timedelta(seconds=1),
        burst: int = 1,
        concurrency: int | None = None,
    ) -> None:
        """Limit the jobs of a group, or with None all of the queue; with neither *rate* nor *concurrency*, lift that.

        Jobs over the limit wait, in the order of (priority, due time, id), without holding up others. It applies to
        jobs that start from now on, and stays until it is changed: whoever starts first may say it.

        Args:
            group: Whose; ``"*"`` is each group, by itself, that has no limit of its own (and has one again once its own
                is lifted). A group that waits under it hears of a change with its next start or end.
            rate: How many may start in *per*, evenly spaced.
            per: The length of time that *rate* is for.
            burst: How many may start at once after a while without any. A start that is late puts off those after
                it, and a worker is late by a millisecond or two: for more than about 50 a second, say more than 1.
            concurrency: How many may run at a time.

        Raises:
            InvalidJob: An argument is not as described, or the queue has several shards.
            QueueUnavailable: The server could not be reached. Repeating is safe.
        """
        name, limit = encode_limit(group, rate, per, burst, concurrency)
        if len(self.shards) > 1:
            raise InvalidJob(f"limits are for queues of one shard; {self.name!r} has {len(self.shards)}")
        await self.ask(self.shards[0], self.shards[0].commands.limit(name, limit))

    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
    def task(self, fn: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]) -> Any:
        """Make a function one whose calls can be enqueued; for workers of this queue without a handler of their own.

        To be used bare, or with the options of `Task`: ``@queue.task``, ``@queue.task(timeout=30)``.

        Raises:
            InvalidJob: The queue has a task of this name already, or an option is not as it must be.
        """
        make = TaskDecorator(self, self._tasks, **options)
        return make if fn is None else make(fn)

    async def incarnation(self) -> str:
        """A name for the servers' present life and for what they hold of this queue.

        Two equal answers: in between, no server was restarted and the queue's keys were not lost. Who keeps a record of
        what has to be in the queue compares the two, to know when to look whether all of it still is.

        Raises:
            QueueUnavailable: A server could not be reached.
        """
        await self.check()
        names = []
        for shard, links in zip(self.shards, self.connections().links, strict=True):
            async with links.one() as link:
                run_id, _made, born = await results(link, shard.commands.incarnation())
            names.append(f"{run_id}-{born}")
        return " ".join(names)
