"""The settle script: each ending of a run, fenced by the token of its claim."""

from __future__ import annotations

import pytest

from tests.integration.script_bench import KEEP, LEASE, Bench, S, envelopes
from zqueue.commands import Settlement, Verb
from zqueue.errors import QueueUnavailable

VERBS: tuple[Verb, ...] = ("ack", "retry", "snooze", "bury", "release")


@pytest.fixture
async def leased(bench: Bench) -> Bench:
    """A bench with one job `a` that was due at 1 s and is leased at 3 s on its first delivery, and no token."""
    await bench.put("a", at=1)
    bench.advance(3)
    assert await bench.claim_ids() == ["a"]
    await bench.tokens()
    return bench


async def test_ack_leaves_nothing(leased: Bench) -> None:
    """A job that is done is gone, with every trace of it."""
    await leased.settle("a", verb="retry", text="once")
    await leased.claim()
    await leased.tokens()
    assert await leased.settle("a", verb="ack") == ["ok"]
    assert await leased.state() == {}


async def test_retry(leased: Bench) -> None:
    """A failed attempt is counted with its error, and the job waits out its delay."""
    assert await leased.settle("a", verb="retry", delay=2.5, text="451: try later") == ["ok"]
    assert await leased.state() == {
        "due:1": {"a": 5_500_000},
        "jobs": envelopes("a"),
        "attempts": {"a": b"1:451: try later"},
        "wake": 1,
    }
    leased.advance(2.5)
    await leased.claim()
    await leased.settle("a", verb="retry", delay=60, text="")
    assert (await leased.state())["attempts"] == {"a": b"2:"}


async def test_snooze(leased: Bench) -> None:
    """Put off without an attempt."""
    assert await leased.settle("a", verb="snooze", delay=2.5, text="not kept") == ["ok"]
    assert await leased.state() == {"due:1": {"a": 5_500_000}, "jobs": envelopes("a"), "wake": 1}


async def test_bury(leased: Bench) -> None:
    """Among the dead since now, its attempt counted, its error kept; nobody is woken."""
    assert await leased.settle("a", verb="bury", text="550") == ["ok"]
    assert await leased.state() == {"dead": {"a": 3 * S}, "jobs": envelopes("a"), "attempts": {"a": b"1:550"}}


async def test_release_of_a_first_delivery(leased: Bench) -> None:
    """Given back as if never claimed: at its old due time, with no delivery and no attempt spent."""
    assert await leased.settle("a", verb="release") == ["ok"]
    assert await leased.state() == {"due:1": {"a": S}, "jobs": envelopes("a"), "wake": 1}
    assert (await leased.claim()).deliveries[0].deliveries == 1


async def test_release_after_a_crash_gives_back_one_delivery_only(leased: Bench) -> None:
    """The deliveries of workers that died stay counted, and so does the due time."""
    leased.advance(10)
    await leased.claim()
    await leased.tokens()
    assert await leased.settle("a", verb="release") == ["ok"]
    assert await leased.state() == {
        "due:1": {"a": S},
        "jobs": envelopes("a"),
        "claims": {"a": ("", 1, S)},
        "wake": 1,
    }
    (again,) = (await leased.claim(token="beef")).deliveries
    assert (again.deliveries, again.due_us) == (2, leased.at(1))
    assert (await leased.state())["claims"] == {"a": ("beef", 2, S)}


async def test_release_with_a_delay(leased: Bench) -> None:
    """A job nobody here knows is left to others for a while, at no cost to it."""
    assert await leased.settle("a", verb="release", delay=4) == ["ok"]
    assert await leased.state() == {"due:1": {"a": 7 * S}, "jobs": envelopes("a"), "wake": 1}


async def test_a_job_goes_back_to_its_own_lane(bench: Bench) -> None:
    """Whatever sends a job back sends it to the lane its envelope names."""
    for lane in range(3):
        await bench.put(f"l{lane}", lane=lane)
    for verb in ("retry", "snooze", "release"):
        assert await bench.claim_ids() == ["l0", "l1", "l2"]
        assert await bench.settle("l0", "l1", "l2", verb=verb) == ["ok"] * 3
        state = await bench.state()
        assert [state[f"due:{lane}"] for lane in range(3)] == [{f"l{lane}": 0} for lane in range(3)]
        assert "leased" not in state


@pytest.mark.parametrize("verb", VERBS)
async def test_after_its_deadline_a_token_still_counts(leased: Bench, verb: Verb) -> None:
    """Until somebody else claims the job, its late worker may settle it: the work was done."""
    leased.advance(3600)
    assert await leased.settle("a", verb=verb) == ["ok"]
    assert "leased" not in await leased.state()


@pytest.mark.parametrize("verb", VERBS)
async def test_the_late_write_of_an_old_token_changes_nothing(leased: Bench, verb: Verb) -> None:
    """Once another claim has the job, its former worker is told so and nothing is written."""
    leased.advance(10)
    await leased.claim(token="beef")
    before = await leased.state()
    assert await leased.settle("a", verb=verb, delay=5, text="late") == ["stolen"]
    assert await leased.state() == before
    assert await leased.settle("a", verb="ack", token="beef") == ["ok"]


