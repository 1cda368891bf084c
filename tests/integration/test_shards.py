"""A queue of several shards on one node: jobs, slots and order, as if it were one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

import zqueue
from tests.asking import ask_server, server_time_us
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from tests.proxy import Fault, Proxy, Request
from zqueue.embedded import Server

SHARDS = 3
SOON_US = 1_000_000
"""Well under the 5 s after which a lost wake-up heals by itself."""


@pytest.fixture
async def queue(valkey: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue of three shards."""
    async with zqueue.Queue(unique_name(), valkey.url, shards=SHARDS) as fresh:
        yield fresh


def ids_on(queue: zqueue.Queue, shard: int, count: int, prefix: str = "x") -> list[str]:
    """Ids of jobs that are kept on this shard."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        name = f"{prefix}{number}"
        if queue.shard(name).index == shard:
            found.append(name)
        number += 1
    return found


class Noting:
    """A handler that notes what starts, and how late; jobs named `long...` wait to be let go."""

    def __init__(self, queue: zqueue.Queue) -> None:
        self._queue = queue
        self.started: list[str] = []
        self.late_us: dict[str, int] = {}
        self.cancelled: list[str] = []
        self.at_work = self.most = 0
        self.go_on = asyncio.Event()

    async def __call__(self, job: zqueue.Job) -> None:
        """Note it."""
        self.started.append(job.id)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            if job.id.startswith("long"):
                await self.go_on.wait()
            else:
                assert job.due_us is not None
                self.late_us[job.id] = await server_time_us(self._queue) - job.due_us
        except asyncio.CancelledError:
            self.cancelled.append(job.id)
            raise
        finally:
            self.at_work -= 1


async def test_jobs_are_spread_and_a_schedule_keeps_its_jobs(queue: zqueue.Queue) -> None:
    """Ids go to all shards alike; what a schedule makes is on the schedule's shard."""
    counts = [0] * SHARDS
    for number in range(3000):
        counts[queue.shard(zqueue.new_id() if number % 2 else f"id{number}").index] += 1
    assert min(counts) > 800
    for name in ("a", "b", "c@d", "x@2026-11-24T09:00:00Z"):
        assert queue.shard(f"{name}@2026-11-24T09:00:00Z") is queue.shard(name)


@pytest.mark.parametrize("concurrency", [1, 2, 100])
async def test_a_burst_ends_when_no_shard_has_anything_due(queue: zqueue.Queue, concurrency: int) -> None:
    """Whatever the number of slots, each shard is asked until it is empty, also for what a job makes due elsewhere."""
    noting = Noting(queue)
    chain = [ids_on(queue, shard, 1, "chain")[0] for shard in (0, 2, 1, 0)]

    async def handler(job: zqueue.Job) -> None:
        await noting(job)
        if job.payload:
            first, *rest = job.payload
            await queue.enqueue(rest, id=f"{first}-next")

    for turn in range(5):
        await queue.enqueue_many([zqueue.NewJob(None, id=f"{turn}-{number}") for number in range(20)])
        await queue.enqueue(chain, id=f"{turn}-chain")
        await zqueue.Worker(queue, handler, concurrency=concurrency).run(burst=True)
        stats = await queue.stats()
        assert (stats.scheduled, stats.leased) == (0, 0)
    assert (len(noting.started), noting.most <= concurrency) == (5 * (20 + 1 + 4), True)


async def test_a_burst_of_one_shard_with_work(queue: zqueue.Queue) -> None:
    """With one slot, each shard alone, the first or the last, is found to have a job."""
    for shard in range(SHARDS):
        noting = Noting(queue)
        (job_id,) = ids_on(queue, shard, 1)
        await queue.enqueue(0, id=job_id)
        await zqueue.Worker(queue, noting, concurrency=1).run(burst=True)
        assert noting.started == [job_id]


async def test_shards_with_backlogs_take_turns(queue: zqueue.Queue) -> None:
    """With one slot, no shard waits for another's backlog: they go in turn."""
    noting = Noting(queue)
    for shard in range(SHARDS):
        await queue.enqueue_many([zqueue.NewJob(0, id=each) for each in ids_on(queue, shard, 30)])

    await zqueue.Worker(queue, noting, concurrency=1).run(burst=True)

    order = [queue.shard(each).index for each in noting.started]
    shares = [order[:30].count(shard) for shard in range(SHARDS)]
    assert (len(order), noting.most) == (90, 1)
    assert min(shares) >= 8, f"of the first 30 runs: {shares}"


