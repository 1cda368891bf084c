"""A server that dies, forgets its scripts, or throws its clients out, under a worker at work."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import zqueue
from tests.asking import ask_server, until
from tests.conftest import unique_name, wait_until
from tests.integration.working import working
from zqueue import crew
from zqueue.connect import Link
from zqueue.embedded import Server, server


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[zqueue.Queue]:
    """A queue on a server of its own, which whoever misses it first starts again."""
    folder = tmp_path / "valkey"
    with Server(folder) as own:
        async with zqueue.Queue(unique_name(), own.url) as fresh:
            yield fresh
    server(folder).shut_down()


async def kill_server(queue: zqueue.Queue) -> None:
    """Kill it with -9, whoever started it; returns when it is gone."""
    info = (await ask_server(queue, "INFO", "server")).decode()
    pid = next(int(line.partition(":")[2]) for line in info.splitlines() if line.startswith("process_id:"))
    os.kill(pid, signal.SIGKILL)

    def is_gone() -> bool:
        """Ended and not yet reaped counts; a thread left over does not: it keeps the socket."""
        try:
            threads = os.listdir(f"/proc/{pid}/task")
            return len(threads) == 1 and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True

    await wait_until(is_gone)


class Slow:
    """A handler that waits to be let go, and counts what started and what ended."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.go_on = asyncio.Event()

    async def __call__(self, job: zqueue.Job) -> None:
        """Wait."""
        self.started[job.id] += 1
        await self.go_on.wait()
        self.ended[job.id] += 1


