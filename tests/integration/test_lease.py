"""Leases: renewed while their jobs run, by a thread with a connection of its own; and what their loss does."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

import zqueue
from tests.asking import ask_server, lease_ends_us, server_time_us, until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from tests.proxy import Fault, Proxy, Request, at
from zqueue.commands import CHUNK
from zqueue.embedded import Server

LEASE_S = 0.6


class Waiting:
    """A handler that waits to be let go."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.cancelled: list[str] = []
        self.go_on = asyncio.Event()

    async def __call__(self, job: zqueue.Job) -> None:
        """Wait."""
        self.started.append((job.id, job.deliveries))
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.append(job.id)
            raise


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged that should worry somebody."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def renewed_since(queue: zqueue.Queue, moment_us: int, count: int) -> Callable[[], object]:
    """A condition: all *count* leases were renewed after *moment_us*, by the server's clock."""

    async def condition() -> bool:
        ends = await lease_ends_us(queue)
        return len(ends) == count and min(ends.values()) > moment_us + LEASE_S * 1e6

    return condition


async def test_leases_are_renewed_however_many(queue: zqueue.Queue) -> None:
    """More jobs than go into one call keep their leases for several leases on end, each with one run."""
    count = 2 * CHUNK + 50
    handler = Waiting()
    await queue.enqueue_many([zqueue.NewJob(0) for _ in range(count)])
    async with working(zqueue.Worker(queue, handler, concurrency=1000, lease=LEASE_S), zqueue.Worker(queue, handler)):
        await wait_until(lambda: len(handler.started) == count)
        later_us = await server_time_us(queue) + int(2 * LEASE_S * 1e6)
        await until(renewed_since(queue, later_us, count))  # type: ignore[arg-type]
        handler.go_on.set()

    assert {deliveries for _, deliveries in handler.started} == {1}
    assert len(handler.started) == count


async def test_a_blocked_loop_does_not_stop_renewals(queue: zqueue.Queue) -> None:
    """While a handler blocks the event loop, its own lease and those of its neighbours are renewed."""
    handler = Waiting()
    ends: list[dict[str, int]] = []

    async def block(job: zqueue.Job) -> None:
        time.sleep(3 * LEASE_S)  # noqa: ASYNC251 - what it is for
        ends.append(await lease_ends_us(queue))

    began_us = await server_time_us(queue)
    await queue.enqueue_many([zqueue.NewJob(0, id="patient", name="wait"), zqueue.NewJob(0, id="rude", name="block")])
    async with working(zqueue.Worker(queue, {"wait": handler, "block": block}, lease=LEASE_S)):
        await wait_until(lambda: len(ends) == 1)
        handler.go_on.set()

    assert sorted(ends[0]) == ["patient", "rude"]
    assert min(ends[0].values()) - began_us > 3 * LEASE_S * 1e6
    assert handler.started == [("patient", 1)]


async def test_renewing_does_not_wait_for_the_worker_s_connection(valkey: Server) -> None:
    """Renewals go on while the worker's own connection is stuck."""
    async with Proxy(valkey) as proxy, zqueue.Queue(unique_name(), proxy.url) as queue:
        handler = Waiting()
        async with working(zqueue.Worker(queue, handler, lease=LEASE_S)):
            await queue.enqueue(0, id="x")
            await wait_until(lambda: handler.started == [("x", 1)])
            proxy.plan = at("claim", range(1, 1000), 2 * LEASE_S)
            later_us = await server_time_us(queue) + int(2 * LEASE_S * 1e6)
            await until(renewed_since(queue, later_us, 1))  # type: ignore[arg-type]
            proxy.plan = lambda _request: None
            handler.go_on.set()


