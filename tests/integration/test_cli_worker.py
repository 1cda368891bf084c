"""``zqueue worker``: what it runs, what it refuses to run, and how it ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import zqueue
from tests.command_line import running
from tests.worker_app import enqueue, write_app
from zqueue.embedded import Server


@pytest.fixture
def app(tmp_path: Path, queue: zqueue.Queue) -> Path:
    """A folder with a module ``app``, whose tasks are those of the test's queue."""
    return write_app(tmp_path, queue.name)


@pytest.mark.parametrize("target", ["app:queue", "app:own", "app:make"])
async def test_runs_what_a_module_of_the_current_directory_names(
    app: Path, queue: zqueue.Queue, valkey: Server, target: str
) -> None:
    """A queue's tasks, a worker, or what a function makes; SIGTERM ends it, with status 0."""
    await enqueue(queue, "one")
    async with running("worker", target, "--url", valkey.url, cwd=app) as worker:
        await worker.says("end one")
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0
    (line,) = [line for line in worker.err if line.startswith("worker ")]
    assert line == f"worker {worker.process.pid}: queue {queue.name!r} on {valkey.url}, tasks do"


async def test_the_first_signal_lets_jobs_end_and_the_second_does_not(
    app: Path, queue: zqueue.Queue, valkey: Server
) -> None:
    """A job that hangs is given back, without an attempt, at the second one."""
    job = await enqueue(queue, "hang")
    async with running("worker", "app:queue", cwd=app, ZQUEUE_URL=valkey.url) as worker:
        await worker.says("start hang")
        assert await worker.insist(signal.SIGINT) == 0
    assert "cancelled hang" in worker.out
    record = await queue.get(job.id)
    assert record is not None
    assert (record.state, record.attempts, record.deliveries) == (zqueue.JobState.SCHEDULED, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("app:kew",), "Error: app has no 'kew'; it has queue (a Queue), bare (a Queue), own (a Worker)"),
        (
            ("app:queue", "bpp:queue", "--processes", "3"),
            "Error: there is no module 'bpp', from the current directory or installed",
        ),
    ],
)
async def test_what_cannot_be_run_is_told_once(app: Path, arguments: tuple[str, ...], message: str) -> None:
    """In a line, with status 2, however many processes were to run it."""
    async with running("worker", *arguments, cwd=app, ZQUEUE_URL="redis://localhost:1") as worker:
        assert await worker.ended() == 2
    assert [line for line in worker.err if line.startswith("Error")] == [message]


async def test_an_error_in_the_module_shows_where_it_is(app: Path) -> None:
    """Its traceback, and status 1."""
    async with running("worker", "broken:queue", cwd=app) as worker:
        assert await worker.ended() == 1
    assert "Traceback" in worker.err[0]
    assert worker.err[-1] == "ModuleNotFoundError: No module named 'no_such_library'"


async def test_a_queue_that_it_may_not_work_on(app: Path, queue: zqueue.Queue, valkey: Server) -> None:
    """Is told in a line, with status 2: here it has other shards."""
    async with zqueue.Queue(queue.name, valkey.url, shards=2) as other:
        await other.stats()
    async with running("worker", "app:queue", cwd=app, ZQUEUE_URL=valkey.url) as worker:
        assert await worker.ended() == 2
    assert worker.err[-1] == f"Error: queue {queue.name!r} has 2 shards, not 1"


async def test_a_queue_without_a_url_is_told(app: Path) -> None:
    """Before anything runs."""
    async with running("worker", "app:queue", cwd=app) as worker:
        assert await worker.ended() == 2
    assert "has no URL" in worker.err[0]
