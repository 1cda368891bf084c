"""A bad line between worker and server: lost replies, lost requests, silence. Each effect comes once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator

import pytest

import zqueue
from tests.asking import until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from tests.proxy import Fault, Proxy, at, seeded
from zqueue.embedded import Server

LEASE_S = 1.0


@pytest.fixture
async def proxy(valkey: Server) -> AsyncIterator[Proxy]:
    """The bad line."""
    async with Proxy(valkey) as line:
        yield line


@pytest.fixture
async def far(proxy: Proxy) -> AsyncIterator[zqueue.Queue]:
    """A queue at its far end."""
    async with zqueue.Queue(unique_name(), proxy.url, retry=zqueue.Retry(3, zqueue.fixed(0))) as queue:
        yield queue


@pytest.fixture
async def near(far: zqueue.Queue, valkey: Server) -> AsyncIterator[zqueue.Queue]:
    """The same queue, over a good line."""
    async with zqueue.Queue(far.name, valkey.url) as queue:
        yield queue


class Noting:
    """A handler that counts the runs of each job, with their deliveries."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.deliveries: dict[str, int] = {}

    async def __call__(self, job: zqueue.Job) -> None:
        """Count."""
        self.runs[job.id] += 1
        self.deliveries[job.id] = job.deliveries


