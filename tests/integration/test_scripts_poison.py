"""Jobs that kill their workers, and things that are no jobs: a claim buries or drops them and goes on."""

from __future__ import annotations

import pytest

from tests.integration.script_bench import LEASE, Bench, S, envelopes
from zqueue.commands import Kept

POISON = b"0:poison: its worker died or lost its lease on each of 3 deliveries"


async def _crash(bench: Bench, times: int, *, most: int = 3) -> None:
    """Claim everything due and let the leases end, *times* over."""
    for _ in range(times):
        assert await bench.claim_ids(most=most)
        bench.advance(LEASE / S)


async def test_poison_is_buried_by_the_next_claim(bench: Bench) -> None:
    """A job whose leases ended `most` times is dead in the claim itself, says why, and has cost it no attempt."""
    await bench.put("a")
    await _crash(bench, 3)
    assert await bench.claim_ids(most=3) == []
    assert await bench.state() == {
        "dead": {"a": 30 * S},
        "jobs": envelopes("a"),
        "attempts": {"a": POISON},
        "wake": 1,
    }


async def test_poison_keeps_its_failed_attempts(bench: Bench) -> None:
    """The attempts that failed properly stay counted when a job is buried for killing its workers."""
    await bench.put("a")
    await bench.claim()
    await bench.settle("a", verb="retry", text="451")
    await _crash(bench, 3)
    await bench.claim(most=3)
    assert (await bench.state())["attempts"] == {"a": POISON.replace(b"0:", b"1:")}


async def test_a_finished_attempt_starts_the_count_anew(bench: Bench) -> None:
    """Deliveries count since the last attempt that ended, so that a job that runs at last is no poison."""
    await bench.put("a")
    await _crash(bench, 2)
    assert (await bench.claim(most=3)).deliveries[0].deliveries == 3
    await bench.settle("a", verb="snooze")
    assert (await bench.claim(most=3)).deliveries[0].deliveries == 1


async def test_only_one_job_on_its_last_delivery_at_a_time(bench: Bench) -> None:
    """Of jobs that may be poison a claim takes one and puts the others off; jobs beyond suspicion come along."""
    await bench.put("a", "b", "c")
    await _crash(bench, 2)
    await bench.put("d")
    claimed = await bench.claim(most=3, token="beef")
    assert [(each.id, each.deliveries) for each in claimed.deliveries] == [(b"a", 3), (b"d", 1)]
    assert claimed.next_s == 5
    state = await bench.state()
    assert state["leased"] == {"a": 30 * S, "b": 25 * S, "c": 25 * S, "d": 30 * S}
    assert state["claims"]["b"] == ("f00d", 2, 0), "put off, not delivered"


@pytest.mark.parametrize(("solo_ok", "expected"), [(True, [(b"a", 2), (b"b", 3)]), (False, [(b"a", 2)])])
async def test_the_last_delivery_but_one_does_not_count(
    bench: Bench, solo_ok: bool, expected: list[tuple[bytes, int]]
) -> None:
    """A job that has a delivery left after this one runs beside a suspect, and where a suspect may not."""
    await bench.put("b")
    await _crash(bench, 1)
    await bench.put("a", at=-1)
    await _crash(bench, 1)
    claimed = await bench.claim(most=3, solo_ok=solo_ok)
    assert [(each.id, each.deliveries) for each in claimed.deliveries] == expected


async def test_without_leave_no_last_delivery_is_taken(bench: Bench) -> None:
    """A worker that is running a suspect already gets none of them; one that is not gets one later."""
    await bench.put("a", "b")
    await _crash(bench, 2)
    assert await bench.claim_ids(most=3, solo_ok=False) == []
    assert (await bench.state())["leased"] == {"a": 25 * S, "b": 25 * S}
    bench.advance(5)
    assert await bench.claim_ids(most=3) == ["a"]


async def test_a_first_delivery_is_never_a_last_one(bench: Bench) -> None:
    """With one delivery allowed, fresh jobs are under no suspicion: all of them are taken at once."""
    await bench.put("a", "b", "c")
    assert await bench.claim_ids(most=1, solo_ok=False) == ["a", "b", "c"]
    bench.advance(10)
    await bench.put("d")
    assert await bench.claim_ids(most=1) == ["d"]
    assert sorted((await bench.state())["dead"]) == ["a", "b", "c"]


