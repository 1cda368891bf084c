"""The enqueue script: what it writes, what it keeps, and that the same call never counts twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.script_bench import Bench, S, envelopes
from zqueue.envelope import NewJob
from zqueue.errors import QueueUnavailable
from zqueue.job import Job, JobState, Priority


async def test_one_job_is_a_score_and_an_envelope(bench: Bench) -> None:
    """A job due now is in its lane, has its envelope, and wakes somebody; nothing else is written."""
    assert await bench.enqueue(NewJob({"to": "ann"}, id="a")) == [0]
    assert await bench.state() == {"due:1": {"a": 0}, "jobs": {"a": b'1{"payload":{"to":"ann"}}'}, "wake": 1}


async def test_now_delay_and_at(bench: Bench) -> None:
    """Due now, after a delay by the script's clock, at an instant, and at one before 1970 (which is due at once)."""
    bench.advance(2)
    due = await bench.enqueue(
        NewJob(1, id="now"),
        NewJob(1, id="in", delay=1.5),
        NewJob(1, id="at", at=bench.clock.now() + timedelta(days=9)),
        NewJob(1, id="then", at=datetime(1815, 6, 18, tzinfo=UTC)),
    )
    expected = {"then": -bench.start_us, "now": 2 * S, "in": 3_500_000, "at": 777_602 * S}
    assert due == [expected[each] for each in ("now", "in", "at", "then")]
    assert (await bench.state())["due:1"] == expected


async def test_the_end_of_time(bench: Bench) -> None:
    """The last microsecond of the year 9999 is kept to the precision of a score, and never falls due early."""
    (due,) = await bench.enqueue(NewJob(1, id="a", at=datetime.max.replace(tzinfo=UTC)))
    assert isinstance(due, int)
    assert abs(due + bench.start_us - 253_402_300_799_999_999) <= 16
    assert await bench.claim_ids() == []
    job = await bench.run(bench.commands.get("a"))
    assert job is not None
    assert job.due_at == datetime.max.replace(tzinfo=UTC)


async def test_each_lane_has_its_set(bench: Bench) -> None:
    """A priority is the set a job waits in, and the first character of its envelope."""
    await bench.enqueue(*(NewJob(1, id=f"p{lane}", priority=lane) for lane in reversed(Priority)))
    assert await bench.state() == {
        "due:0": {"p0": 0},
        "due:1": {"p1": 0},
        "due:2": {"p2": 0},
        "jobs": {f"p{n}": b'%d{"payload":1}' % n for n in range(3)},
        "wake": 1,
    }


async def test_a_taken_id_keeps_its_job(bench: Bench) -> None:
    """Scheduled, leased or dead: the job that holds an id stays as it is, and comes back."""
    await bench.put("scheduled", at=5)
    await bench.put("leased", "dead")
    await bench.claim()
    await bench.settle("dead", verb="bury", text="no such user")
    before = await bench.state()
    holders = await bench.enqueue(*(NewJob("other", id=each) for each in ("scheduled", "leased", "dead")))
    due = bench.start_us
    assert holders == [
        Job("scheduled", "scheduled", due_us=due + 5 * S, score_us=due + 5 * S),
        Job("leased", "leased", state=JobState.LEASED, due_us=due, deliveries=1, score_us=due + 10 * S),
        Job("dead", "dead", state=JobState.DEAD, attempts=1, error="no such user", score_us=due),
    ]
    assert await bench.state() == before


async def test_an_id_twice_in_one_call(bench: Bench) -> None:
    """The first of two jobs with one id is scheduled; the second gets the first."""
    due, holder = await bench.enqueue(NewJob("first", id="a", delay=3), NewJob("second", id="a"))
    assert due == 3 * S
    at = bench.at(3)
    assert holder == Job("a", "first", due_us=at, score_us=at)
    assert await bench.state() == {"due:1": {"a": 3 * S}, "jobs": {"a": b'1{"payload":"first"}'}, "wake": 1}