async def test_order_holds_within_a_shard(queue: zqueue.Queue) -> None:
    """Each shard's jobs start by due time and id."""
    noting = Noting(queue)
    ids = {shard: ids_on(queue, shard, 20) for shard in range(SHARDS)}
    now = queue.now()
    await queue.enqueue_many(
        [
            zqueue.NewJob(0, id=job_id, at=now + timedelta(seconds=n - 30))
            for each in ids.values()
            for n, job_id in enumerate(reversed(each))
        ]
    )
    await zqueue.Worker(queue, noting, concurrency=1).run(burst=True)
    for shard, expected in ids.items():
        assert [each for each in noting.started if queue.shard(each).index == shard] == list(reversed(expected))


async def test_an_idle_worker_is_woken_by_each_shard(queue: zqueue.Queue) -> None:
    """A sleeping worker starts what falls due on any shard in time, also earlier than what it waits for."""
    noting = Noting(queue)
    async with working(zqueue.Worker(queue, noting, concurrency=1)):
        for shard in (*range(SHARDS), *range(SHARDS)):
            later, sooner = ids_on(queue, shard, 2, f"{len(noting.started)}-")
            await queue.enqueue(0, id=later, delay=0.4)
            await queue.enqueue(0, id=sooner, delay=0.2)
            await wait_until(lambda later=later: later in noting.late_us)  # type: ignore[misc]
    assert max(noting.late_us.values()) < SOON_US


async def test_a_slot_freed_on_one_shard_takes_what_waits_on_another(queue: zqueue.Queue) -> None:
    """A long job of a shard keeps one slot, a job elsewhere frees the other: the shard's next one starts at once."""
    noting = Noting(queue)
    long, waits = *ids_on(queue, 0, 1, "long"), *ids_on(queue, 0, 1)
    (elsewhere,) = ids_on(queue, 1, 1, "elsewhere")
    let_go = asyncio.Event()

    async def handler(job: zqueue.Job) -> None:
        if job.id == elsewhere:
            noting.started.append(job.id)
            await let_go.wait()
        else:
            await noting(job)

    async with working(zqueue.Worker(queue, handler, concurrency=2)):
        for turn in range(3):
            await queue.enqueue(0, id=elsewhere)
            await wait_until(lambda turn=turn: noting.started.count(elsewhere) == turn + 1)  # type: ignore[misc]
            await queue.enqueue_many([zqueue.NewJob(0, id=long), zqueue.NewJob(0, id=waits, delay=0.05)])
            await wait_until(lambda turn=turn: noting.started.count(long) == turn + 1)  # type: ignore[misc]
            if turn != 1:
                await asyncio.sleep(0.1)  # its token comes while no slot is free
            let_go.set()
            await wait_until(lambda turn=turn: noting.started.count(waits) == turn + 1, SOON_US / 1e6)  # type: ignore[misc]
            noting.go_on.set()
            await wait_until(lambda: noting.at_work == 0)
            noting.go_on.clear()
            let_go.clear()


async def test_leases_cancel_and_drain_reach_every_shard(queue: zqueue.Queue) -> None:
    """Jobs of all shards keep their leases, hear of their cancellation, and are given back when the drain is over."""
    noting = Noting(queue)
    ids = [each for shard in range(SHARDS) for each in ids_on(queue, shard, 2, "long")]
    await queue.enqueue_many([zqueue.NewJob(0, id=each) for each in ids])
    async with working(zqueue.Worker(queue, noting, lease=0.6, drain=0.1)):
        await wait_until(lambda: len(noting.started) == len(ids))
        await asyncio.sleep(1.3)  # two leases
        leased = await queue.jobs(zqueue.JobState.LEASED)
        assert sorted((job.id, job.deliveries) for job in leased) == sorted((each, 1) for each in ids)
        for each in ids[::2]:
            assert await queue.cancel(each)
        await wait_until(lambda: sorted(noting.cancelled) == sorted(ids[::2]))

    assert sorted(noting.cancelled) == sorted(ids)
    waiting = await queue.jobs(zqueue.JobState.SCHEDULED)
    assert sorted((job.id, job.attempts, job.deliveries) for job in waiting) == sorted(
        (each, 0, 0) for each in ids[1::2]
    )


async def test_one_job_on_its_last_delivery_in_a_worker(queue: zqueue.Queue) -> None:
    """Whatever their shards, a worker runs one job at a time that would be buried with it."""
    noting = Noting(queue)
    ids = [ids_on(queue, shard, 1, "long")[0] for shard in (0, 1)]
    await queue.enqueue_many([zqueue.NewJob(0, id=each) for each in ids])
    for shard in queue.shards[:2]:  # a worker that dies at once
        claim = shard.commands.claim(100, 1000, "ab", 2, solo_ok=True, worker="", kept=queue.kept)
        assert len((await queue.ask(shard, claim)).deliveries) == 1

    async with working(zqueue.Worker(queue, noting, max_deliveries=2, lease=2)):
        await wait_until(lambda: len(noting.started) == 1)
        await asyncio.sleep(0.3)  # the other one must not start meanwhile
        assert (len(noting.started), noting.at_work) == (1, 1)
        noting.go_on.set()
        await wait_until(lambda: len(noting.started) == 2, 20)

    assert (sorted(noting.started), noting.most, (await queue.stats()).dead) == (sorted(ids), 1, 0)


