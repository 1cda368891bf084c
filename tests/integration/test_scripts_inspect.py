"""The scripts that only look: get, jobs, missing, stats. None of them writes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.integration.script_bench import Bench, S
from zqueue.clock import moment
from zqueue.envelope import NewJob
from zqueue.errors import CorruptJob, QueueUnavailable
from zqueue.job import JobRecord, JobState, Priority
from zqueue.replies import Stats
from zqueue.retry import Retry, fixed


@pytest.fixture
async def full(bench: Bench) -> Bench:
    """A bench at 3 s with jobs in each state and lane."""
    await bench.enqueue(
        NewJob({"n": 1}, id="all", retry=Retry(2, fixed(9)), timeout=1.5, name="mail", priority=Priority.LOW)
    )
    await bench.put("running", at=1)
    await bench.put("died", at=-1, lane=0)
    bench.advance(2)
    await bench.claim()
    await bench.settle("all", verb="retry", delay=8, text="451")
    bench.advance(1)
    await bench.settle("died", verb="bury", text="550")
    await bench.put("late", at=2.5, lane=0)
    return bench


async def _page(bench: Bench, state: JobState, limit: int = 1000, after: JobRecord | None = None) -> list[JobRecord]:
    return await bench.run(bench.commands.jobs(state, limit, after))


async def _walk(bench: Bench, state: JobState, limit: int) -> list[str]:
    """All ids of a state, page by page; more pages than jobs mean that it goes round in circles."""
    ids: list[str] = []
    page = await _page(bench, state, limit)
    while page:
        assert len(page) <= limit
        ids += [job.id for job in page]
        assert len(ids) < 10_000
        page = await _page(bench, state, limit, page[-1])
    return ids


async def test_get_shows_everything(full: Bench) -> None:
    """Each state with its score, its due time, its counts and its options."""
    before = await full.state()
    at = full.at
    waiting = JobRecord(
        "all",
        {"n": 1},
        "mail",
        priority=Priority.LOW,
        due_us=at(10),
        attempts=1,
        error="451",
        retry=Retry(2, fixed(9)),
        timeout=timedelta(seconds=1.5),
        score_us=at(10),
    )
    running = JobRecord("running", "running", state=JobState.LEASED, due_us=at(1), deliveries=1, score_us=at(12))
    died = JobRecord(
        "died", "died", state=JobState.DEAD, priority=Priority.HIGH, attempts=1, error="550", score_us=at(3)
    )
    for job in (waiting, running, died):
        assert await full.run(full.commands.get(job.id)) == job
    assert died.ended_at == moment(at(3))
    assert (waiting.ended_at, running.ended_at, died.due_at) == (None, None, None)
    assert await full.run(full.commands.get("never")) is None
    assert await full.state() == before


async def test_get_of_what_does_not_decode(bench: Bench) -> None:
    """`CorruptJob`, which names the job."""
    await bench.put("a", at=9)
    await bench.raw("HSET", bench.key("jobs"), "a", "1[]")
    with pytest.raises(CorruptJob, match="job 'a' has an envelope that does not decode") as caught:
        await bench.run(bench.commands.get("a"))
    assert caught.value.job_id == "a"


async def test_jobs_by_state(full: Bench) -> None:
    """Each state lists its own: the scheduled lane by lane, though a lower lane's job is due first."""
    before = await full.state()
    assert [job.id for job in await _page(full, JobState.SCHEDULED)] == ["late", "all"]
    assert [job.id for job in await _page(full, JobState.LEASED)] == ["running"]
    assert [job.id for job in await _page(full, JobState.DEAD)] == ["died"]
    assert (await _page(full, JobState.DEAD))[0] == await full.run(full.commands.get("died"))
    assert await full.state() == before


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_paging_goes_through_everything_once(bench: Bench, limit: int) -> None:
    """Lanes, equal and different scores: each job once, in order, whatever the size of a page."""
    expected = []
    for lane in range(3):
        for at in (5, 6.5, 7):
            ids = [f"{lane}.{at}.{n:02}" for n in range(8)]
            await bench.put(*ids, at=at, lane=lane)
            expected += ids
    assert await _walk(bench, JobState.SCHEDULED, limit) == expected


async def test_paging_over_two_thousand_equal_scores(bench: Bench) -> None:
    """All jobs due in the same microsecond: no page starts anew, none skips."""
    ids = [f"{n:04}" for n in range(2100)]
    for at in range(0, 2100, 700):
        await bench.put(*ids[at : at + 700], at=9)
    assert await _walk(bench, JobState.SCHEDULED, 300) == ids


@pytest.mark.parametrize("state", [JobState.SCHEDULED, JobState.LEASED, JobState.DEAD])
async def test_the_cursors_job_may_be_gone(bench: Bench, state: JobState) -> None:
    """The next page starts where the last one ended, though its last job has left the set meanwhile."""
    ids = [f"{n:02}" for n in range(9)]
    await bench.put(*ids)
    if state is not JobState.SCHEDULED:
        await bench.claim()
    if state is JobState.DEAD:
        await bench.settle(*ids, verb="bury", text="550")
    page = await _page(bench, state, 4)
    assert [job.id for job in page] == ids[:4]
    for each in ("02", "03", "05"):
        await bench.raw("ZREM", bench.key({"scheduled": "due:1"}.get(state, str(state))), each)
        await bench.raw("HDEL", bench.key("jobs"), each)
        await bench.raw("HDEL", bench.key("claims"), each)
        await bench.raw("HDEL", bench.key("attempts"), each)
    assert [job.id for job in await _page(bench, state, 4, page[-1])] == ["04", "06", "07", "08"]


