"""Limits of groups: a job that may not start is parked once, and its group's gate lets it out at the right time."""

from __future__ import annotations

import pytest

from tests.integration.script_bench import LEASE, Bench, S, envelopes
from zqueue.commands import Verb


async def _limits(bench: Bench) -> dict[str, bytes]:
    state = await bench.state()
    limits: dict[str, bytes] = state["limits"]
    return limits


async def test_what_may_not_start_is_parked(rated: Bench) -> None:
    """The first job starts; the others wait under their group, whose gate opens when the next may start."""
    await rated.put(*"abc", group="g")
    claimed = await rated.claim()
    assert [each.id for each in claimed.deliveries] == [b"a"]
    assert (claimed.next_s, claimed.more) == (0.1, False)
    assert await rated.state() == {
        "leased": {"a": LEASE},
        "parked": {"b": ("g", 1, 0), "c": ("g", 1, 0)},
        "gates": {"g": 100_000},
        "tat": {"g": 100_000},
        "limits": {"g": b"100000.000:1:"},
        "jobs": envelopes("abc", group="g"),
        "claims": {"a": ("f00d", 1, 0)},
        "wake": 1,
    }


async def test_a_rate_is_kept_to_the_microsecond(rated: Bench) -> None:
    """One job every 100 ms, none a microsecond before; and when all are done only the limit is left."""
    ids = [f"{n}" for n in range(5)]
    await rated.put(*ids, group="g")
    for job_id in ids:
        assert await rated.claim_ids() == [job_id]
        assert await rated.settle(job_id, verb="ack") == ["ok"]
        rated.advance(0.099_999)
        early = await rated.claim()
        assert (early.deliveries, early.more) == ([], False)
        assert early.next_s == (5 if job_id == "4" else 1e-6)
        rated.advance(0.000_001)
    await rated.claim(worker="w")
    await rated.tokens()
    assert await rated.state() == {"limits": await _limits(rated), "workers": {"w": 500_000}}


async def test_a_parked_job_is_put_back_once(rated: Bench) -> None:
    """However many claims look in vain, what is parked is not touched again."""
    await rated.put(*"abc", group="g")
    await rated.claim()
    before = await rated.state()
    for _ in range(50):
        rated.advance(0.001)
        claimed = await rated.claim()
        assert (claimed.deliveries, claimed.more) == ([], False)
        assert await rated.state() == before


async def test_a_burst(bench: Bench) -> None:
    """So many at once and then one at a time; a long rest earns one burst, and not more."""
    await bench.limit("g", rate=2, burst=3)
    await bench.put(*(f"{n:02}" for n in range(12)), group="g")
    assert await bench.claim_ids() == ["00", "01", "02"]
    assert (await bench.claim()).next_s == 0.5
    bench.advance(0.5)
    assert await bench.claim_ids() == ["03"]
    bench.advance(1)
    assert await bench.claim_ids() == ["04", "05"]
    await bench.settle(*(f"{n:02}" for n in range(6)), verb="ack")
    bench.advance(3600)
    assert await bench.claim_ids() == ["06", "07", "08"]


async def test_a_rate_that_is_no_whole_number_of_microseconds(bench: Bench) -> None:
    """Thirds of a second: 300 starts take 100 seconds, each late by less than a microsecond."""
    await bench.limit("g", rate=3)
    await bench.put(*(f"{n:03}" for n in range(301)), group="g")
    for _ in range(300):
        (job_id,) = await bench.claim_ids()
        await bench.settle(job_id, verb="ack")
        bench.advance((await bench.claim()).next_s)
    assert 0 <= bench.clock.now_us() - bench.at(100) < 300
    assert await bench.claim_ids() == ["300"]