@pytest.mark.parametrize("fault", list(Fault))
async def test_a_lost_renewal_is_repeated_in_time(
    valkey: Server, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal that is cut off, or that nobody answers, is sent again while the lease still lasts: one run."""
    async with Proxy(valkey) as proxy, zqueue.Queue(unique_name(), proxy.url) as queue:
        handler = Waiting()
        other = zqueue.Queue(queue.name, valkey.url)
        await queue.enqueue(0, id="x")
        async with working(zqueue.Worker(queue, handler, lease=2)):
            await wait_until(lambda: len(handler.started) == 1)
            proxy.plan = at("extend", [1], fault)
            async with working(zqueue.Worker(other, handler, lease=2)):
                await wait_until(lambda: len(list(proxy.seen("extend"))) >= 3, 20)
            handler.go_on.set()
        await other.close()
        assert proxy.faults == 1

    assert (handler.started, handler.cancelled, warned(caplog)) == ([("x", 1)], [], [])


async def test_a_stolen_lease_cancels_its_handler_and_nothing_else(
    valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker cut off past its lease: another one runs the job, the late run is cancelled and settles nothing."""
    async with (
        Proxy(valkey) as proxy,
        zqueue.Queue(unique_name(), proxy.url) as far,
        zqueue.Queue(far.name, valkey.url) as near,
    ):
        old, new = Waiting(), Waiting()
        worker = zqueue.Worker(far, old, lease=LEASE_S)
        async with working(worker):
            await near.enqueue(0, id="x")
            await wait_until(lambda: old.started == [("x", 1)])
            proxy.plan = _cut_off
            await proxy.cut_all()
            async with working(zqueue.Worker(near, new, lease=LEASE_S)):
                await wait_until(lambda: new.started == [("x", 2)])
                assert old.cancelled == []
                proxy.plan = lambda _request: None
                await wait_until(lambda: old.cancelled == ["x"])
                job = await near.get("x")
                assert job is not None
                assert (job.state, job.deliveries, job.attempts) == (zqueue.JobState.LEASED, 2, 0)
                new.go_on.set()
        stats = await near.stats()

    assert (stats.scheduled, stats.leased, stats.dead) == (0, 0, 0)
    assert (new.cancelled, old.started, new.started) == ([], [("x", 1)], [("x", 2)])
    assert "the lease on job 'x' is lost; nothing was written; its handler is cancelled (stolen)" in warned(caplog)


def _cut_off(_request: Request) -> Fault:
    return Fault.CUT_REQUEST


async def test_a_stolen_lease_of_a_thread_ends_with_it(queue: zqueue.Queue, caplog: pytest.LogCaptureFixture) -> None:
    """A thread whose job is gone runs to its end, keeps its slot meanwhile, and its outcome is nobody's business."""
    let_go = threading.Event()
    ran: list[str] = []

    def handler(job: zqueue.Job) -> None:
        ran.append(job.id)
        if job.id == "x":
            let_go.wait()

    async with working(zqueue.Worker(queue, handler, lease=0.3, concurrency=1)):
        await queue.enqueue(0, id="x")
        await wait_until(lambda: ran == ["x"])
        await queue.cancel("x")
        await wait_until(lambda: len(warned(caplog)) == 1)
        await queue.enqueue(0, id="y")
        assert ran == ["x"]
        let_go.set()
        await wait_until(lambda: ran == ["x", "y"])

    assert (await queue.stats()).leased == 0
    assert len(warned(caplog)) == 1


async def test_an_idle_keeper_says_nothing(valkey: Server) -> None:
    """Without jobs there is nothing to renew: no call, however short the lease."""
    async with Proxy(valkey) as proxy, zqueue.Queue(unique_name(), proxy.url) as queue:
        worker = zqueue.Worker(queue, lambda job: None, lease=0.2)
        async with working(worker):
            await wait_until(lambda: len(list(proxy.seen("claim"))) >= 5)

    assert list(proxy.seen("extend")) == []


async def test_the_lease_is_the_worker_s(queue: zqueue.Queue) -> None:
    """A claim lasts as long as the worker says, from the server's now."""
    handler = Waiting()
    await queue.enqueue(0, id="x")
    before_us = await server_time_us(queue)
    async with working(zqueue.Worker(queue, handler, lease=timedelta(hours=1))):
        await wait_until(lambda: len(handler.started) == 1)
        ends = await lease_ends_us(queue)
        after_us = await server_time_us(queue)
        handler.go_on.set()

    assert before_us <= ends["x"] - 3_600_000_000 <= after_us
    assert await ask_server(queue, "ZCARD", f"{queue.shards[0].keys.prefix}leased") == 0