async def test_a_call_sent_again_is_answered_and_not_executed(bench: Bench) -> None:
    """The same producer and nonce get the first answer again, though their jobs have finished meanwhile."""
    jobs = [NewJob(1, id="a"), NewJob(2, id="b", delay=7), NewJob(3, id="c"), NewJob(4, id="c")]
    first = await bench.enqueue(*jobs, nonce="1" * 16)
    bench.advance(1)
    assert await bench.claim_ids() == ["a", "c"]
    await bench.settle("a", "c", verb="ack")
    before = await bench.state()
    again = await bench.enqueue(*jobs, nonce="1" * 16)
    assert first[:3] == again[:3] == [0, 7 * S, 0]
    assert isinstance(first[3], Job)
    assert again[3] is None, "the holder of c has ended"
    assert await bench.state() == before


async def test_only_the_last_call_of_a_producer_is_remembered(bench: Bench) -> None:
    """Another nonce is another call; so is the same nonce of another producer. The memory lasts 60 s."""
    await bench.enqueue(NewJob(1, id="a"), nonce="1" * 16)
    assert 55 < await bench.raw("TTL", bench.key("call:p.0")) <= 60
    await bench.claim()
    await bench.settle("a", verb="ack")
    assert await bench.enqueue(NewJob(1, id="a"), nonce="1" * 16, producer="p.1") == [0]
    assert await bench.cancel("a") == [True]
    assert await bench.enqueue(NewJob(1, id="a"), nonce="2" * 16) == [0]
    assert await bench.cancel("a") == [True]
    assert await bench.enqueue(NewJob(1, id="a"), nonce="1" * 16) == [0], "forgotten: nonce 2 came after it"


async def test_a_thousand_jobs_and_one_more(bench: Bench) -> None:
    """A script takes 1,000 jobs; 1,001 are refused before anything is written, the memory of the call included."""
    jobs = [NewJob(n, id=f"{n:04}", delay=100 + n) for n in range(1001)]
    with pytest.raises(QueueUnavailable, match="more than 1000 jobs in one call"):
        await bench.enqueue(*jobs)
    assert await bench.raw("KEYS", bench.key("*")) == []
    assert await bench.enqueue(*jobs[:1000]) == [(100 + n) * S for n in range(1000)]
    state = await bench.state()
    assert state["due:1"] == {f"{n:04}": (100 + n) * S for n in range(1000)}
    assert len(state["jobs"]) == 1000


async def test_no_jobs_at_all_is_no_error(bench: Bench) -> None:
    """An id that is taken and nothing new: nothing but the memory of the call is written."""
    await bench.put("a", at=5)
    await bench.tokens()
    await bench.enqueue(NewJob(1, id="a"))
    assert await bench.state() == {"due:1": {"a": 5 * S}, "jobs": envelopes(["a"])}


async def test_an_envelope_in_no_set_is_no_job(bench: Bench) -> None:
    """Where a lane's key was deleted or evicted, its jobs can be enqueued again, with nothing of their past."""
    await bench.put("a", "b", at=0)
    await bench.claim(1)
    await bench.settle("a", verb="retry", text="once", delay=1)
    await bench.raw("DEL", bench.key("due:1"))
    assert await bench.run(bench.commands.missing(["a", "b"])) == ["a", "b"]
    assert await bench.run(bench.commands.get("a")) is None
    await bench.tokens()
    assert await bench.enqueue(NewJob("new", id="a", delay=3), NewJob("b", id="b")) == [3 * S, 0]
    assert await bench.state() == {
        "due:1": {"a": 3 * S, "b": 0},
        "jobs": {"a": b'1{"payload":"new"}', "b": b'1{"payload":"b"}'},
        "wake": 1,
    }


async def test_an_undecodable_holder_is_shown(bench: Bench) -> None:
    """An id held by a job that does not decode answers that job, and the rest of the call is done."""
    await bench.put("bad", at=5)
    await bench.raw("HSET", bench.key("jobs"), "bad", "1{no json")
    holder, due = await bench.enqueue(NewJob(1, id="bad"), NewJob(2, id="good", delay=1))
    assert due == S
    assert isinstance(holder, Job)
    assert (holder.id, holder.payload, holder.created, holder.score_us) == ("bad", None, False, bench.at(5))
    assert holder.error is not None
    assert holder.error.startswith("job 'bad' has an envelope that does not decode: ")
