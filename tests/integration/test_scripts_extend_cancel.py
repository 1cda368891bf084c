"""The scripts that touch single leases and jobs: extend, cancel, and what they do to each other."""

from __future__ import annotations

import pytest

from tests.integration.script_bench import Bench, S, envelopes
from zqueue.errors import QueueUnavailable


async def test_extend_moves_the_deadline(bench: Bench) -> None:
    """A renewed lease ends a whole lease from now; nothing else changes, and nobody is woken."""
    await bench.put("a", "b")
    await bench.claim()
    await bench.tokens()
    bench.advance(4)
    assert await bench.extend("a", lease_us=30 * S) == ["ok"]
    assert await bench.state() == {
        "leased": {"a": 34 * S, "b": 10 * S},
        "jobs": envelopes("ab"),
        "claims": {"a": ("f00d", 1, 0), "b": ("f00d", 1, 0)},
    }


async def test_a_late_renewal_counts_until_somebody_claims(bench: Bench) -> None:
    """A lease past its deadline is renewed if nobody took the job meanwhile, and is stolen after that."""
    await bench.put("a")
    await bench.claim()
    bench.advance(11)
    assert await bench.extend("a") == ["ok"]
    assert await bench.claim_ids(token="beef") == []
    bench.advance(10)
    assert await bench.claim_ids(token="beef") == ["a"]
    before = await bench.state()
    assert await bench.extend("a") == ["stolen"]
    assert await bench.state() == before


async def test_extend_answers_each(bench: Bench) -> None:
    """Held, taken by another, cancelled, done, given back, never there: each has its word, and only one its write."""
    await bench.put("held", "taken", "cancelled", "done", "back")
    await bench.claim()
    await bench.cancel("cancelled")
    await bench.settle("done", verb="ack")
    bench.advance(10)
    await bench.extend("held")
    await bench.claim(token="beef")
    await bench.settle("back", verb="release", token="beef")
    ids = ("held", "taken", "cancelled", "done", "back", "never")
    bench.advance(1)
    assert await bench.extend(*ids) == ["ok", "stolen", "gone", "gone", "gone", "gone"]
    assert (await bench.state())["leased"] == {"held": 21 * S, "taken": 20 * S}


async def test_extend_of_nothing_and_of_too_much(bench: Bench) -> None:
    """No leases: no answers. 1,000 are renewed, 1,001 refused before the first."""
    assert await bench.extend() == []
    ids = [f"{n:04}" for n in range(1001)]
    await bench.put(*ids[:1000])
    await bench.claim(1000)
    bench.advance(1)
    with pytest.raises(QueueUnavailable, match="more than 1000 leases in one call"):
        await bench.extend(*ids)
    assert set((await bench.state())["leased"].values()) == {10 * S}
    assert await bench.extend(*ids[:1000]) == ["ok"] * 1000
    assert set((await bench.state())["leased"].values()) == {11 * S}


async def test_extend_puts_nothing_among_the_leased(bench: Bench) -> None:
    """A job that somebody removed from the leased by hand does not come back by its renewal."""
    bench.clean = False
    await bench.put("a")
    await bench.claim()
    await bench.raw("ZREM", bench.key("leased"), "a")
    assert await bench.extend("a") == ["ok"]
    assert "leased" not in await bench.state()


async def test_cancel(bench: Bench) -> None:
    """A waiting job and a running one are taken away with every trace; the others stay."""
    await bench.put("failed", "released")
    await bench.claim()
    await bench.settle("failed", verb="retry", text="451", delay=60)
    bench.advance(10)
    await bench.claim()
    await bench.settle("released", verb="release", delay=60)
    await bench.put("running", at=10)
    await bench.put("waiting", "other", at=20, lane=2)
    await bench.put("later", at=20, lane=0)
    await bench.claim()
    await bench.tokens()
    assert (await bench.state())["claims"] == {"released": ("", 1, 0), "running": ("f00d", 1, 10 * S)}
    assert await bench.cancel("failed", "released", "running", "waiting", "later", "never") == [True] * 5 + [False]
    assert await bench.state() == {"due:2": {"other": 20 * S}, "jobs": envelopes(["other"], 2)}


async def test_cancel_leaves_the_dead(bench: Bench) -> None:
    """There is nothing to cancel about a job that has died: its record stays."""
    await bench.put("a")
    await bench.claim()
    await bench.settle("a", verb="bury", text="550")
    before = await bench.state()
    assert await bench.cancel("a", "a") == [False, False]
    assert await bench.state() == before


async def test_cancel_twice_in_one_call(bench: Bench) -> None:
    """Only one of two cancels of a job took something away."""
    await bench.put("a", at=50)
    assert await bench.cancel("a", "a") == [True, False]
    assert await bench.state() == {}


async def test_what_was_cancelled_stays_cancelled(bench: Bench) -> None:
    """No lease that ends and no late worker brings a cancelled job back."""
    await bench.put("a")
    await bench.claim()
    await bench.cancel("a")
    for verb in ("release", "retry", "snooze", "bury"):
        assert await bench.settle("a", verb=verb) == ["gone"]
    bench.advance(60)
    assert await bench.claim_ids() == []
    await bench.tokens()
    assert await bench.state() == {}


async def test_cancel_of_nothing_and_of_too_much(bench: Bench) -> None:
    """No ids: no answers. 1,001 are refused before the first is taken away."""
    assert await bench.cancel() == []
    ids = [f"{n:04}" for n in range(1001)]
    await bench.put(*ids[:1000], at=50)
    with pytest.raises(QueueUnavailable, match="more than 1000 ids in one call"):
        await bench.cancel(*ids)
    assert len((await bench.state())["jobs"]) == 1000
    assert await bench.cancel(*ids[:1000]) == [True] * 1000
    assert await bench.state() == {}
