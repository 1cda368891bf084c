"""The scripts of schedules: recur, fire and unrecur, and what a claim says of schedules that are due."""

from __future__ import annotations

import pytest

from tests.integration.script_bench import Bench, S
from zqueue.errors import QueueUnavailable
from zqueue.replies import Fire

TIMES = b'["every",60000000]'
WHAT = b'once 1{"payload":1}'
SPEC = TIMES + b"\n" + WHAT


async def _recur(
    bench: Bench, slot: float, *, name: str = "n", times: bytes = TIMES, what: bytes = WHAT, forward: bool = False
) -> float:
    """Make or change a schedule; its next slot in seconds since the start."""
    next_us = await bench.run(bench.commands.recur(name, times, what, bench.at(slot), forward=forward))
    return (next_us - bench.start_us) / S


async def _fire(bench: Bench, slot: float, next_slot: float, *ids: str, name: bytes = b"n") -> int:
    """Move a schedule on, and make jobs due at the slot it leaves."""
    jobs = [(job_id.encode(), b'1{"payload":1}', bench.at(slot)) for job_id in ids]
    at = b"%d" % bench.at(slot)
    return await bench.run(bench.commands.fire(name, at, bench.at(next_slot), jobs))


async def test_a_new_schedule(bench: Bench) -> None:
    """Its spec and its next slot are kept, and the slot counts for the head."""
    assert await _recur(bench, 60) == 60
    assert await bench.tokens() == 0
    assert await bench.state() == {"recurring": {"n": SPEC}, "fires": {"n": 60 * S}}
    assert await _recur(bench, 3, name="m") == 3
    assert await bench.tokens() == 1
    assert (await bench.claim()).next_s == 3


async def test_the_same_again_changes_nothing(bench: Bench) -> None:
    """Fifty processes that start with the same schedule leave its slot, also one that is late, as it was."""
    await _recur(bench, 60)
    before = await bench.state()
    bench.advance(90)
    for _ in range(3):
        assert await _recur(bench, 150) == 60
    await bench.tokens()
    assert await bench.state() == before


async def test_other_jobs_at_the_same_times(bench: Bench) -> None:
    """A changed payload or policy is taken over, and the slot stays."""
    await _recur(bench, 60)
    assert await _recur(bench, 120, what=b'all 0{"payload":2}') == 60
    assert (await bench.state())["recurring"] == {"n": TIMES + b'\nall 0{"payload":2}'}


async def test_other_times(bench: Bench) -> None:
    """A changed schedule starts anew, be it earlier or later; times that only begin alike are other times."""
    await _recur(bench, 60)
    assert await _recur(bench, 10, times=TIMES[:-1]) == 10
    assert await _recur(bench, 90, times=TIMES) == 90
    assert (await bench.state())["fires"] == {"n": 90 * S}


async def test_no_slot_before_a_given_one(bench: Bench) -> None:
    """Who knows that slots were used up moves the schedule forward, and never back."""
    await _recur(bench, 60)
    assert await _recur(bench, 180, forward=True) == 180
    assert await _recur(bench, 120, forward=True) == 180
    assert await _recur(bench, 120) == 180


async def test_a_claim_says_what_is_due(bench: Bench) -> None:
    """Name, slot and spec of each, oldest first; it goes on saying so until the schedule is moved on."""
    await _recur(bench, 60)
    await _recur(bench, 50, name="m")
    await bench.put("a", at=60)
    bench.advance(59.999_999)
    assert [fire.name for fire in (await bench.claim()).fires] == [b"m"]
    bench.advance(0.000_001)
    claimed = await bench.claim()
    assert [fire._replace(slot=b"") for fire in claimed.fires] == [Fire(b"m", b"", SPEC), Fire(b"n", b"", SPEC)]
    assert [fire.slot_us for fire in claimed.fires] == [bench.at(50), bench.at(60)]
    assert [each.id for each in claimed.deliveries] == [b"a"]
    again = await bench.claim()
    assert (again.fires, again.next_s, again.more) == (claimed.fires, 0, True)
    assert await bench.run(bench.commands.fire(b"m", claimed.fires[0].slot, bench.at(110), [])) == 1
    assert [fire.name for fire in (await bench.claim()).fires] == [b"n"]


async def test_ten_schedules_at_a_time(bench: Bench) -> None:
    """A claim names ten, and says that there is more."""
    for n in range(12):
        await _recur(bench, n, name=f"n{n:02}")
    bench.advance(60)
    claimed = await bench.claim()
    assert [fire.name for fire in claimed.fires] == [b"n%02d" % n for n in range(10)]
    assert claimed.more


async def test_a_fire(bench: Bench) -> None:
    """In one step the schedule moves on and its job is there; somebody is woken."""
    await _recur(bench, 3)
    await bench.tokens()
    bench.advance(3)
    assert await _fire(bench, 3, 63, "n@3") == 1
    assert await bench.state() == {
        "recurring": {"n": SPEC},
        "fires": {"n": 63 * S},
        "due:1": {"n@3": 3 * S},
        "jobs": {"n@3": b'1{"payload":1}'},
    }
    assert await bench.claim_ids() == ["n@3"]


