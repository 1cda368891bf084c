"""Garbage under a queue's keys: nothing spins, nothing fails, and the jobs beside it run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.script_bench import KEEP, Bench, S
from zqueue.job import JobState


@pytest.fixture
async def dirty(bench: Bench) -> Bench:
    """A bench that nobody expects to be sound in the end, with one good job `good` of the limited group `g`."""
    bench.clean = False
    await bench.limit("g", rate=1, most=2)
    await bench.put("good", group="g")
    return bench


async def _run_out(bench: Bench, seconds: int = 30) -> list[str]:
    """Claim, second by second, and settle what comes; no claim may ask for another more than a few times."""
    ran = []
    for _ in range(seconds):
        for _again in range(5):
            claimed = await bench.claim(worker="w")
            ids = [each.id.decode("utf-8", "backslashreplace") for each in claimed.deliveries]
            ran += ids
            if claimed.deliveries:
                await bench.settle(*ids, verb="ack")
            if not claimed.more:
                break
        else:
            pytest.fail(f"it spins: {claimed}")
        bench.advance(1)
    return ran


@pytest.mark.parametrize("score", ["-inf", "-1", "0", "1.5", "now", "+inf"])
@pytest.mark.parametrize(
    "name", ["due:0", "due:1", "due:2", "leased", "done", "dead", "gates", "fires", "tat", "parked"]
)
async def test_foreign_members(dirty: Bench, name: str, score: str) -> None:
    """Members that name no job, whatever their score: those in the way are dropped, and the good job runs."""
    at: Any = dirty.at(0) if score == "now" else score
    if name == "parked":
        at = 0  # as all there: of a set whose scores differ the server does not promise an order by members
    for member in (b"foreign", b"\xff\xfe", b"", b"g\0", b"g\x001junk", b"g\x0010000000000000000", b"\0"):
        await dirty.raw("ZADD", dirty.key(name), at, member)
    assert await _run_out(dirty) == ["good"]
    for state in JobState:
        await dirty.run(dirty.commands.jobs(state, 100, None))
    await dirty.run(dirty.commands.stats())


@pytest.mark.parametrize(
    "envelope", [b"", b"\xff", b"1", b"9{}", b"1{", b'1{"group":5}', b'1{"group":"', b'1{"group":"a\0b"}']
)
@pytest.mark.parametrize("place", ["due", "parked", "leased", "done", "dead"])
async def test_damaged_envelopes(dirty: Bench, place: str, envelope: bytes) -> None:
    """Whatever a payload has become, in whichever state: it is delivered for a worker to bury, or it leaves in time."""
    await dirty.put("bad", group="g" if place == "parked" else None, at=1)
    if place != "due":
        await dirty.claim()
        dirty.advance(1)
        await dirty.claim()
    if place in ("done", "dead"):
        verb: Any = "ack" if place == "done" else "bury"
        await dirty.settle("bad", verb=verb, delay=5, text="1")
    await dirty.raw("HSET", dirty.key("jobs"), "bad", envelope)
    ran = await _run_out(dirty)
    assert set(ran) <= {"good", "bad"}
    if place not in ("done", "dead"):
        assert "bad" in ran
    await dirty.run(dirty.commands.jobs(JobState.DEAD, 100, None))


@pytest.mark.parametrize(
    "entry", ["", "junk", "::", "100::", ".:.:.", "1:0:0", "0:1:", "1e9:1:1", ":1:99999999999999999999"]
)
@pytest.mark.parametrize("group", ["g", ""])
async def test_damaged_limits(dirty: Bench, group: str, entry: str) -> None:
    """A limit that does not read never breaks a claim, a settlement, or a change of the limit."""
    await dirty.put("a", "b", "c", group="g")
    await dirty.raw("HSET", dirty.key("limits"), group, entry)
    await _run_out(dirty, 5)
    await dirty.limit(None)
    await dirty.limit("g")
    ran = await _run_out(dirty, 5)
    await dirty.tokens()
    assert len(ran) <= 4
    assert {"parked", "gates"}.isdisjoint(await dirty.state())


@pytest.mark.parametrize("value", ["", "junk", "-5", "1.5", "9" * 30])
@pytest.mark.parametrize("name", ["running", "groups", "claims", "attempts", "progress", "results"])
async def test_damaged_entries(dirty: Bench, name: str, value: str) -> None:
    """Entries that do not read count as none: every script that meets them goes on."""
    await dirty.put("a", "b", group="g")
    field = "g" if name == "running" else "a"
    await dirty.raw("HSET", dirty.key(name), field, value)
    claimed = await dirty.claim()
    await dirty.raw("HSET", dirty.key(name), field, value)
    for each in claimed.deliveries:
        assert len(await dirty.settle(each.id.decode(), verb="retry", text="451")) == 1
    moved = await dirty.run(dirty.commands.reschedule(b"", ["a", "b"]))
    assert len(moved) == 2
    await dirty.run(dirty.commands.jobs(JobState.SCHEDULED, 100, None))
    await _run_out(dirty, 5)
    assert len(await dirty.cancel("a", "b", "good")) == 3
    await dirty.run(dirty.commands.purge(JobState.SCHEDULED, None, 100))


async def test_lost_gates(dirty: Bench) -> None:
    """Where the gates' key was deleted, the next job of a group that waits opens its gate again."""
    await dirty.put("a", group="g")
    await dirty.claim()
    await dirty.raw("DEL", dirty.key("gates"))
    dirty.advance(5)
    await dirty.put("b", at=5, group="g")
    assert sorted(await _run_out(dirty, 8)) == ["a", "b", "good"], "good's lease lapses meanwhile"


async def test_missing_payloads(dirty: Bench) -> None:
    """Jobs whose payload is gone leave each state with everything they had, and hold no slot of their group."""
    await dirty.put("parked", "later", at=0, group="g")
    assert await dirty.claim_ids() == ["good"]
    await dirty.put("dead", "done")
    await dirty.claim()
    await dirty.settle("dead", verb="bury", text="550")
    await dirty.settle("done", verb="ack", delay=9, text="1")
    for job_id in ("good", "parked", "dead", "done"):
        await dirty.raw("HDEL", dirty.key("jobs"), job_id)
    dirty.advance(200)
    assert await _run_out(dirty) == ["later"]
    state = await dirty.state()
    assert set(state) <= {"limits", "workers", "wake"}
    assert KEEP.keep_us == 100 * S, "or the dead would still be there"


async def test_a_parked_page_ends_with_damage(dirty: Bench) -> None:
    """Paging through the parked goes on behind a job whose envelope does not tell its group."""
    await dirty.put(*(f"{n}" for n in range(5)), group="g")
    await dirty.claim()
    for job_id in ("1", "3"):
        await dirty.raw("HSET", dirty.key("jobs"), job_id, "1{")
    seen, after = [], None
    for _ in range(20):
        page = await dirty.run(dirty.commands.jobs(JobState.SCHEDULED, 1, after))
        if not page:
            break
        after = page[0]
        seen.append(after.id)
    assert seen == ["1", "2", "3", "4", "good"]
