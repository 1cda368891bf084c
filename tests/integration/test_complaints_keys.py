"""What users of other queues complain of, about their servers: keys that stay, keys that vanish, scripts that block.

See `docs/features.md`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Final

import pytest

import zqueue
from tests.asking import ask_server
from tests.conftest import unique_name
from tests.proxy import Proxy
from tests.queue_state import read_keys
from zqueue import JobState, NewJob
from zqueue.embedded import Server
from zqueue.testing import FakeClock, run_until_idle, seed

YEARS = timedelta(days=3650)
ASKED: Final[dict[str, int | tuple[int, int]]] = {
    "enqueue": (2, 4),
    "missing": (0, 1),
    "settle": (3, 5),
    "claim": 1,
    "purge": 3,
}
"""Of a script's arguments, where its jobs start and how many words each has; or which one says how many it may take."""


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue under test."""
    return FakeClock()


@pytest.fixture
async def timed(any_server: Server, clock: FakeClock) -> AsyncIterator[zqueue.Queue]:
    """A queue on each kind of server whose time the test moves; it keeps what is over for a minute."""
    options = {"keep_done": timedelta(minutes=1), "keep_dead": timedelta(minutes=1)}
    async with zqueue.Queue(unique_name(), any_server.url, clock=clock, **options) as fresh:  # type: ignore[arg-type]
        yield fresh


async def held(queue: zqueue.Queue) -> set[str]:
    """The names of a queue's keys, but for the calls that are remembered for a minute."""
    link = queue.link(queue.shards[0])
    try:
        keys = await read_keys(link, queue.shards[0].keys)
    finally:
        await link.close()
    return {name for name in keys if not name.startswith("call:")}


async def handle(job: zqueue.Job) -> int:
    """End as the payload says, on the first attempt."""
    if job.payload == "bury":
        raise zqueue.Bury("as asked")
    if job.payload == "retry" and job.attempt == 1:
        raise zqueue.RetryLater(timedelta(seconds=5))
    await job.progress("half")
    return 1


async def test_nothing_is_left_of_what_is_over(timed: zqueue.Queue, clock: FakeClock) -> None:
    """Jobs that ended in every way, groups, limits, schedules, results: once over, the format of the keys is left."""
    await timed.set_limit("g", rate=1, concurrency=2)
    await timed.set_limit(None, rate=100, burst=100)
    await timed.recur("s", zqueue.every(10), "ok")
    payloads = ("ok", "bury", "retry", "bury")
    await timed.enqueue_many(NewJob(each, id=f"{number}", group="g") for number, each in enumerate(payloads))
    await timed.enqueue_many(NewJob(each, keep_done=0) for each in payloads)
    worker = zqueue.Worker(timed, handle)
    await run_until_idle(worker, clock, limit=20)
    assert await timed.requeue("1")
    await worker.tick()
    await seed(timed, leased=[NewJob("ok", id="crashed")], scheduled=[NewJob("ok", id=each, delay=9) for each in "cp"])
    await timed.enqueue("ok", id="p", delay=9, on_conflict="replace")
    assert await timed.cancel("c")
    assert await timed.purge(JobState.SCHEDULED) == 1
    await run_until_idle(worker, clock)
    assert await held(timed) >= {
        "jobs",
        "claims",
        "attempts",
        "done",
        "dead",
        "results",
        "limits",
        "fires",
        "recurring",
    }
    await timed.pause()
    await timed.resume()
    await timed.unrecur("s")
    await timed.set_limit("g")
    await timed.set_limit(None)
    clock.advance(timedelta(minutes=2))
    await worker.run(burst=True)
    assert await held(timed) - {"wake"} == {"meta"}, "the wake list holds a token at most"