async def test_a_cursor_at_the_end_of_a_lane(bench: Bench) -> None:
    """After the last job of a lane comes the first of the next one that has any."""
    await bench.put("a", at=9, lane=0)
    await bench.put("z", at=1, lane=2)
    first = await _page(bench, JobState.SCHEDULED, 1)
    assert [job.id for job in first] == ["a"]
    second = await _page(bench, JobState.SCHEDULED, 1, first[0])
    assert [job.id for job in second] == ["z"]
    assert await _page(bench, JobState.SCHEDULED, 1, second[0]) == []


async def test_pages_follow_the_order_of_bytes(bench: Bench) -> None:
    """Capitals, digits, accents and what sorts apart in every locale: in the order of the set, and each once."""
    ids = sorted(["a", "B", "b", "A", "ä", "z", "Z", "é", "_", "-", "aB", "Ab", "a-b", "1", "☃", "a b"], key=str.encode)
    await bench.put(*ids, at=9)
    assert await _walk(bench, JobState.SCHEDULED, 1) == ids


async def test_what_does_not_decode_is_listed(bench: Bench) -> None:
    """A damaged job is shown in its place with what is wrong, and a page may end with it."""
    ids = ["a", "b", "c", "d"]
    for lane in (0, 2):
        await bench.put(*(f"{lane}{each}" for each in ids), at=9, lane=lane)
        await bench.raw("HSET", bench.key("jobs"), f"{lane}b", f"{lane}{{damaged")
    await bench.raw("HDEL", bench.key("jobs"), "0c", "2c")
    assert await _walk(bench, JobState.SCHEDULED, 1) == [f"{lane}{each}" for lane in (0, 2) for each in ids]
    shown = [job for job in await _page(bench, JobState.SCHEDULED) if job.payload is None]
    assert [(job.id, job.priority, job.score_us) for job in shown] == [
        (each, priority, bench.at(9)) for each, priority in (("0b", 0), ("0c", 0), ("2b", 2), ("2c", 2))
    ]
    assert all(job.error for job in shown)
    bench.clean = False


async def test_a_malformed_claims_entry_is_shown_as_none(bench: Bench) -> None:
    """Inspection reads a damaged entry as the scripts do: no deliveries, and no due time known."""
    bench.clean = False
    await bench.put("a")
    await bench.claim()
    await bench.raw("HSET", bench.key("claims"), "a", "f00d:many")
    (job,) = await _page(bench, JobState.LEASED)
    assert (job.id, job.deliveries, job.due_us, job.due_at) == ("a", 0, None, None)


@pytest.mark.parametrize("score", ["-inf", "+inf"])
async def test_an_infinite_score_is_shown(bench: Bench, score: str) -> None:
    """Inspection and statistics survive a score that is no time."""
    bench.clean = False
    await bench.put("a")
    await bench.raw("ZADD", bench.key("due:1"), score, "a")
    (job,) = await _page(bench, JobState.SCHEDULED)
    assert job.due_us == {"-inf": 0, "+inf": 10**18}[score]
    _now, stats = await bench.run(bench.commands.stats())
    assert stats.scheduled == 1


async def test_missing(full: Bench) -> None:
    """Those with no job in any state, in the order they were asked for."""
    before = await full.state()
    ids = ["x", "all", "running", "died", "late", "", "x", "all "]
    assert await full.run(full.commands.missing(ids)) == ["x", "", "x", "all "]
    assert await full.run(full.commands.missing([])) == []
    assert await full.state() == before
    with pytest.raises(QueueUnavailable, match="more than 1000 ids in one call"):
        await full.run(full.commands.missing(["x"] * 1001))
    assert await full.run(full.commands.missing(["x"] * 1000)) == ["x"] * 1000


async def _stats(bench: Bench) -> tuple[int, Stats]:
    return await bench.run(bench.commands.stats())


async def test_stats(full: Bench) -> None:
    """Sizes, the head of the lanes, and how late it is."""
    await full.put("future", at=60)
    await full.claim(1, worker="w1")
    await full.claim(1, worker="w2")
    full.advance(1)
    await full.put("late2", "late3", at=2.25, lane=2)
    before = await full.state()
    now, stats = await _stats(full)
    assert now == full.at(4)
    assert stats == Stats(
        scheduled=4,
        due=2,
        parked=0,
        leased=2,
        done=0,
        dead=1,
        paused=False,
        workers=2,
        next_due_at=moment(full.at(2.25)),
        oldest_due_age=timedelta(seconds=1.75),
    )
    assert await full.state() == before
    full.advance(60)
    assert (await _stats(full))[1].workers == 0


async def test_stats_of_nothing_and_of_the_future(bench: Bench) -> None:
    """An empty queue has no head; one with nothing due has a head and no lateness."""
    counts = ("scheduled", "due", "parked", "leased", "done", "dead", "workers")
    empty: dict[str, Any] = dict.fromkeys(counts, 0) | {"paused": False}
    assert await _stats(bench) == (bench.at(0), Stats(**empty, next_due_at=None, oldest_due_age=timedelta(0)))
    await bench.put("a", at=2 * 86_400)
    assert await _stats(bench) == (
        bench.at(0),
        Stats(**empty | {"scheduled": 1}, next_due_at=moment(bench.at(2 * 86_400)), oldest_due_age=timedelta(0)),
    )
    assert (await bench.state())["due:1"] == {"a": 2 * 86_400 * S}