def losses(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged about lost leases."""
    return [text for text in (record.getMessage() for record in caplog.records) if "is lost" in text]


async def is_empty(queue: zqueue.Queue) -> bool:
    """Whether all jobs ended well."""
    stats = await queue.stats()
    return (stats.scheduled, stats.leased, stats.dead) == (0, 0, 0)


async def test_a_server_killed_under_a_worker_comes_back_and_nothing_is_lost(
    queue: zqueue.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """An embedded server killed with -9 is started again; what ran is settled, what waits runs, each job once."""
    handler = Slow()
    await queue.enqueue_many([zqueue.NewJob(0, id=f"runs{number}") for number in range(3)])
    await queue.enqueue_many([zqueue.NewJob(0, id=f"waits{number}", delay=1) for number in range(3)])
    async with working(zqueue.Worker(queue, handler, lease=5)):
        await wait_until(lambda: len(handler.started) == 3)
        await kill_server(queue)
        handler.go_on.set()
        await until(lambda: is_empty(queue), 30)

    once = Counter([f"runs{number}" for number in range(3)] + [f"waits{number}" for number in range(3)])
    assert (handler.started, handler.ended) == (once, once)
    assert losses(caplog) == []


async def test_a_server_killed_under_an_idle_worker_is_there_for_the_next_job(queue: zqueue.Queue) -> None:
    """A sleeping worker misses its server, and takes up work again without being told."""
    handler = Slow()
    handler.go_on.set()
    worker = zqueue.Worker(queue, handler)
    async with working(worker):
        await wait_until(lambda: worker.last_claim is not None)
        for turn in range(2):
            await kill_server(queue)
            await queue.enqueue(0, id=f"x{turn}")
            await wait_until(lambda turn=turn: handler.ended[f"x{turn}"] == 1)  # type: ignore[misc]


async def test_clients_thrown_out_come_back(queue: zqueue.Queue, caplog: pytest.LogCaptureFixture) -> None:
    """CLIENT KILL of every connection, again and again while jobs run, costs nothing but reconnecting."""
    handler = Slow()
    async with working(zqueue.Worker(queue, handler, lease=1)):
        for turn in range(3):
            await queue.enqueue(0, id=f"x{turn}")
            await wait_until(lambda turn=turn: handler.started[f"x{turn}"] == 1)  # type: ignore[misc]
            await ask_server(queue, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        handler.go_on.set()
        await until(lambda: is_empty(queue), 20)

    assert handler.ended == Counter(["x0", "x1", "x2"])
    assert losses(caplog) == []


async def test_forgotten_scripts_are_loaded_again(queue: zqueue.Queue, caplog: pytest.LogCaptureFixture) -> None:
    """SCRIPT FLUSH between any two steps is not noticed by anybody."""
    handler = Slow()
    handler.go_on.set()
    async with working(zqueue.Worker(queue, handler)):
        for turn in range(5):
            await ask_server(queue, "SCRIPT", "FLUSH")
            await queue.enqueue(0, id=f"x{turn}")
            await ask_server(queue, "SCRIPT", "FLUSH")
            await wait_until(lambda turn=turn: handler.ended[f"x{turn}"] == 1)  # type: ignore[misc]
        await until(lambda: is_empty(queue))

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_emptied_server_is_worked_on(queue: zqueue.Queue, caplog: pytest.LogCaptureFixture) -> None:
    """FLUSHALL takes the jobs, running ones too; the worker hears of it and runs what comes next."""
    handler = Slow()
    async with working(zqueue.Worker(queue, handler, lease=0.5)):
        await queue.enqueue(0, id="gone")
        await wait_until(lambda: handler.started["gone"] == 1)
        await ask_server(queue, "FLUSHALL")
        await wait_until(lambda: len(losses(caplog)) == 1)
        handler.go_on.set()
        await queue.enqueue(0, id="next")
        await wait_until(lambda: handler.ended["next"] == 1)

    assert handler.ended == Counter(["next"])


async def test_a_stopping_worker_does_not_wait_for_a_dead_server_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker told to stop while its server is away ends, and says what it could not settle."""
    monkeypatch.setattr(crew, "_LAST_WORDS_S", 0.3)
    handler = Slow()
    with Server(tmp_path / "valkey") as own:
        queue = zqueue.Queue(unique_name(), f"unix://{own.socket}")
        worker = zqueue.Worker(queue, handler, drain=0)
        task = asyncio.create_task(worker.run())
        await queue.enqueue(0, id="x")
        await wait_until(lambda: handler.started["x"] == 1)
        await queue.close()
    worker.stop()
    worker.stop()

    await asyncio.wait_for(task, 25)
    assert "1 runs are not settled, their leases will end: " in caplog.text


async def test_a_master_that_became_a_replica_is_not_trusted(
    queue: zqueue.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Demoted under a sleeping worker: it says so and waits for a master; a job enqueued meanwhile runs on that."""
    handler = Slow()
    handler.go_on.set()
    worker = zqueue.Worker(queue, handler)
    async with working(worker):
        await wait_until(lambda: worker.last_claim is not None)
        await queue.enqueue(0, id="before")
        await wait_until(lambda: handler.ended["before"] == 1)
        promote = Link(queue.address)  # connected now: a new connection to a replica is refused
        await promote.send(("REPLICAOF", "127.0.0.1", "1"))
        await wait_until(lambda: "not a master" in caplog.text, what="a warning")
        enqueued = asyncio.create_task(queue.enqueue(0, id="meanwhile"))
        await promote.send(("REPLICAOF", "NO", "ONE"))
        await promote.close()
        assert (await asyncio.wait_for(enqueued, 20)).created
        await wait_until(lambda: handler.ended["meanwhile"] == 1)

    assert losses(caplog) == []


async def test_a_stop_is_heeded_while_the_server_refuses(queue: zqueue.Queue) -> None:
    """A worker whose server is a replica ends soon after it is told to."""
    worker = zqueue.Worker(queue, Slow())
    task = asyncio.create_task(worker.run())
    await wait_until(lambda: worker.last_claim is not None)
    await ask_server(queue, "REPLICAOF", "127.0.0.1", "1")
    await asyncio.sleep(0.2)  # it may be in the middle of repeating a claim
    worker.stop()

    await asyncio.wait_for(task, 10)