async def test_what_waits_never_expires(any_queue: zqueue.Queue) -> None:
    """A job, a schedule, a limit and a pause stay for as long as it takes: no key of theirs has a time to live."""
    await any_queue.set_limit("g", rate=1)
    await any_queue.recur("s", zqueue.every(YEARS), 0)
    await any_queue.enqueue(0, id="x", delay=YEARS, group="g")
    await any_queue.pause()
    prefix = any_queue.shards[0].keys.prefix
    lives = {name: await ask_server(any_queue, "TTL", f"{prefix}{name}") for name in await held(any_queue)}
    assert lives == dict.fromkeys(("due:1", "jobs", "recurring", "fires", "limits", "paused", "meta"), -1)
    await any_queue.resume()


async def _run(queue: zqueue.Queue, clock: FakeClock) -> None:
    await zqueue.Worker(queue, handle).run(burst=True)


async def _done_and_trimmed(queue: zqueue.Queue, clock: FakeClock) -> None:
    await _run(queue, clock)
    clock.advance(timedelta(minutes=1))
    await zqueue.Worker(queue, handle).tick()


async def _dead_and_purged(queue: zqueue.Queue, clock: FakeClock) -> None:
    await queue.enqueue("bury", id="x", on_conflict="replace")
    await _run(queue, clock)
    assert await queue.purge(JobState.DEAD) == 1


async def _purged_and_cancelled(queue: zqueue.Queue, clock: FakeClock) -> None:
    assert await queue.purge(JobState.SCHEDULED) == 1
    assert not await queue.cancel("x"), "and it is not noted down for the next job of this id"


async def _cancelled(queue: zqueue.Queue, clock: FakeClock) -> None:
    assert await queue.cancel("x")


async def _cancelled_after_a_crash(queue: zqueue.Queue, clock: FakeClock) -> None:
    shard = queue.shards[0]
    claim = shard.commands.claim(1, 10_000_000, "ab", 5, solo_ok=True, worker="", kept=queue.kept)
    assert len((await queue.ask(shard, claim)).deliveries) == 1
    await _cancelled(queue, clock)


@pytest.mark.parametrize(
    "end",
    [_done_and_trimmed, _dead_and_purged, _purged_and_cancelled, _cancelled, _cancelled_after_a_crash],
    ids=lambda end: end.__name__,
)
async def test_an_id_is_free_once_its_job_is_over(
    timed: zqueue.Queue, clock: FakeClock, end: Callable[[zqueue.Queue, FakeClock], Awaitable[None]]
) -> None:
    """However a job ends, its id holds nothing back: another one takes it, and runs."""
    await timed.enqueue("ok", id="x", group="g")
    await end(timed, clock)
    assert (await timed.enqueue("new", id="x", on_conflict="raise")).created
    job = await timed.get("x")
    assert job is not None
    assert (job.payload, job.attempts, job.deliveries, job.progress) == ("new", 0, 0, None)
    await _run(timed, clock)
    assert await timed.result("x") == 1


async def test_no_call_gives_a_script_much_to_do(valkey: Server) -> None:
    """Thousands of jobs enqueued, looked for, purged, claimed and settled: a hundred a call, whatever is asked for."""
    async with Proxy(valkey) as proxy, zqueue.Queue(unique_name(), proxy.url) as queue:
        jobs = [NewJob(number, id=f"{number}") for number in range(3000)]
        await queue.enqueue_many(jobs)
        assert await queue.missing(job.id or "" for job in jobs) == []
        assert await queue.purge(JobState.SCHEDULED) == 3000
        await queue.enqueue_many(jobs[:2000])
        await zqueue.Worker(queue, lambda job: None, concurrency=1000).run(burst=True)
        assert (await queue.stats()).scheduled == 0
        words = {name: [command[3 + int(command[2]) :] for command in proxy.seen(name)] for name in ASKED}
    assert {name for name, calls in words.items() for args in calls if jobs_in(name, args) > 100} == set()
    assert {name: len(calls) >= 20 for name, calls in words.items()} == dict.fromkeys(ASKED, True)


def jobs_in(name: str, args: tuple[bytes, ...]) -> int:
    """How many jobs a call is about."""
    where = ASKED[name]
    return int(args[where]) if isinstance(where, int) else (len(args) - where[0]) // where[1]