async def test_a_slot_is_fired_once(bench: Bench) -> None:
    """Of all who try, one moves the schedule; the others write nothing, also when they come much later."""
    await _recur(bench, 3)
    bench.advance(3)
    assert [await _fire(bench, 3, 63, "n@3") for _ in range(5)] == [1, 0, 0, 0, 0]
    assert await bench.claim_ids() == ["n@3"]
    await bench.settle("n@3", verb="ack")
    await bench.tokens()
    before = await bench.state()
    bench.advance(60)
    assert await _fire(bench, 3, 63, "n@3") == 0
    assert await _fire(bench, 62.999_999, 123, "n@62") == 0
    assert await bench.state() == before


async def test_a_fire_of_many_slots(bench: Bench) -> None:
    """All that were missed in one step, each in its lane with its own time; ids that are taken are kept."""
    await _recur(bench, 0)
    await bench.put("n@60", at=9)
    bench.advance(200)
    jobs = [(b"n@%d" % at, b'0{"payload":%d}' % at, bench.at(at)) for at in (0, 60, 120, 180)]
    assert await bench.run(bench.commands.fire(b"n", b"%d" % bench.at(0), bench.at(240), jobs)) == 1
    state = await bench.state()
    assert state["due:0"] == {"n@0": 0, "n@120": 120 * S, "n@180": 180 * S}
    assert state["due:1"] == {"n@60": 9 * S}
    assert state["jobs"]["n@60"] == b'1{"payload":"n@60"}'


async def test_a_fire_without_a_job(bench: Bench) -> None:
    """Slots that are skipped: the schedule moves on, and that is all."""
    await _recur(bench, 0)
    await bench.tokens()
    bench.advance(200)
    assert await _fire(bench, 0, 240) == 1
    assert await bench.state() == {"recurring": {"n": SPEC}, "fires": {"n": 240 * S}}


async def test_a_fire_of_too_much(bench: Bench) -> None:
    """1,001 jobs are refused before anything is written; 1,000 are taken."""
    await _recur(bench, 0)
    before = await bench.state()
    ids = [f"{n:04}" for n in range(1001)]
    with pytest.raises(QueueUnavailable, match="more than 1000 jobs in one call"):
        await _fire(bench, 0, 60, *ids)
    assert await bench.state() == before
    assert await _fire(bench, 0, 60, *ids[:1000]) == 1
    assert len((await bench.state())["due:1"]) == 1000


async def test_an_end(bench: Bench) -> None:
    """An ended schedule makes no more jobs, also not through somebody who saw it due; those it made stay."""
    await _recur(bench, 3)
    bench.advance(3)
    await _fire(bench, 3, 4, "n@3")
    bench.advance(1)
    assert [fire.name for fire in (await bench.claim(1)).fires] == [b"n"]
    assert await bench.run(bench.commands.unrecur("n")) == 1
    assert await _fire(bench, 4, 5, "n@4") == 0
    assert await bench.run(bench.commands.unrecur("n")) == 0
    state = await bench.state()
    assert ("recurring" in state, "fires" in state, list(state["jobs"])) == (False, False, ["n@3"])


async def test_what_is_no_schedule_is_dropped(bench: Bench) -> None:
    """Foreign members among the fires go with the first claim that meets them; the head moves on."""
    bench.clean = False
    await _recur(bench, 60)
    for score in (bench.at(-5), "-inf", 0):
        await bench.raw("ZADD", bench.key("fires"), score, b"foreign\xff%d" % hash(score))
    claimed = await bench.claim()
    assert (claimed.fires, claimed.next_s, claimed.more) == ([], 5, False)
    await bench.tokens()
    assert await bench.state() == {"recurring": {"n": SPEC}, "fires": {"n": 60 * S}}


async def test_a_spec_that_is_none_is_told(bench: Bench) -> None:
    """Whether a spec decodes is not the script's business: the worker gets it and puts it off."""
    await bench.raw("HSET", bench.key("recurring"), "n", b"\xffjunk")
    await bench.raw("ZADD", bench.key("fires"), bench.at(-1), "n")
    claimed = await bench.claim()
    assert claimed.fires == [Fire(b"n", claimed.fires[0].slot, b"\xffjunk")]
    assert await bench.run(bench.commands.fire(b"n", claimed.fires[0].slot, bench.at(60), [])) == 1
    assert (await bench.claim()).fires == []
    assert await _recur(bench, 30) == 30, "a proper schedule takes its place"


async def test_a_slot_without_a_spec_or_a_spec_without_a_slot(bench: Bench) -> None:
    """Half a schedule is none: the next recur makes it whole, from the slot it is given."""
    await bench.raw("HSET", bench.key("recurring"), "n", SPEC)
    assert await _recur(bench, 30) == 30
    await bench.raw("HDEL", bench.key("recurring"), "n")
    assert await _recur(bench, 40) == 40
