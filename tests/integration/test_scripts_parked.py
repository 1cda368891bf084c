"""Jobs that are parked, and what operators and producers do to them; and limits that change while jobs wait."""

from __future__ import annotations

from tests.integration.script_bench import Bench, S
from zqueue.envelope import NewJob
from zqueue.job import Job, JobRecord, JobState


async def test_a_cancelled_job_leaves_no_hole(rated: Bench) -> None:
    """What is cancelled while it is parked costs nobody a slot; when nobody waits any more, neither does the gate."""
    await rated.put(*"abcd", group="g")
    await rated.claim()
    assert await rated.cancel("b", "c") == [True, True]
    rated.advance(0.1)
    assert await rated.claim_ids() == ["d"]
    await rated.put("e", "f", group="g")
    assert await rated.claim_ids() == []
    assert "gates" in await rated.state()
    assert await rated.cancel("f", "e", "e") == [True, True, False]
    assert {"parked", "gates", "groups"}.isdisjoint(await rated.state())


async def test_a_rescheduled_job_is_parked_no_more(rated: Bench) -> None:
    """It waits in its lane for its new time, and then behind those of its group that wait."""
    await rated.put(*"abc", group="g")
    await rated.claim()
    assert await rated.run(rated.commands.reschedule(b"+50000", ["b"])) == [True]
    state = await rated.state()
    assert (state["due:1"], state["parked"], "groups" in state) == ({"b": 50_000}, {"c": ("g", 1, 0)}, False)
    rated.advance(0.05)
    assert await rated.claim_ids() == []
    assert (await rated.state())["parked"] == {"b": ("g", 1, 50_000), "c": ("g", 1, 0)}
    rated.advance(0.05)
    assert await rated.claim_ids() == ["c"]


async def test_the_last_parked_job_is_rescheduled(rated: Bench) -> None:
    """The gate goes with it."""
    await rated.put("a", "b", group="g")
    await rated.claim()
    assert await rated.run(rated.commands.reschedule(b"+9000000", ["b"])) == [True]
    assert {"parked", "gates", "groups"}.isdisjoint(await rated.state())


async def test_a_parked_job_is_replaced(rated: Bench) -> None:
    """The new job has nothing of the old one, not even its group."""
    await rated.put(*"abc", group="g")
    await rated.claim()
    await rated.enqueue(NewJob("new", id="b", group="other", on_conflict="replace"))
    await rated.enqueue(NewJob("new", id="c", delay=1, on_conflict="replace"))
    state = await rated.state()
    assert {"parked", "gates", "groups"}.isdisjoint(state)
    assert state["due:1"] == {"b": 0, "c": S}
    assert state["jobs"]["b"] == b'1{"group":"other","payload":"new"}'
    assert await rated.claim_ids() == ["b"]


async def test_an_id_that_is_parked_is_taken(rated: Bench) -> None:
    """Enqueue keeps a parked job and shows it, and so do get and missing."""
    await rated.put("a", "b", at=-1, group="g")
    await rated.claim()
    due = rated.at(-1)
    (held,) = await rated.enqueue(NewJob("other", id="b"))
    assert held == Job("b", "b", group="g", due_us=due, score_us=due, parked=True)
    expected = JobRecord("b", "b", group="g", due_us=due, score_us=due, parked=True)
    assert await rated.run(rated.commands.get("b")) == expected
    assert await rated.run(rated.commands.missing(["a", "b", "c"])) == ["c"]
    assert await rated.run(rated.commands.jobs(JobState.SCHEDULED, 9, None)) == [expected]
    _now, stats = await rated.run(rated.commands.stats())
    assert (stats.scheduled, stats.due, stats.parked, stats.leased) == (1, 1, 1, 1)


async def test_purge_takes_the_parked_too(rated: Bench) -> None:
    """All that wait go, with the gate; by age the parked are left alone; the count is exact."""
    await rated.put(*"abc", at=-9, group="g")
    await rated.claim()
    await rated.put("later", at=9)
    assert await rated.run(rated.commands.purge(JobState.SCHEDULED, S, 100)) == 0
    assert await rated.run(rated.commands.purge(JobState.SCHEDULED, None, 2)) == 2
    assert sorted((await rated.state())["jobs"]) == ["a", "c"]
    assert await rated.run(rated.commands.purge(JobState.SCHEDULED, None, 100)) == 1
    assert {"parked", "gates", "groups", "due:1"}.isdisjoint(await rated.state())


