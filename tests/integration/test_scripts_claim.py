"""The claim script: what is leased, in which order, and what the answer says of the time after it."""

from __future__ import annotations

from tests.integration.script_bench import LEASE, Bench, S, envelopes
from zqueue.envelope import NewJob
from zqueue.ids import new_id
from zqueue.replies import Delivery

CAP = 5 * S
"""The longest anybody sleeps, us."""


async def test_a_claim_leases(bench: Bench) -> None:
    """A due job moves to the leased, with its token, its first delivery and its due time; nothing else changes."""
    await bench.put("a", "b", at=1)
    await bench.put("c", at=4)
    bench.advance(1.5)
    claimed = await bench.claim(1)
    assert claimed.now_us == bench.at(1.5)
    assert claimed.deliveries == [Delivery(b"a", b'1{"payload":"a"}', 1, bench.at(1), b"")]
    assert await bench.state() == {
        "due:1": {"b": S, "c": 4 * S},
        "leased": {"a": 1_500_000 + LEASE},
        "jobs": envelopes("abc"),
        "claims": {"a": ("f00d", 1, S)},
        "wake": 1,
    }


async def test_nothing_due(bench: Bench) -> None:
    """What is due later stays where it is; the answer says how long to wait, up to the longest sleep."""
    empty = await bench.claim()
    assert (empty.deliveries, empty.next_s, empty.more) == ([], 5, False)
    await bench.put("a", at=900)
    later = await bench.claim()
    assert (later.deliveries, later.next_s, later.more) == ([], 5, False)
    await bench.put("b", at=2.25)
    soon = await bench.claim()
    assert (soon.deliveries, soon.next_s, soon.more) == ([], 2.25, False)


async def test_due_to_the_microsecond(bench: Bench) -> None:
    """A job is not due one microsecond before its time, and is at it."""
    await bench.put("a", at=1)
    bench.advance(0.999_999)
    assert (await bench.claim()).next_s == 1e-6
    bench.advance(0.000_001)
    assert await bench.claim_ids() == ["a"]


async def test_order_within_a_lane(bench: Bench) -> None:
    """Due time first, then id, whatever the order of the calls."""
    await bench.put("z", at=1)
    await bench.put("b", "a", at=2)
    await bench.put("c", at=1.5)
    await bench.put("y", at=-3)
    bench.advance(10)
    assert await bench.claim_ids() == ["y", "z", "c", "a", "b"]


async def test_jobs_without_a_time_go_first_in_first_out(bench: Bench) -> None:
    """Generated ids break the tie of jobs that were enqueued in the same microsecond."""
    ids = [new_id() for _ in range(50)]
    for at in range(0, 50, 10):
        await bench.enqueue(*(NewJob(1, id=each) for each in ids[at : at + 10]))
    assert await bench.claim_ids() == ids


async def test_lanes_in_order(bench: Bench) -> None:
    """A lane is looked at when those before it have nothing due, however old its jobs are."""
    await bench.put("low", at=1, lane=2)
    await bench.put("normal", at=2, lane=1)
    await bench.put("high", "high2", at=3, lane=0)
    bench.advance(3)
    assert await bench.claim_ids(3) == ["high", "high2", "normal"]
    assert await bench.claim_ids(3) == ["low"]


async def test_an_expired_lease_goes_before_every_lane(bench: Bench) -> None:
    """The job of a dead worker comes first, on delivery 2, under the new token, with its first due time."""
    await bench.put("a", at=-2, lane=2)
    await bench.claim(token="aaaa")
    await bench.put("b", at=-1, lane=0)
    bench.advance(9.999_999)
    await bench.tokens()
    early = await bench.claim(token="bbbb")
    assert [each.id for each in early.deliveries] == [b"b"]
    assert early.next_s == 1e-6
    await bench.put("c", at=0, lane=0)
    bench.advance(0.000_001)
    claimed = await bench.claim(token="cccc")
    assert claimed.deliveries == [
        Delivery(b"a", b'2{"payload":"a"}', 2, bench.at(-2), b""),
        Delivery(b"c", b'0{"payload":"c"}', 1, bench.at(0), b""),
    ]
    state = await bench.state()
    assert state["claims"] == {"a": ("cccc", 2, -2 * S), "b": ("bbbb", 1, -S), "c": ("cccc", 1, 0)}
    assert state["leased"] == {"a": 20 * S, "b": 19_999_999, "c": 20 * S}