async def test_another_number_of_shards_is_refused(queue: zqueue.Queue, valkey: Server) -> None:
    """Whoever uses a queue first says how many shards it has; another number would lose sight of jobs."""
    await queue.enqueue(0, id="x", delay=60)
    for shards in (1, 2, 4):
        async with zqueue.Queue(queue.name, valkey.url, shards=shards) as other:
            with pytest.raises(zqueue.InvalidJob, match=rf"^queue '{queue.name}' has 3 shards, not {shards}$"):
                await other.enqueue(0)
            with pytest.raises(zqueue.InvalidJob, match="has 3 shards, not"):
                await zqueue.Worker(other, print).run()
            with pytest.raises(zqueue.InvalidJob, match="has 3 shards, not"):
                await other.get("x")
    async with zqueue.Queue(queue.name, valkey.url, shards=3) as same:
        assert await same.get("x") is not None


async def test_limits_are_for_queues_of_one_shard(queue: zqueue.Queue) -> None:
    """A limit that would hold on each shard by itself is refused."""
    with pytest.raises(zqueue.InvalidJob, match=r"^limits are for queues of one shard; .* has 3$"):
        await queue.set_limit("g", rate=1)


@pytest.mark.parametrize("fault", [Fault.CUT_REQUEST, Fault.BLACKHOLE])
async def test_a_shard_whose_server_is_away_holds_up_no_other(valkey: Server, fault: Fault) -> None:
    """What is asked of one shard breaks, or is never answered: jobs of the others start in time, on the only slot."""
    async with (
        Proxy(valkey) as proxy,
        zqueue.Queue(unique_name(), proxy.url, shards=2) as far,
        zqueue.Queue(far.name, valkey.url, shards=2) as near,
    ):
        noting = Noting(near)
        lost = far.shards[0].keys.wake

        def plan(request: Request) -> Fault | None:
            return fault if any(lost in command for command in request.commands) else None

        async with working(zqueue.Worker(far, noting, concurrency=1, lease=30)):
            await near.enqueue_many([zqueue.NewJob(0, id=ids_on(near, shard, 1)[0]) for shard in (0, 1)])
            await wait_until(lambda: len(noting.late_us) == 2)
            proxy.plan = plan
            await proxy.cut_all()
            await wait_until(lambda: proxy.faults > 0)
            ids = ids_on(near, 1, 12, "still")
            await wait_until(lambda: is_asked_if_back(proxy), 30)
            for each in ids:
                await near.enqueue(0, id=each)
                await wait_until(lambda each=each: each in noting.late_us, 5)  # type: ignore[misc]
            proxy.plan = lambda _request: None
            await proxy.cut_all()
            (back,) = ids_on(near, 0, 1, "back")
            await near.enqueue(0, id=back)
            await wait_until(lambda: back in noting.late_us, 30)

    assert max(noting.late_us[each] for each in ids) < SOON_US


def is_asked_if_back(proxy: Proxy) -> bool:
    """Whether the worker has found out that the shard is away: it asks nothing of it but whether it is back."""
    requests = [request for request, fault in proxy.requests if fault is not None]
    return any("nudge" in request.names for request in requests)


async def test_no_connection_is_left(queue: zqueue.Queue) -> None:
    """A worker of several shards that ends, and a queue that is closed, leave no connection."""

    async def clients() -> int:
        text = (await ask_server(queue, "CLIENT", "LIST")).decode()
        return len([line for line in text.splitlines() if "name=zqueue" in line])

    await queue.close()
    before = await clients()
    async with working(zqueue.Worker(queue, Noting(queue))):
        await queue.enqueue_many([zqueue.NewJob(0, keep_done=60) for _ in range(30)])
        job = await queue.enqueue(0, id="y")
        with pytest.raises((zqueue.ResultNotKept, zqueue.JobNotFound)):
            await job.result(1)
    assert await clients() > before
    await queue.close()
    async with asyncio.timeout(5):
        while await clients() > before:  # noqa: ASYNC110 - the server sends no events
            await asyncio.sleep(0.01)


async def test_a_stop_that_comes_while_the_queue_is_checked(
    queue: zqueue.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is heeded at once, not after the first sleep."""
    worker = zqueue.Worker(queue, Noting(queue))
    plain = queue.check

    async def check() -> None:
        await plain()
        worker.stop()
        worker.stop()

    monkeypatch.setattr(queue, "check", check)
    await asyncio.wait_for(worker.run(), 2)
