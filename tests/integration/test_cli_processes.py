"""``zqueue worker --processes N``: signals, deaths of children, and the death of the parent."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import zqueue
from tests.command_line import Program, running
from tests.conftest import wait_until
from tests.worker_app import ended_all, enqueue, write_app
from zqueue.embedded import Server


@pytest.fixture
def app(tmp_path: Path, queue: zqueue.Queue) -> Path:
    """A folder with a module ``app``, whose tasks are those of the test's queue."""
    return write_app(tmp_path, queue.name)


async def started(worker: Program, count: int) -> list[int]:
    """Wait until so many children run; their process ids."""
    lines = await worker.says(": queue ", count)
    return [int(line.split()[1].rstrip(":")) for line in lines]


def lives(pid: int) -> bool:
    """Whether a process is there, and not only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_each_process_runs_jobs(app: Path, queue: zqueue.Queue, valkey: Server) -> None:
    """With the concurrency each: two processes of one job take two jobs at a time."""
    for _ in range(2):
        await enqueue(queue, "hang")
    options = ("--processes", "2", "--concurrency", "1", "--drain", "0")
    async with running("worker", "app:queue", *options, cwd=app, ZQUEUE_URL=valkey.url) as worker:
        pids = await started(worker, 2)
        running_in = [int(line.split()[2]) for line in await worker.says("start hang", 2)]
        assert (sorted(running_in), len({*pids, worker.process.pid})) == (sorted(pids), 3)
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0
    assert [pid for pid in pids if lives(pid)] == []


async def test_a_signal_is_passed_on(app: Path, queue: zqueue.Queue, valkey: Server) -> None:
    """The first lets jobs end, in all children; the second ends them at once."""
    async with running("worker", "app:queue", "--processes", "2", cwd=app, ZQUEUE_URL=valkey.url) as worker:
        await started(worker, 2)
        await enqueue(queue, "long")
        await worker.says("start long")
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0
    assert any(line.startswith("end long") for line in worker.out)

    job = await enqueue(queue, "hang")
    async with running("worker", "app:queue", "--processes", "2", cwd=app, ZQUEUE_URL=valkey.url) as worker:
        pids = await started(worker, 2)
        (line,) = await worker.says("start hang")
        (idle,) = {*pids} - {int(line.split()[2])}
        worker.send(signal.SIGINT)
        await wait_until(lambda: not lives(idle), what="the end of the idle child")
        assert worker.process.returncode is None
        assert await worker.insist(signal.SIGINT) == 0
    record = await queue.get(job.id)
    assert record is not None
    assert (record.state, record.attempts, record.deliveries) == (zqueue.JobState.SCHEDULED, 0, 0)


async def test_a_child_that_dies_is_started_again(app: Path, queue: zqueue.Queue, valkey: Server) -> None:
    """With a delay that doubles; the others go on, and its status does not count once it runs again."""
    async with running("worker", "app:queue", "--processes", "2", cwd=app, ZQUEUE_URL=valkey.url) as worker:
        first, second = await started(worker, 2)
        os.kill(first, signal.SIGKILL)
        third = (await started(worker, 3))[-1]
        os.kill(third, signal.SIGKILL)
        await started(worker, 4)
        assert lives(second)
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0
    deaths = [line.partition(" ")[2] for line in worker.err if "is started again" in line]
    assert sorted(line[2:] for line in deaths) in (
        ["was killed by SIGKILL; it is started again in 0.2 s", "was killed by SIGKILL; it is started again in 0.4 s"],
    )


async def test_a_stop_does_not_wait_for_a_restart(app: Path, queue: zqueue.Queue, valkey: Server) -> None:
    """It ends at once, and tells how the child had died."""
    async with running("worker", "app:queue", "--processes", "2", cwd=app, ZQUEUE_URL=valkey.url) as worker:
        for count, delay in ((2, "0.2"), (3, "0.4"), (4, "0.8")):
            pids = await started(worker, count)
            os.kill(pids[0 if count == 2 else -1], signal.SIGKILL)
            await worker.says(f"is started again in {delay} s")
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 128 + signal.SIGKILL
    assert len(await started(worker, 4)) == 4


async def test_children_end_with_a_parent_that_is_killed(app: Path, queue: zqueue.Queue, valkey: Server) -> None:
    """In order: what runs is finished."""
    async with running("worker", "app:queue", "--processes", "2", cwd=app, ZQUEUE_URL=valkey.url) as worker:
        pids = await started(worker, 2)
        await enqueue(queue, "long")
        await worker.says("start long")
        worker.send(signal.SIGKILL)
        assert await worker.ended() == -signal.SIGKILL
        await wait_until(lambda: not any(map(lives, pids)), what="the end of the children")
    assert any(line.startswith("end long") for line in worker.out)
    await ended_all(queue)


async def test_the_worst_status_is_the_parents(app: Path, queue: zqueue.Queue, valkey: Server) -> None:
    """A child that fails on its way out is not hidden by one that does not."""
    await enqueue(queue, "hang")
    options = ("--processes", "2", "--drain", "0")
    async with running("worker", "app:queue", *options, cwd=app, ZQUEUE_URL=valkey.url, SPITE="1") as worker:
        await started(worker, 2)
        await worker.says("start hang")
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 7