async def test_the_answer_counts_leases_among_what_comes_next(bench: Bench) -> None:
    """An idle worker wakes for the first lease that ends as it does for the first job that falls due."""
    await bench.put("a")
    assert (await bench.claim(lease_us=3 * S)).next_s == 3
    bench.advance(1)
    assert (await bench.claim()).next_s == 2


async def test_failed_attempts_come_with_the_job(bench: Bench) -> None:
    """The attempts entry travels with each delivery, colons, quotes and all."""
    await bench.put("a")
    await bench.claim()
    await bench.settle("a", verb="retry", text='451: "greylisted"')
    assert (await bench.claim()).deliveries[0].failed == b'1:451: "greylisted"'


async def test_more_means_call_again(bench: Bench) -> None:
    """Only when the claim has room left and something is due already: its budget went on what it did not take."""
    await bench.put(*(f"{n}" for n in range(5)))
    full = await bench.claim(3)
    assert (len(full.deliveries), full.next_s, full.more) == (3, 0, False)
    rest = await bench.claim(3)
    assert (len(rest.deliveries), rest.more) == (2, False)
    for n in range(200):  # at the head, and no jobs: looking at them uses up the budget
        await bench.raw("ZADD", bench.key("due:1"), bench.at(-1), f"foreign{n}")
    await bench.put("a")
    blocked = await bench.claim(3)
    assert (blocked.deliveries, blocked.next_s, blocked.more) == ([], 0, True)
    assert await bench.claim_ids(3) == ["a"]


async def test_a_thousand_jobs_in_one_claim(bench: Bench) -> None:
    """A claim takes up to 1,000 jobs, and no more whatever the caller asks for."""
    ids = [f"{n:04}" for n in range(1100)]
    await bench.put(*ids[:1000])
    await bench.put(*ids[1000:])
    assert await bench.claim_ids(5000) == ids[:1000]
    assert await bench.claim_ids(5000) == ids[1000:]


async def test_claims_never_share_a_job(bench: Bench) -> None:
    """What one claim has leased no other gets before the lease ends."""
    await bench.put(*(f"{n:02}" for n in range(10)))
    claims = [await bench.claim_ids(4, f"{n:04x}") for n in range(4)]
    assert claims == [["00", "01", "02", "03"], ["04", "05", "06", "07"], ["08", "09"], []]


async def test_workers_are_seen_for_a_minute(bench: Bench) -> None:
    """A claim that names its worker keeps it among the seen for a minute; one that does not writes nothing."""
    await bench.claim(worker="")
    assert await bench.state() == {}
    await bench.claim(worker="w1")
    bench.advance(59)
    await bench.claim(worker="w2")
    assert await bench.state() == {"workers": {"w1": 0, "w2": 59 * S}}
    bench.advance(2)
    await bench.claim(worker="w2")
    assert await bench.state() == {"workers": {"w2": 61 * S}}


async def test_a_clock_that_goes_back_makes_jobs_late_and_loses_none(bench: Bench) -> None:
    """After the server's clock steps back, what it leased and scheduled is there and runs when its time comes."""
    await bench.put("a", "b")
    bench.advance(1)
    assert await bench.claim_ids(1) == ["a"]
    bench.advance(-3600)
    assert await bench.claim_ids() == []
    assert (await bench.claim()).next_s == 5
    bench.advance(3600)
    assert await bench.claim_ids() == ["b"]
    bench.advance(10)
    assert await bench.claim_ids() == ["a", "b"]
