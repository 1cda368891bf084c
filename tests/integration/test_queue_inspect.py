"""Looking at a queue and moving its time by hand, through the public face alone."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import unique_name
from tests.integration.conftest import StartServer
from tests.queue_state import command
from zqueue import Bury, CorruptJob, InvalidJob, Job, JobRecord, JobState, NewJob, Priority, Queue, Worker
from zqueue.embedded import Server
from zqueue.testing import FakeClock

AT = datetime(2040, 2, 29, 12, tzinfo=UTC)


async def test_pages_through_the_public_face(any_queue: Queue) -> None:
    """Over 2,000 jobs of three lanes, many due at the same moment: each once, in the order in which they will run."""
    jobs = [NewJob(n, id=f"{n:04}", at=AT + timedelta(seconds=n // 800), priority=Priority(n % 3)) for n in range(2100)]
    await any_queue.enqueue_many(jobs)
    seen: list[JobRecord] = []
    while page := await any_queue.jobs(JobState.SCHEDULED, limit=500, after=seen[-1] if seen else None):
        seen += page
    assert [job.id for job in seen] == [f"{n:04}" for lane in range(3) for n in range(lane, 2100, 3)]
    assert len(await any_queue.jobs(JobState.SCHEDULED)) == 100


async def test_the_cursor_may_have_been_cancelled(any_queue: Queue) -> None:
    """A page continues after a job that is gone, in the place where it was."""
    await any_queue.enqueue_many([NewJob(n, id=f"{n}", at=AT) for n in range(6)])
    page = await any_queue.jobs(JobState.SCHEDULED, limit=3)
    assert await any_queue.cancel("2")
    assert await any_queue.cancel("3")
    assert [job.id for job in await any_queue.jobs(JobState.SCHEDULED, after=page[-1])] == ["4", "5"]


async def test_pages_do_not_depend_on_the_servers_locale(
    start_server: StartServer, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server's Lua sorts a before B, as people do, a page still follows the order of the sorted set."""
    made = await asyncio.to_thread(_make_locale, tmp_path / "en_US.UTF-8")
    if not made:
        pytest.skip("no locale can be made here: apt-get install locales")
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    ids = ["A", "Ab", "B", "_", "a", "aB", "b", "ä"]
    async with Queue("q", start_server(kind=kind).url) as queue:
        link = queue.link(queue.shards[0])
        assert await command(link, "EVAL", "return 'a' < 'B'", 0) == 1, "it does sort so"
        await link.close()
        await queue.enqueue_many([NewJob(1, id=each, at=AT) for each in ids])
        seen: list[JobRecord] = []
        while page := await queue.jobs(JobState.SCHEDULED, limit=1, after=seen[-1] if seen else None):
            seen += page
            assert len(seen) <= len(ids)
    assert [job.id for job in seen] == ids


def _make_locale(folder: Path) -> bool:
    localedef = shutil.which("localedef")
    if localedef is None:
        return False
    subprocess.run([localedef, "-i", "en_US", "-f", "UTF-8", folder], check=False, capture_output=True)
    return folder.exists()


@pytest.mark.parametrize("limit", [0, -1, 1001, 1.5, True, None, "10"])
async def test_a_bad_limit(queue: Queue, limit: Any) -> None:
    """A page has 1 to 1,000 jobs; anything else is named."""
    with pytest.raises(InvalidJob, match=r"^limit must be from 1 to 1,000, not "):
        await queue.jobs(JobState.DEAD, limit)


async def test_a_bad_state(queue: Queue) -> None:
    """A state that is none is named with those there are; the word of one that is will do."""
    with pytest.raises(InvalidJob, match=r"^state must be one of scheduled, leased, done, dead, not 'ended'$"):
        await queue.jobs("ended")  # type: ignore[arg-type]
    assert await queue.jobs("dead") == []  # type: ignore[arg-type]


async def test_bad_ids(queue: Queue) -> None:
    """An id that no job can have is refused by every call that takes one."""
    with pytest.raises(InvalidJob, match=r"^id must be 1 to 200 bytes long, not 0$"):
        await queue.get("")
    with pytest.raises(InvalidJob, match=r"^id holds a control character"):
        await queue.cancel("a\0b")
    with pytest.raises(InvalidJob, match=r"^id holds a lone surrogate"):
        await queue.missing(["fine", "\udc80"])


async def test_missing_asks_in_chunks(any_queue: Queue) -> None:
    """Any number of ids, in order; those of jobs in any state are not missing."""
    await any_queue.enqueue_many([NewJob(1, id=f"{n}", at=AT) for n in range(0, 1000, 2)])
    assert await any_queue.missing(f"{n}" for n in range(1000)) == [f"{n}" for n in range(1, 1000, 2)]
    assert await any_queue.missing([]) == []


async def test_cancel_says_whether_there_was_one(any_queue: Queue) -> None:
    """True once; then the job is gone, and its id free."""
    await any_queue.enqueue(1, id="a", at=AT)
    assert [await any_queue.cancel("a"), await any_queue.cancel("a")] == [True, False]
    assert await any_queue.get("a") is None
    assert (await any_queue.enqueue(2, id="a", at=AT)).created