def losses(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged about lost leases."""
    return [text for text in (record.getMessage() for record in caplog.records) if "is lost" in text]


async def drained(queue: zqueue.Queue) -> None:
    """Wait until no job is left but dead ones."""

    async def empty() -> bool:
        stats = await queue.stats()
        return (stats.scheduled, stats.leased) == (0, 0)

    await until(empty, 30)


@pytest.mark.parametrize("k", range(1, 7))
async def test_an_enqueue_whose_reply_is_lost_takes_effect_once(
    proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue, k: int
) -> None:
    """Whichever of six enqueues loses its reply, there are six jobs, each created, and each runs once."""
    proxy.plan = at("enqueue", [k], Fault.CUT_REPLY)
    jobs = [await far.enqueue(number) for number in range(6)]
    noting = Noting()
    assert (proxy.faults, (await near.stats()).scheduled) == (1, 6)

    await zqueue.Worker(near, noting).run(burst=True)

    assert all(job.created for job in jobs)
    assert noting.runs == Counter([job.id for job in jobs])


@pytest.mark.parametrize("times", [2, 4])
async def test_an_enqueue_whose_replies_are_lost_again_and_again(
    proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue, times: int
) -> None:
    """A large enqueue that is sent several times makes each of its jobs once, due at one and the same time."""
    proxy.plan = at("enqueue", range(1, times + 1), Fault.CUT_REPLY)

    jobs = await far.enqueue_many([zqueue.NewJob(number) for number in range(250)])

    assert proxy.faults == times
    assert [job.created for job in jobs] == [True] * 250
    kept = await near.jobs(zqueue.JobState.SCHEDULED, limit=1000)
    assert {job.id: job.due_us for job in kept} == {job.id: job.due_us for job in jobs}


async def test_an_enqueue_that_gives_up_may_be_repeated(proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue) -> None:
    """When no reply ever comes, the caller hears that it may have taken effect; the same id makes no second job."""
    proxy.plan = at("enqueue", range(1, 100), Fault.CUT_REPLY)
    with pytest.raises(zqueue.QueueUnavailable, match="may have taken effect"):
        await far.enqueue("x", id="x")
    proxy.plan = lambda _request: None

    again = await far.enqueue("x", id="x")

    assert (again.created, (await near.stats()).scheduled) == (False, 1)


@pytest.mark.parametrize("k", [1, 2, 3])
async def test_a_claim_whose_reply_is_lost_is_not_sent_again(
    proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue, caplog: pytest.LogCaptureFixture, k: int
) -> None:
    """The jobs of a lost claim wait for their lease, and then run, once; no claim is sent twice."""
    noting = Noting()
    await near.enqueue_many([zqueue.NewJob(number, id=f"x{number:02}") for number in range(15)])
    proxy.plan = at("claim", [k], Fault.CUT_REPLY)
    async with working(zqueue.Worker(far, noting, concurrency=5, lease=LEASE_S)):
        await drained(near)

    assert proxy.faults == 1
    fences = [command[3 + int(command[2]) + 3] for command in proxy.seen("claim")]
    assert len(set(fences)) == len(fences)
    assert noting.runs == Counter(f"x{number:02}" for number in range(15))
    twice = [each for each, deliveries in noting.deliveries.items() if deliveries != 1]
    assert len(twice) <= 5, "more than one claim was lost"
    assert k > 1 or sorted(twice) == ["x00", "x01", "x02", "x03", "x04"]
    assert {noting.deliveries[each] for each in twice} <= {2}
    assert losses(caplog) == []


async def test_while_a_claim_is_lost_no_job_is_leased_twice(
    proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue
) -> None:
    """A worker of five slots that lost one claim of five leases five more, and not those again."""
    let_go = asyncio.Event()
    running: list[str] = []

    async def handler(job: zqueue.Job) -> None:
        running.append(job.id)
        await let_go.wait()

    await near.enqueue_many([zqueue.NewJob(number, id=f"x{number:02}") for number in range(20)])
    proxy.plan = at("claim", [1], Fault.CUT_REPLY)
    async with working(zqueue.Worker(far, handler, concurrency=5, lease=60, drain=0)):
        await wait_until(lambda: len(running) == 5)
        leased = [job.id for job in await near.jobs(zqueue.JobState.LEASED)]
        let_go.set()

    assert (sorted(leased), sorted(running)[:5]) == (
        [f"x{n:02}" for n in range(10)],
        [f"x{n:02}" for n in range(5, 10)],
    )


@pytest.mark.parametrize("fault", [Fault.CUT_REPLY, Fault.CUT_REQUEST])
@pytest.mark.parametrize("k", [1, 2, 3])
async def test_a_settlement_whose_reply_is_lost_is_no_lost_lease(
    proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue, caplog: pytest.LogCaptureFixture, k: int, fault: Fault
) -> None:
    """A settlement that had to be sent twice reports no loss, and no job runs twice."""
    noting = Noting()
    proxy.plan = at("settle", [k], fault)
    await near.enqueue_many([zqueue.NewJob(number, id=f"x{number}") for number in range(6)])
    async with working(zqueue.Worker(far, noting, concurrency=2, lease=LEASE_S)):
        await drained(near)

    assert proxy.faults == 1
    assert noting.runs == Counter(f"x{number}" for number in range(6))
    assert losses(caplog) == []


async def test_a_failure_whose_settlement_is_lost_counts_once(
    proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Retries that are settled over a bad line spend one attempt each, and the job dies after the third."""
    attempts: list[int] = []

    def handler(job: zqueue.Job) -> None:
        attempts.append(job.attempt)
        raise ValueError("no")

    proxy.plan = at("settle", [1, 2, 3], Fault.CUT_REPLY)
    await near.enqueue(0, id="x")
    async with working(zqueue.Worker(far, handler, concurrency=1, lease=LEASE_S)):
        await drained(near)

    dead = await near.get("x")
    assert dead is not None
    assert (attempts, dead.state, dead.attempts) == ([1, 2, 3], zqueue.JobState.DEAD, 3)
    assert losses(caplog) == []


@pytest.mark.parametrize("seed", range(5))
async def test_a_bad_line_all_along(
    proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """With one in four requests of every kind cut or delayed, each job is made once and runs once."""
    noting = Noting()
    names = frozenset({"enqueue", "claim", "settle", "extend", "BLPOP"})
    proxy.plan = seeded(seed, 0.25, [Fault.CUT_REPLY, Fault.CUT_REQUEST, 0.02], names)
    async with working(zqueue.Worker(far, noting, concurrency=3, lease=LEASE_S)):
        jobs: list[zqueue.Job] = []
        while len(jobs) < 60 or proxy.faults < 3:
            jobs += await far.enqueue_many([zqueue.NewJob(0, delay=0.01 * number) for number in range(10)])
        await drained(near)
        proxy.plan = lambda _request: None

    assert noting.runs == Counter(job.id for job in jobs)
    assert losses(caplog) == []
    stats = await near.stats()
    assert (stats.scheduled, stats.leased, stats.dead) == (0, 0, 0)


async def test_warnings_name_the_trouble(
    proxy: Proxy, far: zqueue.Queue, near: zqueue.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that cannot reach its server says so, goes on trying, and works as soon as it can."""
    noting = Noting()
    proxy.plan = lambda _request: Fault.CUT_REQUEST
    async with working(zqueue.Worker(far, noting)):
        await wait_until(lambda: len(caplog.records) >= 2)
        await near.enqueue(0, id="x")
        proxy.plan = lambda _request: None
        await drained(near)

    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert noting.runs == {"x": 1}
    assert all(far.name in text and "trying again in" in text for text in warned)