async def test_a_raised_rate_counts_at_once(bench: Bench) -> None:
    """Jobs that wait for tomorrow under one a day go at the new pace, and somebody is woken."""
    await bench.limit("g", rate=1, per=86_400)
    await bench.put(*"abcd", group="g")
    await bench.claim()
    await bench.tokens()
    await bench.limit("g", rate=10)
    assert await bench.tokens() == 1
    assert (await bench.claim()).next_s == 0.1
    bench.advance(0.1)
    assert await bench.claim_ids() == ["b"]
    await bench.limit("g", rate=10, burst=3)
    assert await bench.claim_ids() == ["c", "d"]


async def test_a_lowered_rate_counts_at_once(rated: Bench) -> None:
    """The next job waits for the slower pace, from when the last one started."""
    await rated.put(*"abc", group="g")
    await rated.claim()
    await rated.limit("g", rate=0.25)
    assert (await rated.claim()).next_s == 0.1, "what has started was paid for by the old rate"
    rated.advance(0.1)
    assert await rated.claim_ids() == ["b"]
    assert (await rated.claim()).next_s == 4


async def test_raised_and_lowered_concurrency(capped: Bench) -> None:
    """More places are filled at once; fewer are waited for, and nobody is stopped."""
    await capped.limit("g", most=3)
    assert await capped.tokens() == 1
    assert await capped.claim_ids() == ["c"]
    await capped.limit("g", most=1)
    assert await capped.claim_ids() == []
    await capped.settle("a", "b", verb="ack")
    assert await capped.claim_ids() == []
    await capped.settle("c", verb="ack")
    assert await capped.claim_ids() == ["d"]


async def test_a_lifted_limit_lets_all_go(capped: Bench) -> None:
    """What was parked starts, and what was counted is counted down to nothing."""
    await capped.limit("g")
    assert await capped.tokens() == 1
    assert await capped.claim_ids() == ["c", "d", "e"]
    await capped.settle(*"abcde", verb="ack")
    await capped.tokens()
    assert await capped.state() == {}


async def test_a_limit_that_is_lifted_for_one_group_of_two(capped: Bench) -> None:
    """The other keeps its own; the first group's jobs pass, those that come behind the parked ones as well."""
    await capped.limit("h", most=1)
    await capped.limit("g")
    await capped.put("f", at=-1, group="g")
    assert await capped.claim_ids() == ["c", "d", "e", "f"]
    assert (await capped.state())["limits"] == {"h": b":1:1"}


async def test_concurrency_instead_of_a_rate(rated: Bench) -> None:
    """Another kind of limit for the same group: jobs wait for it alone, and nothing of the rate is left."""
    await rated.put(*"abc", group="g")
    await rated.claim()
    await rated.limit("g", most=1)
    assert await rated.claim_ids() == ["b"], "a had started before runs were counted"
    assert await rated.claim_ids() == []
    state = await rated.state()
    assert ("tat" in state, "gates" in state, state["running"]) == (False, False, {"g": b"1"})


async def test_a_suspect_of_a_group(bench: Bench) -> None:
    """A parked job on its last delivery waits in its lane for a worker that has no other such job."""
    await bench.put("a", at=-1, group="g")
    for _ in range(2):
        await bench.claim()
        bench.advance(10)
    await bench.claim()
    await bench.settle("a", verb="release")
    await bench.limit("g", rate=1)
    await bench.put("b", at=-2, group="g")
    assert await bench.claim_ids() == ["b"]
    bench.advance(1)
    assert await bench.claim_ids(most=3, solo_ok=False) == []
    state = await bench.state()
    assert (state["due:1"], state["claims"]["a"]) == ({"a": 26 * S}, ("", 2, -S))
    assert {"parked", "gates", "groups"}.isdisjoint(state)
    bench.advance(5)
    (delivery,) = (await bench.claim(most=3)).deliveries
    assert (delivery.id, delivery.deliveries, delivery.due_us) == (b"a", 3, bench.at(-1))
