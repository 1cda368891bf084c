"""What operators do, script by script: reschedule, requeue, purge, pause and resume; and progress, by a handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.script_bench import LEASE, Bench, S, envelopes
from zqueue.commands import Call
from zqueue.envelope import NewJob
from zqueue.errors import QueueUnavailable
from zqueue.job import JobState


async def _reschedule(bench: Bench, when: bytes, *ids: str) -> list[bool]:
    return await bench.run(bench.commands.reschedule(when, ids))


async def _purge(bench: Bench, state: JobState, age: float | None = None, limit: int = 100) -> int:
    return await bench.run(bench.commands.purge(state, None if age is None else round(age * S), limit))


async def _pause(bench: Bench, *, paused: bool) -> None:
    await bench.run(bench.commands.pause(paused=paused))


async def test_reschedule_later_and_earlier(bench: Bench) -> None:
    """A waiting job gets another time in its own lane: an instant, a delay, or now."""
    await bench.put("a", at=5, lane=0)
    await bench.put("b", at=5, lane=2)
    await bench.put("c", at=5)
    bench.advance(1)
    assert await _reschedule(bench, b"%d" % bench.at(90), "a") == [True]
    assert await _reschedule(bench, b"+2500000", "b") == [True]
    assert await _reschedule(bench, b"", "c") == [True]
    await bench.tokens()
    assert await bench.state() == {
        "due:0": {"a": 90 * S},
        "due:1": {"c": S},
        "due:2": {"b": 3_500_000},
        "jobs": envelopes("a", 0) | envelopes("b", 2) | envelopes("c"),
    }


@pytest.mark.parametrize(("when", "tokens"), [(b"+1000000", 1), (b"+3500000", 0), (b"+4999999", 0), (b"+99000000", 0)])
async def test_a_job_that_comes_earlier_wakes(bench: Bench, when: bytes, tokens: int) -> None:
    """Somebody idle must hear of a new head at once; one behind the head, or far away, wakes nobody."""
    await bench.put("head", at=3)
    await bench.put("a", at=900)
    await bench.tokens()
    await _reschedule(bench, when, "a")
    assert await bench.tokens() == tokens


async def test_reschedule_only_what_waits(bench: Bench) -> None:
    """What runs, is done, is dead, or never was stays as it is."""
    await bench.put("runs", "done", "dead")
    await bench.claim()
    await bench.settle("done", verb="ack", delay=60, text="1")
    await bench.settle("dead", verb="bury", text="550")
    await bench.put("waits", at=5)
    before = await bench.state()
    assert await _reschedule(bench, b"+1", "runs", "done", "dead", "never") == [False] * 4
    assert await bench.state() == before
    assert await _reschedule(bench, b"", "never", "waits", "waits") == [False, True, True]


async def test_a_rescheduled_job_keeps_its_past(bench: Bench) -> None:
    """Failed attempts and deliveries stay counted; the time it had is forgotten, also when it is given back later."""
    await bench.put("a", at=-5)
    await bench.claim()
    await bench.settle("a", verb="retry", text="451")
    await bench.claim()
    bench.advance(10)
    await bench.claim()
    await bench.settle("a", verb="release")
    assert await _reschedule(bench, b"+3000000", "a") == [True]
    state = await bench.state()
    assert (state["due:1"], state["claims"], state["attempts"]) == (
        {"a": 13 * S},
        {"a": ("", 1, 13 * S)},
        {"a": b"1:451"},
    )
    bench.advance(3)
    (delivery,) = (await bench.claim()).deliveries
    assert (delivery.deliveries, delivery.due_us) == (2, bench.at(13))
    await bench.settle("a", verb="release")
    assert (await bench.state())["due:1"] == {"a": 13 * S}


async def test_reschedule_before_the_epoch(bench: Bench) -> None:
    """A time before 1970 is due at once, and breaks no entry."""
    await bench.put("a")
    await bench.claim()
    bench.advance(10)
    await bench.claim()
    await bench.settle("a", verb="release")
    assert await _reschedule(bench, b"-5", "a") == [True]
    (delivery,) = (await bench.claim()).deliveries
    assert (delivery.deliveries, delivery.due_us) == (2, 0)


async def test_requeue(bench: Bench) -> None:
    """A dead job waits again, due now in its lane, with nothing of its past; what is not dead stays."""
    await bench.put("a", lane=2)
    await bench.put("b", "kept")
    await bench.claim()
    await bench.settle("a", verb="bury", text="550")
    await bench.settle("kept", verb="ack", delay=60, text="1")
    bench.advance(2)
    await bench.tokens()
    assert await bench.run(bench.commands.requeue(["a", "b", "kept", "never", "a"])) == [True] + [False] * 4
    assert await bench.tokens() == 1
    state = await bench.state()
    assert (state["due:2"], "dead" in state, "attempts" in state) == ({"a": 2 * S}, False, False)
    (delivery,) = (await bench.claim()).deliveries
    assert (delivery.id, delivery.deliveries, delivery.failed) == (b"a", 1, b"")


async def test_requeue_of_poison(bench: Bench) -> None:
    """A job that was buried for killing its workers starts with all its deliveries, and no progress is left of it."""
    await bench.put("a")
    await bench.claim()
    assert await bench.run(bench.commands.progress((b"a", "f00d"), b"0.5")) == "ok"
    bench.advance(10)
    assert await bench.claim_ids(most=1) == []
    assert "progress" not in await bench.state()
    assert await bench.run(bench.commands.requeue(["a"])) == [True]
    assert (await bench.claim(most=1)).deliveries[0].deliveries == 1


async def test_purge_by_state(bench: Bench) -> None:
    """All of one state go with all that belongs to them; the other states stay."""
    await bench.put("done", "dead", "runs")
    await bench.claim()
    await bench.settle("done", verb="ack", delay=600, text="[1]")
    await bench.settle("dead", verb="bury", text="550")
    for lane in range(3):
        await bench.put(f"later{lane}", at=9 + lane, lane=lane)
    await bench.tokens()
    assert await _purge(bench, JobState.DONE) == 1
    assert {"done", "results"}.isdisjoint(await bench.state())
    assert await _purge(bench, JobState.SCHEDULED) == 3
    assert await _purge(bench, JobState.DEAD) == 1
    assert await bench.state() == {
        "leased": {"runs": LEASE},
        "jobs": envelopes(["runs"]),
        "claims": {"runs": ("f00d", 1, 0)},
    }
    assert await _purge(bench, JobState.DEAD) == 0


async def test_purge_by_age(bench: Bench) -> None:
    """What was due, or ended, at least so long ago; what is due in the future has no age."""
    await bench.put("a", "b")
    await bench.claim()
    for job_id in "ab":
        await bench.settle(job_id, verb="bury", text="550")
        bench.advance(10)
    await bench.put("late", at=5)
    await bench.put("now", at=20)
    await bench.put("later", at=40)
    assert await _purge(bench, JobState.DEAD, 20.000_001) == 0
    assert await _purge(bench, JobState.DEAD, 20) == 1
    assert list((await bench.state())["dead"]) == ["b"]
    assert await _purge(bench, JobState.SCHEDULED, 15) == 1
    assert await _purge(bench, JobState.SCHEDULED, 0) == 1
    assert (await bench.state())["due:1"] == {"later": 40 * S}


async def test_purge_in_steps(bench: Bench) -> None:
    """Oldest first, lane by lane, at most so many; fewer than that mean that no more are left."""
    for lane in range(3):
        await bench.put(*(f"{lane}.{n}" for n in range(3)), at=9, lane=lane)
    assert await _purge(bench, JobState.SCHEDULED, limit=4) == 4
    assert sorted((await bench.state())["jobs"]) == ["1.1", "1.2", "2.0", "2.1", "2.2"]
    assert await _purge(bench, JobState.SCHEDULED, limit=4) == 4
    assert await _purge(bench, JobState.SCHEDULED, limit=4) == 1
    await bench.tokens()
    assert await bench.state() == {}


async def test_purge_keeps_nothing_of_a_past(bench: Bench) -> None:
    """A purged job that had failed and crashed leaves neither attempts nor claims."""
    await bench.put("a")
    await bench.claim()
    await bench.settle("a", verb="retry", text="451")
    await bench.claim()
    bench.advance(10)
    await bench.claim()
    await bench.settle("a", verb="release")
    await bench.tokens()
    assert await _purge(bench, JobState.SCHEDULED) == 1
    assert await bench.state() == {}


async def test_a_paused_queue(bench: Bench) -> None:
    """Nothing is claimed, neither due nor expired, no schedule is told, nobody is woken; all waits where it is."""
    await bench.put("a", "b")
    await bench.claim(1, lease_us=S)
    await bench.run(bench.commands.recur("n", b"t", b"w", bench.at(1), forward=False))
    await _pause(bench, paused=True)
    bench.advance(2)
    await bench.tokens()
    before = await bench.state()
    claimed = await bench.claim(worker="w")
    assert (claimed.deliveries, claimed.fires, claimed.next_s, claimed.more) == ([], [], 5, False)
    assert await bench.state() == before
    assert before["paused"] == b"1"
    _now, stats = await bench.run(bench.commands.stats())
    assert stats.paused


async def test_what_runs_in_a_paused_queue_runs_on(bench: Bench) -> None:
    """Renewals, progress and endings are taken as ever."""
    await bench.put("a", "b")
    await bench.claim()
    await _pause(bench, paused=True)
    assert await bench.extend("a") == ["ok"]
    assert await bench.settle("a", "b", verb="ack") == ["ok", "ok"]


async def test_resume_wakes(bench: Bench) -> None:
    """Somebody looks at the head, unless there is nothing to look at soon; twice is as good as once."""
    await _pause(bench, paused=True)
    await _pause(bench, paused=True)
    await bench.put("far", at=60)
    await _pause(bench, paused=False)
    assert await bench.tokens() == 0
    await _pause(bench, paused=True)
    await bench.put("a")
    await bench.tokens()
    await _pause(bench, paused=False)
    assert await bench.tokens() == 1
    assert "paused" not in await bench.state()
    assert await bench.claim_ids() == ["a"]
    await _pause(bench, paused=False)
    assert "paused" not in await bench.state()


async def test_a_leaver_is_forgotten(bench: Bench) -> None:
    """A nudge of a worker that leaves takes it off the list of those seen; of nobody, it takes nobody off."""
    await bench.claim(worker="w1")
    await bench.claim(worker="w2")
    assert await bench.run(bench.commands.nudge("w1")) == 0
    assert await bench.run(bench.commands.nudge("w3")) == 0
    assert await bench.run(bench.commands.nudge()) == 0
    assert await bench.state() == {"workers": {"w2": 0}}


async def test_progress(bench: Bench) -> None:
    """What a handler says of itself is shown while it runs, the last word only, and is gone with its run."""
    await bench.put("a")
    await bench.claim()
    for value in (b"0.25", b'{"half":"\\u00fc"}'):
        assert await bench.run(bench.commands.progress((b"a", "f00d"), value)) == "ok"
    assert (await bench.state())["progress"] == {"a": b'{"half":"\\u00fc"}'}
    job = await bench.run(bench.commands.get("a"))
    assert job is not None
    assert (job.progress, job.state) == ({"half": "ü"}, JobState.LEASED)
    await bench.settle("a", verb="retry", text="451")
    assert "progress" not in await bench.state()


async def test_progress_is_fenced(bench: Bench) -> None:
    """Only the run that holds the job is heard: not a stranger's, nor one that ended, was cancelled, or never was."""
    await bench.put("mine", "ended", "cancelled", "back")
    await bench.claim()
    await bench.cancel("cancelled")
    await bench.settle("ended", verb="ack", delay=60, text="1")
    bench.advance(10)
    await bench.claim(token="beef")
    await bench.settle("back", verb="release", token="beef")
    before = await bench.state()
    said = {}
    for job_id in ("mine", "ended", "cancelled", "back", "never"):
        said[job_id] = await bench.run(bench.commands.progress((job_id.encode(), "f00d"), b"1"))
    assert said == {"mine": "stolen", "ended": "gone", "cancelled": "gone", "back": "gone", "never": "gone"}
    assert await bench.run(bench.commands.progress((b"back", ""), b"1")) == "gone"
    assert await bench.state() == before


