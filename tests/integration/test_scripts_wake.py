"""The wake list, script by script: when a token is there, and when there must be none.

The rules are those of `docs/architecture.md`, "Waking without polling"; here each of their clauses is held to a case
where it decides.
"""

from __future__ import annotations

import pytest

from tests.integration.script_bench import Bench, S
from zqueue.commands import Verb
from zqueue.envelope import NewJob


async def test_a_new_head_wakes(bench: Bench) -> None:
    """A job that is due before everything else wakes somebody; one behind the head does not."""
    await bench.put("b", at=3)
    assert await bench.tokens() == 1
    await bench.put("c", at=3)
    await bench.put("d", at=4)
    assert await bench.tokens() == 0
    await bench.put("a", at=2.999_999)
    assert await bench.tokens() == 1


async def test_a_new_head_in_any_lane_wakes(bench: Bench) -> None:
    """The head is the first of all lanes: a later job of a higher lane wakes nobody."""
    await bench.put("low", at=2, lane=2)
    assert await bench.tokens() == 1
    await bench.put("high", at=3, lane=0)
    assert await bench.tokens() == 0
    await bench.put("normal", at=1, lane=1)
    assert await bench.tokens() == 1


async def test_there_is_never_more_than_one_token(bench: Bench) -> None:
    """One is enough: whoever takes it looks at the head."""
    for n in range(5):
        await bench.put(f"{n}", at=-n)
    await bench.run(bench.commands.nudge())
    assert await bench.tokens() == 1


@pytest.mark.parametrize(("at", "tokens"), [(4.999_999, 1), (5, 0), (86_400, 0)])
async def test_what_is_due_beyond_the_longest_sleep_wakes_nobody(bench: Bench, at: float, tokens: int) -> None:
    """Every idle worker looks again before that job falls due."""
    await bench.put("a", at=at)
    assert await bench.tokens() == tokens


async def test_many_far_future_jobs_wake_nobody(bench: Bench) -> None:
    """Thousands of jobs for next week, the earliest last: no token at any time."""
    for n in range(20):
        jobs = [NewJob(1, id=f"{n:02}.{m:03}", delay=700_000 - n * 1000 - m) for m in range(100)]
        await bench.enqueue(*jobs)
        assert await bench.tokens() == 0


async def test_one_early_job_in_a_late_batch_wakes(bench: Bench) -> None:
    """The earliest job of a call decides, wherever in the call and in whichever lane it is."""
    await bench.enqueue(NewJob(1, delay=900), NewJob(1, delay=4, priority=2), NewJob(1, delay=800))  # type: ignore[arg-type]
    assert await bench.tokens() == 1


async def test_a_kept_job_wakes_nobody(bench: Bench) -> None:
    """An enqueue that schedules nothing makes nothing runnable."""
    await bench.put("a", at=2)
    await bench.tokens()
    await bench.enqueue(NewJob(1, id="a"))
    assert await bench.tokens() == 0


async def test_a_late_head_heals_a_lost_token(bench: Bench) -> None:
    """A head over 100 ms late means that a token went to a process that is no more: any new job replaces it."""
    await bench.put("a", at=0)
    assert await bench.tokens() == 1, "and the taker dies"
    bench.advance(0.1)
    await bench.put("b", at=3)
    assert await bench.tokens() == 0, "somebody may be on the way"
    bench.advance(0.000_001)
    await bench.put("c", at=3)
    assert await bench.tokens() == 1
    await bench.put("far", at=60)
    assert await bench.tokens() == 0, "too far ahead to be looked at all"


async def test_a_late_lease_heals_too(bench: Bench) -> None:
    """The end of a lease counts as the head does."""
    await bench.put("a")
    await bench.claim(lease_us=S)
    await bench.tokens()
    bench.advance(1.2)
    await bench.put("b", at=4)
    assert await bench.tokens() == 1