@pytest.mark.parametrize("verb", VERBS)
async def test_nothing_to_settle_is_gone(bench: Bench, verb: Verb) -> None:
    """A job that was cancelled, has ended, waits, was given back or never was: gone, and nothing is written."""
    await bench.put("cancelled", "ended", "dead", "back", "crashed")
    await bench.claim()
    await bench.cancel("cancelled")
    await bench.settle("ended", verb="ack")
    await bench.settle("dead", verb="bury", text="550")
    await bench.settle("back", verb="snooze", delay=50)
    bench.advance(10)
    await bench.claim()
    await bench.settle("crashed", verb="release")
    await bench.put("waits", at=100)
    before = await bench.state()
    assert before["claims"] == {"crashed": ("", 1, 0)}
    ids = ("cancelled", "ended", "dead", "back", "crashed", "waits", "never")
    assert await bench.settle(*ids, verb=verb, delay=5, text="late") == ["gone"] * 7
    assert await bench.settle(*ids, verb=verb, delay=5, text="late", token="") == ["gone"] * 7
    assert await bench.state() == before


async def test_each_item_has_its_own_answer_and_effect(bench: Bench) -> None:
    """Five endings, a stranger's token and a job that is none, in one call."""
    await bench.put("ack", "retry", "snooze", "bury", "release", "mine")
    await bench.claim()
    bench.advance(1)
    await bench.tokens()
    items = [
        Settlement(b"ack", "f00d", "ack"),
        Settlement(b"retry", "f00d", "retry", 2 * S, "451"),
        Settlement(b"snooze", "f00d", "snooze", 3 * S),
        Settlement(b"mine", "beef", "bury", 0, "not yours"),
        Settlement(b"bury", "f00d", "bury", 0, "550"),
        Settlement(b"none", "f00d", "ack"),
        Settlement(b"release", "f00d", "release"),
    ]
    now, answers = await bench.run(bench.commands.settle(items, KEEP))
    assert now == bench.at(1)
    assert answers == ["ok", "ok", "ok", "stolen", "ok", "gone", "ok"]
    assert await bench.state() == {
        "due:1": {"release": 0, "retry": 3 * S, "snooze": 4 * S},
        "leased": {"mine": LEASE},
        "dead": {"bury": S},
        "jobs": envelopes(["retry", "snooze", "bury", "release", "mine"]),
        "claims": {"mine": ("f00d", 1, 0)},
        "attempts": {"retry": b"1:451", "bury": b"1:550"},
        "wake": 1,
    }


async def test_a_job_twice_in_one_call(leased: Bench) -> None:
    """The first ending counts; the second finds it gone, as it would have in a call of its own."""
    items = [Settlement(b"a", "f00d", "retry", 5 * S, "first"), Settlement(b"a", "f00d", "bury", 0, "second")]
    assert (await leased.run(leased.commands.settle(items, KEEP)))[1] == ["ok", "gone"]
    assert await leased.state() == {
        "due:1": {"a": 8 * S},
        "jobs": envelopes("a"),
        "attempts": {"a": b"1:first"},
    }


async def test_nothing_at_all(bench: Bench) -> None:
    """No items: the time, and no answers."""
    assert await bench.run(bench.commands.settle([], KEEP)) == (bench.at(0), [])
    assert await bench.state() == {}


async def test_a_thousand_items_and_one_more(bench: Bench) -> None:
    """A script settles 1,000 runs; 1,001 are refused before the first is touched."""
    ids = [f"{n:04}" for n in range(1001)]
    await bench.put(*ids[:1000])
    await bench.put(ids[1000])
    await bench.claim(1000)
    await bench.claim(1000)
    await bench.tokens()
    before = await bench.state()
    with pytest.raises(QueueUnavailable, match="more than 1000 items in one call"):
        await bench.settle(*ids, verb="ack")
    assert await bench.state() == before
    assert await bench.settle(*ids[:1000], verb="ack") == ["ok"] * 1000
    assert list((await bench.state())["jobs"]) == ids[1000:]


async def test_a_cancel_wins_over_a_later_enqueue_of_the_same_id(leased: Bench) -> None:
    """A run whose job was cancelled and enqueued anew neither ends nor renews the new one."""
    await leased.cancel("a")
    await leased.put("a", at=3)
    before = await leased.state()
    assert await leased.settle("a", verb="ack") == ["gone"]
    assert await leased.extend("a") == ["gone"]
    assert await leased.state() == before
    await leased.claim(token="beef")
    assert await leased.settle("a", verb="ack") == ["stolen"]


async def test_an_error_is_kept_as_it_is(leased: Bench) -> None:
    """Newlines, colons, NUL and any script: what a handler said is what an operator reads."""
    error = "a:b\n\0ünï ☃ 1:2"
    await leased.settle("a", verb="bury", text=error)
    job = await leased.run(leased.commands.get("a"))
    assert job is not None
    assert (job.attempts, job.error) == (1, error)