async def test_concurrency(capped: Bench) -> None:
    """Two run; the others are parked without a gate, since only the end of a run can let one out."""
    await capped.tokens()
    assert await capped.state() == {
        "leased": {"a": LEASE, "b": LEASE},
        "parked": dict.fromkeys("cde", ("g", 1, 0)),
        "groups": {"a": b"g", "b": b"g"},
        "running": {"g": b"2"},
        "limits": {"g": b":1:2"},
        "jobs": envelopes("abcde", group="g"),
        "claims": {"a": ("f00d", 1, 0), "b": ("f00d", 1, 0)},
    }
    claimed = await capped.claim()
    assert (claimed.deliveries, claimed.next_s, claimed.more) == ([], 5, False)


@pytest.mark.parametrize("verb", ["ack", "retry", "snooze", "bury", "release"])
async def test_every_ending_frees_the_slot(capped: Bench, verb: Verb) -> None:
    """The gate opens at once, somebody is woken, and exactly one job takes the place."""
    assert await capped.settle("a", verb=verb, delay=60) == ["ok"]
    state = await capped.state()
    assert (state["gates"], state["running"], state["wake"]) == ({"g": 0}, {"g": b"1"}, 1)
    assert await capped.claim_ids() == ["c"]
    assert (await capped.state())["running"] == {"g": b"2"}
    assert await capped.claim_ids() == []
    assert "gates" not in await capped.state()


async def test_a_cancelled_run_frees_the_slot(capped: Bench) -> None:
    """Its place is taken as if it had ended."""
    assert await capped.cancel("b") == [True]
    assert await capped.tokens() == 1
    assert await capped.claim_ids() == ["c"]


async def test_poison_frees_the_slot(bench: Bench) -> None:
    """A job that is buried for killing its workers gives its place to the next, in the same claim."""
    await bench.limit("g", most=1)
    await bench.put("a", "b", group="g")
    await bench.claim()
    bench.advance(10)
    assert await bench.claim_ids(most=1) == ["b"]
    state = await bench.state()
    assert (state["dead"], state["running"], state["groups"]) == ({"a": 10 * S}, {"g": b"1"}, {"b": b"g"})


async def test_an_expired_lease_keeps_its_slot(capped: Bench) -> None:
    """The job of a dead worker is run again in the place it holds: no third one runs, and none is lost after it."""
    capped.advance(10)
    assert await capped.claim_ids(token="beef") == ["a", "b"]
    assert (await capped.state())["running"] == {"g": b"2"}
    assert await capped.settle("a", verb="ack") == ["stolen"]
    assert await capped.claim_ids() == []
    assert await capped.settle("a", "b", verb="ack", token="beef") == ["ok", "ok"]
    assert await capped.claim_ids() == ["c", "d"]
    await capped.settle("c", "d", verb="ack")
    assert await capped.claim_ids() == ["e"]
    await capped.settle("e", verb="ack")
    await capped.tokens()
    assert await capped.state() == {"limits": {"g": b":1:2"}}


async def test_rate_and_concurrency_together(bench: Bench) -> None:
    """Whichever is tighter holds: the rate while places are free, then the end of a run."""
    await bench.limit("g", rate=1, most=2)
    await bench.put(*"abcd", group="g")
    assert await bench.claim_ids() == ["a"]
    bench.advance(1)
    assert await bench.claim_ids() == ["b"]
    assert (await bench.claim()).next_s == 5
    assert "gates" not in await bench.state(), "full, whatever the rate says"
    bench.advance(1)
    await bench.settle("a", verb="ack")
    assert await bench.claim_ids() == ["c"]
    await bench.settle("b", verb="ack")
    shut = await bench.claim()
    assert (shut.deliveries, shut.next_s) == ([], 1), "a place, but no slot of the rate"
    bench.advance(1)
    assert await bench.claim_ids() == ["d"]


async def test_groups_do_not_touch_each_other(rated: Bench) -> None:
    """Another group's limit, a group without one, and jobs of no group: each as if alone, whatever their names."""
    await rated.limit("gg", most=1)
    for group in ("g", "gg", "G", "", "g\u00ef", 'g"x', "g\\"):
        await rated.put(f"1{group}", f"2{group}", group=group or None)
    first = await rated.claim_ids()
    assert sorted(first) == sorted(
        ["1g", "1gg", "1G", "2G", "1", "2", "1g\u00ef", "2g\u00ef", '1g"x', '2g"x', "1g\\", "2g\\"]
    )
    assert (await rated.state())["parked"] == {"2g": ("g", 1, 0), "2gg": ("gg", 1, 0)}
    await rated.settle("1gg", verb="ack")
    assert await rated.claim_ids() == ["2gg"]
    rated.advance(0.1)
    assert await rated.claim_ids() == ["2g"]