async def test_a_job_that_does_not_decode(queue: Queue) -> None:
    """`get` says so; a list shows it among the others; an enqueue of its id answers it and harms no neighbour."""
    await queue.enqueue_many([NewJob(1, id=each, at=AT) for each in "abc"])
    link = queue.link(queue.shards[0])
    await command(link, "HSET", queue.shards[0].keys.all[4], "b", "1{")
    await link.close()
    with pytest.raises(CorruptJob, match="job 'b' has an envelope that does not decode"):
        await queue.get("b")
    listed = await queue.jobs(JobState.SCHEDULED)
    assert [(job.id, job.payload, job.error is None) for job in listed] == [
        ("a", 1, True),
        ("b", None, False),
        ("c", 1, True),
    ]
    kept, fresh = await queue.enqueue_many([NewJob(2, id="b"), NewJob(2, id="d", at=AT)])
    assert (kept.id, kept.created, kept.payload) == ("b", False, None)
    assert fresh.created
    assert await queue.cancel("b"), "it can be cancelled"


async def test_incarnation_changes_with_the_keys(queue: Queue) -> None:
    """The same as long as the server lives and the queue's keys are there; another once they were lost."""
    first = await queue.incarnation()
    await queue.enqueue(1, at=AT)
    assert await queue.incarnation() == first
    link = queue.link(queue.shards[0])
    await command(link, "DEL", queue.shards[0].keys.meta)
    await link.close()
    assert await queue.incarnation() != first


@pytest.fixture
async def timed(any_server: Server) -> Any:
    """A queue whose time a test moves, with its clock."""
    clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))
    async with Queue(unique_name(), any_server.url, clock=clock) as queue:
        yield queue, clock


async def test_time_travel(timed: tuple[Queue, FakeClock]) -> None:
    """A user's test lets years pass at once: what is due is what the clock says, on a real server."""
    queue, clock = timed
    ran: list[tuple[object, datetime]] = []

    async def handler(job: Job) -> None:
        ran.append((job.payload, queue.now()))

    worker = Worker(queue, handler)
    await queue.enqueue("new year", at=datetime(2031, 1, 1, tzinfo=UTC))
    await queue.enqueue("tomorrow", delay=timedelta(days=1))
    assert await worker.tick() == 0
    clock.advance(timedelta(days=1))
    assert await worker.tick() == 1
    clock.advance(timedelta(days=363, microseconds=-1))
    assert await worker.tick() == 0
    assert (await queue.stats()).next_due_at == datetime(2031, 1, 1, tzinfo=UTC)
    clock.advance(timedelta(days=1, microseconds=1))
    assert await worker.tick() == 1
    assert ran == [
        ("tomorrow", datetime(2030, 1, 2, tzinfo=UTC)),
        ("new year", datetime(2031, 1, 1, tzinfo=UTC)),
    ]
    assert queue.now() == clock.now() == datetime(2031, 1, 1, tzinfo=UTC)


async def test_a_life_seen_from_outside(timed: tuple[Queue, FakeClock]) -> None:
    """Failed once, then dead: what `get`, `jobs` and `stats` say of a job at each step."""
    queue, clock = timed
    await queue.enqueue("x", id="a")

    async def handler(job: Job) -> None:
        if job.attempt == 1:
            raise ValueError("first")
        raise Bury("enough")

    worker = Worker(queue, handler)
    assert await worker.tick() == 1
    job = await queue.get("a")
    assert job is not None
    assert (job.state, job.attempts, job.error) == (JobState.SCHEDULED, 1, "ValueError: first")
    assert job.due_at is not None
    assert timedelta(seconds=0.75) <= job.due_at - clock.now() <= timedelta(seconds=1.25)
    clock.advance(timedelta(seconds=2))
    assert await worker.tick() == 1
    (dead,) = await queue.jobs(JobState.DEAD)
    assert dead == await queue.get("a")
    assert (dead.state, dead.attempts, dead.error, dead.due_at, dead.ended_at) == (
        JobState.DEAD,
        2,
        "enough",
        None,
        clock.now(),
    )
    stats = await queue.stats()
    assert (stats.scheduled, stats.leased, stats.dead) == (0, 0, 1)


async def test_dead_jobs_age_out(any_server: Server) -> None:
    """`keep_dead` bounds how long a dead job is kept, by the queue's clock."""
    clock = FakeClock()
    async with Queue(unique_name(), any_server.url, clock=clock, keep_dead=timedelta(days=7)) as queue:

        async def handler(job: Job) -> None:
            raise Bury("no")

        await queue.enqueue(1, id="a")
        await Worker(queue, handler).tick()
        clock.advance(timedelta(days=7, microseconds=-1))
        await Worker(queue, handler).tick()
        assert [job.id for job in await queue.jobs(JobState.DEAD)] == ["a"]
        clock.advance(timedelta(microseconds=1))
        await Worker(queue, handler).tick()
        assert await queue.jobs(JobState.DEAD) == []
        assert await queue.missing(["a"]) == ["a"]
