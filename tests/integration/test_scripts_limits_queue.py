"""Limits of the whole queue: they park nothing; a claim takes less, and says when there will be more."""

from __future__ import annotations

import pytest

from tests.integration.script_bench import LEASE, Bench, S
from zqueue.commands import Verb


async def test_a_rate(bench: Bench) -> None:
    """Jobs of any group, and of none, start one every 100 ms; the others stay where they are, and nobody is woken."""
    await bench.limit(None, rate=10)
    await bench.put("a", "b", group="g")
    await bench.put("c", "d")
    for job_id in "abcd":
        await bench.tokens()
        claimed = await bench.claim()
        assert [each.id.decode() for each in claimed.deliveries] == [job_id]
        assert (claimed.next_s, claimed.more, await bench.tokens()) == (0.1, False, 0)
        await bench.settle(job_id, verb="ack")
        state = await bench.state()
        assert {"parked", "gates", "groups", "running"}.isdisjoint(state)
        bench.advance(0.099_999)
        early = await bench.claim()
        assert (early.deliveries, early.next_s, early.more, await bench.tokens()) == ([], 1e-6, False, 0)
        bench.advance(0.000_001)
    assert (await bench.claim(worker="w")).next_s == 5
    assert await bench.state() == {"limits": {"": b"100000.000:1:"}, "workers": {"w": 400_000}}


async def test_a_burst(bench: Bench) -> None:
    """So many at once after a rest, and never more; a claim that is filled does not spend what it did not use."""
    await bench.limit(None, rate=3, burst=3)
    await bench.put(*(f"{n}" for n in range(9)))
    assert await bench.claim_ids(2) == ["0", "1"]
    assert await bench.claim_ids(5) == ["2"]
    shut = await bench.claim()
    assert (shut.deliveries, shut.next_s, shut.more) == ([], 0.333_334, False)
    bench.advance(shut.next_s)
    assert await bench.claim_ids() == ["3"]
    bench.advance(0.7)
    assert await bench.claim_ids() == ["4", "5"]
    bench.advance(5)
    assert await bench.claim_ids() == ["6", "7", "8"]


@pytest.mark.parametrize("rate", [3, 13.7, 123_456.789])
@pytest.mark.parametrize("burst", [1, 2, 100])
async def test_the_next_slot_is_never_now(bench: Bench, rate: float, burst: int) -> None:
    """Intervals that are no whole microseconds: who waits exactly as long as told gets a job, and is not told 0."""
    await bench.limit(None, rate=rate, burst=burst)
    await bench.put(*(f"{n:03}" for n in range(200)))
    started = len(await bench.claim_ids(lease_us=1000 * S))
    assert started == burst
    while started < burst + 50:
        wait = (await bench.claim(1)).next_s
        assert wait > 0
        bench.advance(wait)
        took = await bench.claim_ids(1, lease_us=1000 * S)
        assert len(took) == 1
        started += 1


async def test_concurrency(bench: Bench) -> None:
    """Two run at a time, whatever their groups; who finds it shut sleeps, and the end of a run wakes somebody."""
    await bench.limit(None, most=2)
    await bench.put("a", "b", group="g")
    await bench.put("c", "d")
    assert await bench.claim_ids() == ["a", "b"]
    await bench.tokens()
    shut = await bench.claim()
    assert (shut.deliveries, shut.next_s, shut.more, await bench.tokens()) == ([], 5, False, 0)
    await bench.settle("a", verb="ack")
    assert await bench.tokens() == 1
    claimed = await bench.claim()
    assert ([each.id for each in claimed.deliveries], claimed.next_s, claimed.more) == ([b"c"], 5, False)


@pytest.mark.parametrize("verb", ["ack", "retry", "snooze", "bury", "release"])
async def test_every_ending_wakes(bench: Bench, verb: Verb) -> None:
    """Whatever ends a run lets another start, and says so: a shut queue pushes no token by itself."""
    await bench.limit(None, most=1)
    await bench.put("a", "b")
    await bench.claim()
    await bench.tokens()
    assert await bench.settle("a", verb=verb, delay=60) == ["ok"]
    assert await bench.tokens() == 1
    assert await bench.claim_ids() == ["b"]


async def test_a_cancelled_run_wakes(bench: Bench) -> None:
    """Its place is free."""
    await bench.limit(None, most=1)
    await bench.put("a", "b")
    await bench.claim()
    await bench.tokens()
    await bench.cancel("a")
    assert await bench.tokens() == 1
    assert await bench.claim_ids() == ["b"]


async def test_an_expired_lease_is_claimed_though_the_queue_is_full(bench: Bench) -> None:
    """It holds its place: a dead worker's job runs again, and nothing beside it. The answer counts its lease."""
    await bench.limit(None, rate=0.01, most=1)
    await bench.put("a", "b")
    assert (await bench.claim(lease_us=3 * S)).next_s == 3
    bench.advance(3)
    claimed = await bench.claim(lease_us=4 * S)
    assert [each.id for each in claimed.deliveries] == [b"a"]
    assert (claimed.next_s, claimed.more) == (4, False)


async def test_a_queues_limit_and_a_groups(bench: Bench) -> None:
    """Both hold: the group's jobs are parked while the queue lets others start."""
    await bench.limit(None, most=3)
    await bench.limit("g", most=1)
    await bench.put("a", "b", "c", at=-1, group="g")
    await bench.put("d", "e", "f")
    assert await bench.claim_ids() == ["a", "d", "e"]
    state = await bench.state()
    assert sorted(state["parked"]) == ["b", "c"]
    assert (state["due:1"], state["running"]) == ({"f": 0}, {"g": b"1"})
    await bench.settle("a", verb="ack")
    assert await bench.claim_ids() == ["b"], "the gate first, then the lanes"


async def test_a_new_limit_counts_at_once(bench: Bench) -> None:
    """Raised or lifted, somebody is woken; a slower rate of before holds nobody up."""
    await bench.limit(None, rate=1, per=86_400)
    await bench.put(*"abcdefg")
    assert await bench.claim_ids() == ["a"]
    await bench.tokens()
    await bench.limit(None, rate=10, burst=2)
    assert await bench.tokens() == 1
    assert await bench.claim_ids() == []
    bench.advance(0.1)
    assert await bench.claim_ids() == ["b"]
    await bench.limit(None, most=3)
    assert await bench.claim_ids() == ["c"]
    await bench.tokens()
    await bench.limit(None)
    assert await bench.tokens() == 1
    assert await bench.claim_ids() == ["d", "e", "f", "g"]
    assert "limits" not in await bench.state()
    assert set((await bench.state())["leased"].values()) == {LEASE, LEASE + 100_000}


async def test_a_schedule_is_told_though_the_queue_is_shut(bench: Bench) -> None:
    """A limit holds jobs back, not the schedules that make them."""
    await bench.limit(None, most=1)
    await bench.put("a", "b")
    await bench.claim()
    await bench.run(bench.commands.recur("n", b"t", b"w", bench.at(2), forward=False))
    assert (await bench.claim()).next_s == 2
    bench.advance(2)
    claimed = await bench.claim()
    assert ([fire.name for fire in claimed.fires], claimed.deliveries) == ([b"n"], [])
