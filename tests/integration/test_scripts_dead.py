"""The dead are bounded: by age and by count, oldest first, with everything that belongs to them."""

from __future__ import annotations

from tests.integration.script_bench import Bench, S, envelopes
from zqueue.commands import Kept

FOR_EVER = 10**6 * S


async def _bury(bench: Bench, *ids: str, kept: Kept) -> None:
    now = (bench.clock.now_us() - bench.start_us) / S
    await bench.put(*ids, at=now)
    await bench.claim(1000, kept=kept)
    assert await bench.settle(*ids, verb="bury", text="550", kept=kept) == ["ok"] * len(ids)


async def test_by_age(bench: Bench) -> None:
    """A job that has been dead for the whole time goes when the next one is buried; a younger one stays."""
    kept = Kept(keep_us=100 * S, most=1000)
    await _bury(bench, "old", kept=kept)
    bench.advance(1)
    await _bury(bench, "younger", kept=kept)
    bench.advance(99)
    await _bury(bench, "new", kept=kept)
    await bench.tokens()
    assert await bench.state() == {
        "dead": {"younger": S, "new": 100 * S},
        "jobs": envelopes(["younger", "new"]),
        "attempts": {"younger": b"1:550", "new": b"1:550"},
    }


async def test_by_count(bench: Bench) -> None:
    """Only the youngest are kept; of those that died at once, the last by id."""
    kept = Kept(keep_us=FOR_EVER, most=2)
    await _bury(bench, "a", "b", "c", kept=kept)
    assert sorted((await bench.state())["jobs"]) == ["b", "c"]
    bench.advance(1)
    await _bury(bench, "a", kept=kept)
    assert (await bench.state())["dead"] == {"a": S, "c": 0}
    assert sorted((await bench.state())["attempts"]) == ["a", "c"]
    await bench.claim(worker="w", kept=kept)
    assert (await bench.state())["dead"] == {"a": S, "c": 0}, "exactly at the bound nothing goes"


async def test_none_are_kept(bench: Bench) -> None:
    """With a count of nothing a buried job leaves nothing."""
    await _bury(bench, "a", "b", kept=Kept(FOR_EVER, 0))
    await bench.tokens()
    assert await bench.state() == {}


async def test_a_hundred_at_a_time(bench: Bench) -> None:
    """A lowered bound is reached in steps of a hundred, so that no call has to remove everything at once."""
    ids = [f"{n:03}" for n in range(450)]
    await _bury(bench, *ids, kept=Kept(FOR_EVER, 1000))
    left = [450]
    for _ in range(4):
        await bench.claim(worker="w", kept=Kept(FOR_EVER, 100))
        left.append(len((await bench.state())["dead"]))
    assert left == [450, 350, 250, 150, 100]
    assert list((await bench.state())["jobs"]) == ids[350:]
    bench.advance(10)
    for _ in range(2):
        await bench.claim(worker="w", kept=Kept(5 * S, 1000))
    assert set(await bench.state()) <= {"workers", "wake"}


async def test_an_idle_worker_trims(bench: Bench) -> None:
    """The dead age out though nothing dies any more: a claim that names its worker trims, others do not."""
    kept = Kept(100 * S, 1000)
    await _bury(bench, "a", kept=kept)
    bench.advance(100)
    await bench.claim(worker="", kept=kept)
    assert (await bench.state())["dead"] == {"a": 0}
    await bench.claim(worker="w", kept=kept)
    assert "dead" not in await bench.state()


async def test_what_was_trimmed_can_be_enqueued_again(bench: Bench) -> None:
    """Its id is free, and its past is forgotten."""
    await _bury(bench, "a", kept=Kept(FOR_EVER, 0))
    await bench.put("a")
    (delivery,) = (await bench.claim()).deliveries
    assert (delivery.deliveries, delivery.failed) == (1, b"")