@pytest.mark.parametrize("group", ['a"b', "a\\b", 'ünï"☃'])
async def test_a_name_that_json_escapes(bench: Bench, group: str) -> None:
    """A quote or a backslash in a group's name: the limit is found all the same."""
    await bench.limit(group, most=1)
    await bench.put("a", "b", group=group)
    assert await bench.claim_ids() == ["a"]
    assert (await bench.state())["parked"] == {"b": (group, 1, 0)}
    await bench.settle("a", verb="ack")
    assert await bench.claim_ids() == ["b"]


async def test_a_high_job_of_a_parked_group_goes_first(rated: Bench) -> None:
    """At the group's next slot the first lane goes first, then the due time, then the id."""
    await rated.put("n2", "n1", at=-1, group="g")
    await rated.put("n0", at=-3, group="g")
    await rated.put("low", at=-9, lane=2, group="g")
    assert await rated.claim_ids() == ["n0"]
    await rated.put("high", lane=0, group="g")
    assert await rated.claim_ids() == []
    order = []
    for _ in range(4):
        rated.advance(0.1)
        order += await rated.claim_ids()
    assert order == ["high", "n1", "n2", "low"]


async def test_a_job_of_a_waiting_group_does_not_overtake(rated: Bench) -> None:
    """A job that falls due at the very moment at which its group may start goes behind those that wait."""
    await rated.put("a", "b", at=-1, group="g")
    await rated.claim()
    rated.advance(0.1)
    await rated.put("new", at=-5, group="g")
    assert await rated.claim_ids() == ["b"]
    assert (await rated.state())["parked"] == {"new": ("g", 1, -5 * S)}


async def test_a_job_without_a_limit_passes(rated: Bench) -> None:
    """A slot that is free is taken straight from the lane: nothing is parked."""
    await rated.put("a", group="g")
    assert await rated.claim_ids() == ["a"]
    assert {"parked", "gates", "groups"}.isdisjoint(await rated.state())


async def test_nothing_unlimited_waits(rated: Bench) -> None:
    """Ten free jobs behind 10,000 limited ones: each claim looks at 250 and asks for the next, none looks twice."""
    for n in range(10):
        await rated.put(*(f"{n}{m:03}" for m in range(1000)), at=-1, group="g")
    await rated.put(*(f"free{n}" for n in range(10)))
    parked: list[int] = []
    free: list[bytes] = []
    claims = 0
    while len(free) < 10:
        claimed = await rated.claim(100)
        claims += 1
        free += [each.id for each in claimed.deliveries if each.id.startswith(b"free")]
        parked.append(await rated.raw("ZCARD", rated.key("parked")))
        assert claimed.more == (len(free) < 10)
    assert claims == 41
    assert parked == [250 * n - 1 for n in range(1, 41)] + [9999]
    assert (await rated.claim(100)).next_s == 0.1


async def test_a_hundred_gates_at_once(bench: Bench) -> None:
    """Many groups whose slot comes at the same time: each starts one job, in as many claims as that takes."""
    groups = [f"g{n:03}" for n in range(150)]
    for group in groups:
        await bench.limit(group, rate=1)
        await bench.put(*(f"{group}.{n}" for n in range(3)), group=group)
    started: list[str] = []
    for second in range(3):
        more = True
        while more:
            claimed = await bench.claim(100)
            started += [each.id.decode() for each in claimed.deliveries]
            more = claimed.more or len(claimed.deliveries) == 100
        assert sorted(started) == sorted(f"{group}.{n}" for group in groups for n in range(second + 1))
        bench.advance(1)
