"""Jobs that are done and kept: with their results, each for its own time, and not more than so many."""

from __future__ import annotations

import pytest

from tests.integration.script_bench import KEEP, Bench, S, envelopes
from zqueue.commands import Kept, Settlement
from zqueue.envelope import NewJob
from zqueue.job import JobState


async def _done(bench: Bench, *ids: str, keep: float, kept: Kept = KEEP) -> None:
    """Run jobs to their end now, each to be kept for *keep* seconds."""
    now = (bench.clock.now_us() - bench.start_us) / S
    await bench.put(*ids, at=now)
    await bench.claim(1000)
    assert await bench.settle(*ids, verb="ack", delay=keep, text='"ok"', kept=kept) == ["ok"] * len(ids)


async def test_a_kept_job(bench: Bench) -> None:
    """It is among the done since now, with its result, until its time is over."""
    await _done(bench, "a", keep=60)
    await bench.tokens()
    assert await bench.state() == {
        "done": {"a": 0},
        "results": {"a": b'"ok"'},
        "claims": {"a": ("", 0, 60 * S)},
        "jobs": envelopes("a"),
    }
    job = await bench.run(bench.commands.get("a"))
    assert job is not None
    assert (job.state, job.result, job.ended_at, job.due_at) == (JobState.DONE, "ok", bench.clock.now(), None)
    assert await bench.run(bench.commands.jobs(JobState.DONE, 9, None)) == [job]
    assert await bench.run(bench.commands.missing(["a"])) == []


async def test_a_kept_job_has_ended(bench: Bench) -> None:
    """Its token settles, renews and reports nothing more; it cannot be cancelled."""
    await _done(bench, "a", keep=60)
    before = await bench.state()
    for verb in ("ack", "retry", "release", "bury"):
        assert await bench.settle("a", verb=verb, delay=9, text="late") == ["gone"]
    assert await bench.settle("a", verb="ack", token="") == ["gone"]
    assert await bench.extend("a") == ["gone"]
    assert await bench.cancel("a") == [False]
    assert await bench.state() == before


async def test_it_keeps_what_failed_before(bench: Bench) -> None:
    """The attempts it took stay with it, and go with it."""
    await bench.put("a")
    await bench.claim()
    await bench.settle("a", verb="retry", text="451")
    await bench.claim()
    await bench.settle("a", verb="ack", delay=5, text="1")
    assert (await bench.state())["attempts"] == {"a": b"1:451"}
    bench.advance(5)
    await bench.claim(worker="w")
    await bench.tokens()
    assert await bench.state() == {"workers": {"w": 5 * S}}


async def test_each_is_kept_for_its_own_time(bench: Bench) -> None:
    """A job with a short time goes though one with a long time ended before it; to the microsecond."""
    await _done(bench, "long", keep=600)
    bench.advance(1)
    await _done(bench, "short", keep=2)
    await _done(bench, "middle", keep=3)
    bench.advance(1.999_999)
    await bench.claim(worker="w")
    assert sorted((await bench.state())["done"]) == ["long", "middle", "short"]
    bench.advance(0.000_001)
    await bench.claim(worker="")
    assert sorted((await bench.state())["done"]) == ["long", "middle", "short"], (
        "a claim that names nobody trims nothing"
    )
    await bench.claim(worker="w")
    assert sorted((await bench.state())["done"]) == ["long", "middle"]
    bench.advance(1)
    await _done(bench, "new", keep=9)
    assert sorted((await bench.state())["results"]) == ["long", "new"], "an ending that is kept trims too"


async def test_short_times_behind_many_long_ones(bench: Bench) -> None:
    """Where more than a hundred are done, any hundred are looked at: those behind long-kept ones go before long."""
    await _done(bench, *(f"long{n:03}" for n in range(250)), keep=6000)
    await _done(bench, *(f"short{n:03}" for n in range(250)), keep=1)
    bench.advance(1)
    for _ in range(20):
        bench.advance(0.000_001)
        await bench.claim(worker="w")
    assert sorted((await bench.state())["done"]) == [f"long{n:03}" for n in range(250)]


async def test_not_more_than_so_many(bench: Bench) -> None:
    """The oldest go, a hundred a call, whatever time they had."""
    ids = [f"{n:03}" for n in range(350)]
    await _done(bench, *ids, keep=6000)
    bench.advance(1)
    await _done(bench, "new", keep=60, kept=Kept(100 * S, 2))
    assert len((await bench.state())["done"]) == 251
    for _ in range(3):
        await bench.claim(worker="w", kept=Kept(100 * S, 2))
    state = await bench.state()
    assert state["done"] == {"349": 0, "new": S}
    assert [sorted(state[name]) for name in ("jobs", "results", "claims")] == [["349", "new"]] * 3


async def test_none_are_kept(bench: Bench) -> None:
    """With a count of nothing a job that asks to be kept leaves nothing."""
    await _done(bench, "a", "b", keep=60, kept=Kept(100 * S, 0))
    await bench.tokens()
    assert await bench.state() == {}


async def test_the_ended_are_published(bench: Bench) -> None:
    """One message a call with the ids of those that are kept or dead; what leaves no trace is not told."""
    await bench.put("kept", "dead", "gone", "again", "lost")
    await bench.claim()
    items = [
        Settlement(b"kept", "f00d", "ack", 9, "1"),
        Settlement(b"gone", "f00d", "ack"),
        Settlement(b"dead", "f00d", "bury", 0, "550"),
        Settlement(b"again", "f00d", "retry", 9, "451"),
        Settlement(b"lost", "beef", "bury", 0, "550"),
    ]
    heard = await bench.listen(bench.run(bench.commands.settle(items, Kept(100 * S, 1000))))
    assert heard == [b"kept\ndead"]
    assert await bench.listen(bench.settle("again", verb="ack")) == []


@pytest.mark.parametrize("entry", [None, b"junk", b":0:"])
async def test_a_damaged_time_is_over(bench: Bench, entry: bytes | None) -> None:
    """A done job that does not say until when it is kept goes with the next look; so does one without a payload."""
    await _done(bench, "a", "b", "c", keep=60)
    if entry is None:
        await bench.raw("HDEL", bench.key("claims"), "a")
    else:
        await bench.raw("HSET", bench.key("claims"), "a", entry)
    await bench.raw("HDEL", bench.key("jobs"), "b")
    await bench.raw("ZADD", bench.key("done"), bench.at(-99), b"foreign\xff")
    await bench.claim(worker="w")
    assert sorted((await bench.state())["results"]) == ["b", "c"]
    bench.advance(60)
    await bench.claim(worker="w")
    await bench.tokens()
    assert await bench.state() == {"workers": {"w": 60 * S}}


async def test_a_done_job_keeps_its_id(bench: Bench) -> None:
    """Enqueue gives it back; once it is trimmed the id is free."""
    await _done(bench, "a", keep=5)
    (held,) = await bench.enqueue(NewJob("other", id="a"))
    assert not isinstance(held, int)
    assert held is not None
    assert (held.state, held.payload, held.created) == (JobState.DONE, "a", False)
    bench.advance(5)
    await bench.claim(worker="w")
    assert await bench.enqueue(NewJob("other", id="a")) == [5 * S]