async def test_progress_of_a_dead_worker(bench: Bench) -> None:
    """It is shown until somebody says something newer, and ends with the job."""
    await bench.put("a")
    await bench.claim()
    await bench.run(bench.commands.progress((b"a", "f00d"), b"1"))
    bench.advance(10)
    await bench.claim(token="beef")
    assert (await bench.state())["progress"] == {"a": b"1"}
    await bench.cancel("a")
    await bench.tokens()
    assert await bench.state() == {}


@pytest.mark.parametrize("name", ["reschedule", "requeue", "missing", "cancel"])
async def test_more_than_a_thousand_ids(bench: Bench, name: str) -> None:
    """1,001 are refused before anything is written, 1,000 taken."""
    await bench.enqueue(NewJob(1, id="0", delay=60))
    before = await bench.state()
    ids = [f"{n}" for n in range(1001)]
    commands = bench.commands
    calls: dict[str, Callable[[list[str]], Call[list[Any]]]] = {
        "reschedule": lambda these: commands.reschedule(b"", these),
        "requeue": commands.requeue,
        "missing": commands.missing,
        "cancel": commands.cancel,
    }
    with pytest.raises(QueueUnavailable, match="more than 1000 ids in one call"):
        await bench.run(calls[name](ids))
    assert await bench.state() == before
    answers = await bench.run(calls[name](ids[:1000]))
    assert len(answers) == (999 if name == "missing" else 1000)