async def test_a_suspect_waits_in_its_lane_too(bench: Bench) -> None:
    """A job that was given back before its last delivery is put off where it waits, and keeps its due time."""
    await bench.put("a")
    await _crash(bench, 2)
    await bench.claim(most=3)
    await bench.settle("a", verb="release")
    await bench.tokens()
    assert await bench.claim_ids(most=3, solo_ok=False) == []
    assert await bench.state() == {"due:1": {"a": 25 * S}, "jobs": envelopes("a"), "claims": {"a": ("", 2, 0)}}
    bench.advance(5)
    (again,) = (await bench.claim(most=3)).deliveries
    assert (again.deliveries, again.due_us) == (3, bench.at(0))


async def test_one_poison_job_does_not_take_its_neighbours_along(bench: Bench) -> None:
    """Of 20 jobs with one that kills every worker, exactly that one is buried, though all share their fate at first."""
    ids = [f"{n:02}" for n in range(20)]
    await bench.put(*ids)
    ran: list[str] = []
    for _ in range(60):
        claimed = await bench.claim_ids(10, most=3)
        if "07" not in claimed:
            ran += claimed
            if claimed:
                await bench.settle(*claimed, verb="ack")
        bench.advance(LEASE / S)
    assert ran == sorted(set(ran), key=ran.index)
    assert sorted(ran) == [each for each in ids if each != "07"]
    assert list((await bench.state())["dead"]) == ["07"]


async def test_burying_poison_bounds_the_dead(bench: Bench) -> None:
    """What claims bury is trimmed by the next one that says who claims."""
    await bench.put("a", "b", "c")
    await _crash(bench, 1)
    await bench.claim(most=1)
    await bench.claim(worker="w", kept=Kept(100 * S, 2))
    assert sorted((await bench.state())["jobs"]) == ["b", "c"]


async def test_an_id_without_an_envelope_is_dropped(bench: Bench) -> None:
    """A member that somebody else put into a lane or among the leased is removed, with all traces of it."""
    await bench.put("a")
    for name in ("due:0", "due:1", "due:2", "leased"):
        await bench.raw("ZADD", bench.key(name), bench.at(-1), b"foreign\xff" + name.encode())
    await bench.raw("HSET", bench.key("claims"), "foreign", "junk")
    await bench.raw("HSET", bench.key("attempts"), b"foreign\xffdue:1", "junk")
    assert await bench.claim_ids() == ["a"]
    await bench.raw("HDEL", bench.key("claims"), "foreign")
    assert await bench.state() == {
        "leased": {"a": 10 * S},
        "jobs": envelopes("a"),
        "claims": {"a": ("f00d", 1, 0)},
        "wake": 1,
    }


async def test_a_lost_payload_does_not_spin(bench: Bench) -> None:
    """A due job whose envelope is gone is dropped by the claim that meets it, which goes on to the next."""
    await bench.put("a", "b")
    await bench.raw("HDEL", bench.key("jobs"), "a")
    assert await bench.claim_ids(1) == ["b"]
    await bench.settle("b", verb="ack")
    assert await bench.state() == {"wake": 1}


async def test_an_undecodable_envelope_is_delivered(bench: Bench) -> None:
    """Whether JSON decodes is not the script's business: a worker gets it, and buries it."""
    await bench.put("a", lane=0)
    await bench.raw("HSET", bench.key("jobs"), "a", "\x00not an envelope")
    (delivery,) = (await bench.claim()).deliveries
    assert delivery.envelope == b"\x00not an envelope"
    assert await bench.settle("a", verb="bury", text="does not decode") == ["ok"]
    assert (await bench.state())["dead"] == {"a": 0}


async def test_malformed_entries_count_as_none(bench: Bench) -> None:
    """A claims or attempts entry that is none is read as the first delivery of a job that never failed."""
    await bench.put("a", at=-1)
    await bench.raw("HSET", bench.key("claims"), "a", "token:many:times")
    await bench.raw("HSET", bench.key("attempts"), "a", "junk")
    (delivery,) = (await bench.claim()).deliveries
    assert (delivery.deliveries, delivery.due_us) == (1, bench.at(-1))
    await bench.settle("a", verb="retry", text="451")
    assert (await bench.state())["attempts"] == {"a": b"1:451"}


async def test_a_score_that_is_no_time(bench: Bench) -> None:
    """Infinite scores, which no client of ours writes, neither break a claim nor stop it."""
    bench.clean = False
    await bench.put("past", "future", "b")
    await bench.raw("ZADD", bench.key("due:1"), "-inf", "past")
    await bench.raw("ZADD", bench.key("due:1"), "+inf", "future")
    claimed = await bench.claim()
    assert [(each.id, each.due_us) for each in claimed.deliveries] == [(b"past", 0), (b"b", bench.at(0))]
    assert await bench.claim_ids() == []
