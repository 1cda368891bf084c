"""Enqueue with `replace`: a job of the same id that is not running gives way, with all of its past."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.script_bench import Bench, S
from zqueue.envelope import NewJob
from zqueue.job import Job, JobState, Priority


def _new(payload: Any, job_id: str = "a", **options: Any) -> NewJob:
    return NewJob(payload, id=job_id, on_conflict="replace", **options)


def _keep(payload: Any, job_id: str = "a", **options: Any) -> NewJob:
    return NewJob(payload, id=job_id, **options)


async def test_replace_of_nothing(bench: Bench) -> None:
    """An id that is free is simply taken."""
    assert await bench.enqueue(_new(1)) == [0]
    assert await bench.state() == {"due:1": {"a": 0}, "jobs": {"a": b'1{"payload":1}'}, "wake": 1}


async def test_debounce(bench: Bench) -> None:
    """Each replacement starts the delay anew, in the lane of the last; one job is left of them all."""
    for n, lane in enumerate((0, 1, 2)):
        assert await bench.enqueue(_new(n, delay=3, priority=Priority(lane))) == [(3 + n) * S]
        bench.advance(1)
    await bench.tokens()
    assert await bench.state() == {"due:2": {"a": 5 * S}, "jobs": {"a": b'2{"payload":2}'}}


@pytest.mark.parametrize("past", ["failed", "crashed", "dead", "done"])
async def test_nothing_of_the_past_stays(bench: Bench, past: str) -> None:
    """Attempts, deliveries, errors, progress and results of the old job are gone."""
    await bench.put("a")
    await bench.claim()
    await bench.run(bench.commands.progress((b"a", "f00d"), b"1"))
    if past == "failed":
        await bench.settle("a", verb="retry", text="451", delay=9)
    elif past == "crashed":
        bench.advance(10)
        await bench.claim()
        await bench.settle("a", verb="release", delay=9)
    elif past == "dead":
        await bench.settle("a", verb="bury", text="550")
    else:
        await bench.settle("a", verb="ack", delay=60, text="1")
    await bench.tokens()
    (due,) = await bench.enqueue(_new("new", delay=7))
    assert await bench.state() == {"due:1": {"a": due}, "jobs": {"a": b'1{"payload":"new"}'}}


async def test_a_running_job_does_not_give_way(bench: Bench) -> None:
    """It comes back as it is, and nothing is written; a late one whose lease is over runs, too, as far as is known."""
    await bench.put("a")
    await bench.claim()
    bench.advance(60)
    await bench.tokens()
    before = await bench.state()
    (held,) = await bench.enqueue(_new("new"))
    due = bench.start_us
    assert held == Job("a", "a", state=JobState.LEASED, due_us=due, deliveries=1, score_us=due + 10 * S)
    assert await bench.state() == before


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("conflicts", ["rr", "kr", "rk", "rkr", "kkrr", "kk", "krk"])
async def test_several_of_one_id_in_one_call(bench: Bench, conflicts: str, taken: bool) -> None:
    """As if each had come in a call of its own: who replaces is created, who keeps only where the id was free."""
    if taken:
        await bench.put("a", at=50)
    jobs = [(_new if each == "r" else _keep)(n, delay=n) for n, each in enumerate(conflicts)]
    created = [each == "r" or (n == 0 and not taken) for n, each in enumerate(conflicts)]
    answers = await bench.enqueue(*jobs)
    assert [isinstance(each, int) for each in answers] == created
    state = await bench.state()
    if any(created):
        last = max(n for n, each in enumerate(created) if each)
        assert (state["jobs"], state["due:1"]) == ({"a": b'1{"payload":%d}' % last}, {"a": last * S})
    else:
        assert (state["jobs"], state["due:1"]) == ({"a": b'1{"payload":"a"}'}, {"a": 50 * S})


async def test_each_in_its_own_lane(bench: Bench) -> None:
    """The replaced jobs of one call leave no trace in the lanes they would have had."""
    await bench.put("b", at=9, lane=0)
    jobs = [_new(1, priority=Priority.HIGH), _new(2, priority=Priority.LOW), _new(3, "b", priority=Priority.LOW)]
    await bench.enqueue(*jobs)
    assert await bench.state() == {
        "due:2": {"a": 0, "b": 0},
        "jobs": {"a": b'2{"payload":2}', "b": b'2{"payload":3}'},
        "wake": 1,
    }


async def test_a_replacement_sent_again(bench: Bench) -> None:
    """A call whose reply was lost replaces once: what another producer made of the id meanwhile stays."""
    await bench.put("a", at=50)
    first = await bench.enqueue(_new(1, delay=3), nonce="1" * 16)
    await bench.enqueue(_new("other", delay=9), producer="p.1")
    before = await bench.state()
    assert await bench.enqueue(_new(1, delay=3), nonce="1" * 16) == first == [3 * S]
    assert await bench.state() == before


async def test_a_later_replacement_wakes_nobody(bench: Bench) -> None:
    """Pushing a job back makes nothing runnable; pulling it forward does."""
    await bench.enqueue(_new(1, delay=3))
    await bench.tokens()
    await bench.enqueue(_new(2, delay=60))
    assert await bench.tokens() == 0
    await bench.enqueue(_new(3, delay=1))
    assert await bench.tokens() == 1


async def test_what_was_replaced_is_settled_by_nobody(bench: Bench) -> None:
    """A worker that held the old job before it was cancelled and replaced has no say in the new one."""
    await bench.put("a")
    await bench.claim()
    await bench.settle("a", verb="release")
    await bench.enqueue(_new("new"))
    assert await bench.settle("a", verb="ack") == ["gone"]
    (delivery,) = (await bench.claim(token="beef")).deliveries
    assert delivery.envelope == b'1{"payload":"new"}'
    assert await bench.settle("a", verb="ack") == ["stolen"]