async def test_a_full_claim_leaves_a_guard(bench: Bench) -> None:
    """Who filled its limit may be busy: a head within the longest sleep is given to another worker to guard."""
    await bench.put("a", "b", "c")
    await bench.tokens()
    await bench.claim(2)
    assert await bench.tokens() == 1
    await bench.claim(2)
    assert await bench.tokens() == 0, "it has a slot left, and will wait on its own timer"


@pytest.mark.parametrize(("ahead", "tokens"), [(4.999_999, 1), (5, 0)])
async def test_a_full_claim_guards_no_further_than_the_longest_sleep(bench: Bench, ahead: float, tokens: int) -> None:
    """A head further away is seen by whoever sleeps at most that long."""
    await bench.put("a")
    await bench.put("b", at=ahead)
    await bench.tokens()
    await bench.claim(1)
    assert await bench.tokens() == tokens


async def test_a_full_claim_guards_its_own_short_lease(bench: Bench) -> None:
    """The lease a full claim has just taken is itself a head that somebody must watch."""
    await bench.put("a")
    await bench.tokens()
    await bench.claim(1, lease_us=2 * S)
    assert await bench.tokens() == 1


async def test_a_claim_with_room_left_pushes_nothing(bench: Bench) -> None:
    """Its worker has free slots and a timer."""
    await bench.put("a", "b")
    await bench.put("c", at=2)
    await bench.tokens()
    await bench.claim(3)
    assert await bench.tokens() == 0


@pytest.mark.parametrize(
    ("verb", "delay", "tokens"),
    [
        ("retry", 2, 1),
        ("retry", 5, 0),
        ("snooze", 2, 1),
        ("snooze", 60, 0),
        ("release", 0, 1),
        ("release", 3, 1),
        ("release", 60, 0),
        ("ack", 0, 0),
        ("bury", 0, 0),
    ],
)
async def test_what_settle_sends_back_wakes(bench: Bench, verb: Verb, delay: float, tokens: int) -> None:
    """An ending that makes a job runnable soon wakes somebody: the lease it had was the head, and ends later."""
    await bench.put("a")
    await bench.claim()
    await bench.tokens()
    assert await bench.settle("a", verb=verb, delay=delay) == ["ok"]
    assert await bench.tokens() == tokens


async def test_a_retry_behind_the_head_wakes_nobody(bench: Bench) -> None:
    """Somebody watches the head already, and will see the rest when it comes."""
    await bench.put("a")
    await bench.put("b", at=1)
    await bench.claim(1)
    await bench.tokens()
    await bench.settle("a", verb="retry", delay=2)
    assert await bench.tokens() == 0


async def test_scripts_that_make_nothing_runnable_push_nothing(bench: Bench) -> None:
    """Extend, cancel and inspection leave the wake list alone."""
    await bench.put("a", "b", "c")
    await bench.claim(2)
    await bench.tokens()
    await bench.extend("a")
    await bench.cancel("b")
    await bench.run(bench.commands.get("a"))
    await bench.run(bench.commands.stats())
    await bench.run(bench.commands.missing(["a"]))
    assert await bench.tokens() == 0


@pytest.mark.parametrize(("at", "tokens"), [(-3600, 1), (0, 1), (4.999_999, 1), (5, 0), (900, 0)])
async def test_nudge(bench: Bench, at: float, tokens: int) -> None:
    """A token is handed on when there is something to look at within the longest sleep."""
    await bench.put("a", at=at)
    await bench.tokens()
    assert await bench.run(bench.commands.nudge()) == tokens
    assert await bench.run(bench.commands.nudge()) == tokens, "and never doubled"
    assert await bench.tokens() == tokens


async def test_nudge_sees_leases_and_emptiness(bench: Bench) -> None:
    """A lease that ends soon is something to look at; an empty queue is not."""
    assert await bench.run(bench.commands.nudge()) == 0
    await bench.put("a")
    await bench.claim(lease_us=4 * S)
    await bench.tokens()
    assert await bench.run(bench.commands.nudge()) == 1
