"""The blocking queue: every call, from any thread, after a fork, and not inside an event loop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import zqueue
from tests.conftest import unique_name
from zqueue.blocking import Queue, run
from zqueue.embedded import Server
from zqueue.testing import FakeClock

FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
HOUR = timedelta(hours=1)


@pytest.fixture
def blocking(any_server: Server) -> Iterator[Queue]:
    """A blocking queue of the test's own on each kind of server, whose time stands still."""
    with Queue(unique_name(), any_server.url, keep_done=HOUR, clock=FakeClock()) as fresh:
        yield fresh


def _run_all(queue: Queue, handler: zqueue.handler.Handler) -> None:
    run(zqueue.Worker(queue.asynchronous, handler).run(burst=True))


def test_the_life_of_a_job(blocking: Queue) -> None:
    """Enqueued, seen, moved, run, its result read; and a dead one let run again: what a script does."""
    job = blocking.enqueue({"n": 1}, id="x", delay=HOUR, group="g")
    assert (job.id, job.created, blocking.enqueue({"n": 2}, id="x").created) == ("x", True, False)
    assert blocking.reschedule("x", delay=0) is True
    _run_all(blocking, lambda job: job.payload["n"] + 1)
    record = blocking.get("x")
    assert record is not None
    assert (record.state, record.result) == (zqueue.JobState.DONE, 2)
    assert (blocking.result("x", timeout=5), run(job.result(timeout=5))) == (2, 2)

    def bury(job: zqueue.Job[Any]) -> None:
        raise zqueue.Bury("no")

    blocking.enqueue_many([zqueue.NewJob(n, id=str(n)) for n in range(3)])
    _run_all(blocking, bury)
    assert [each.id for each in blocking.jobs(zqueue.JobState.DEAD)] == ["0", "1", "2"]
    with pytest.raises(zqueue.JobFailed, match="no"):
        blocking.result("0", timeout=5)
    assert (blocking.requeue("0"), blocking.requeue("x")) == (True, False)
    assert (blocking.cancel("0"), blocking.cancel("0")) == (True, False)
    assert blocking.missing(["0", "1", "x"]) == ["0"]
    assert blocking.purge(zqueue.JobState.DEAD) == 2


def test_the_queue_as_a_whole(blocking: Queue) -> None:
    """Paused and limited, its schedules and figures: what an operator does."""
    blocking.pause()
    assert blocking.stats().paused is True
    blocking.resume()
    assert blocking.stats().paused is False
    slot = blocking.recur("hourly", zqueue.every(HOUR), {"n": 1})
    assert [(each.name, each.next_at) for each in blocking.recurring()] == [("hourly", slot)]
    assert (blocking.unrecur("hourly"), blocking.unrecur("hourly")) == (True, False)
    blocking.set_limit("g", rate=1, per=HOUR)
    blocking.enqueue_many([zqueue.NewJob(n, group="g") for n in range(3)])
    _run_all(blocking, lambda job: None)
    assert (blocking.stats().parked, blocking.stats().done) == (2, 1)
    assert blocking.incarnation() == blocking.incarnation()
    assert blocking.now() == blocking.asynchronous.now()


def test_nothing_is_missing() -> None:
    """Every public call of the asynchronous queue is there, with its parameters; only tasks are made with that one."""

    def public(kind: type) -> dict[str, Any]:
        return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}

    internal = {"ask", "ask_all", "check", "connections", "link", "shard", "address"}
    expected = {name for name in public(zqueue.Queue) if name not in {*internal, "task", "tasks"}}
    assert set(public(Queue)) == {*expected, "name"}
    for name in (*expected, "__init__"):
        ours, theirs = getattr(Queue, name), getattr(zqueue.Queue, name)
        assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
        assert not inspect.iscoroutinefunction(ours)
        assert inspect.getdoc(ours)


def test_a_queue_is_bound_later(valkey: Server) -> None:
    """A queue of a module gets its URL when the program knows it."""
    with Queue(unique_name()) as queue:
        queue.bind(valkey.url)
        assert queue.enqueue({}).created
        assert queue.name == queue.asynchronous.name


def test_bad_arguments_are_refused_as_ever(blocking: Queue) -> None:
    """An error is raised in the calling thread, as the asynchronous call raises it."""
    with pytest.raises(zqueue.InvalidJob, match="delay must be between 0"):
        blocking.enqueue({}, delay=-1)
    with pytest.raises(TypeError, match="dely"):
        blocking.enqueue({}, dely=1)  # type: ignore[call-arg]
    with pytest.raises(zqueue.InvalidJob, match="a queue name is"):
        Queue("")
    with pytest.raises(zqueue.InvalidJob, match="bound to"):
        blocking.bind("redis://localhost")


def test_threads_share_a_queue(blocking: Queue) -> None:
    """Threads that enqueue at the same time get each its own answer, and nothing is lost."""
    created: list[str] = []

    def produce(number: int) -> None:
        created.extend(blocking.enqueue({}, id=f"{number}-{n}").id for n in range(50))

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == sorted(f"{number}-{n}" for number in range(8) for n in range(50))
    assert blocking.stats().scheduled == 400


async def test_inside_an_event_loop_it_is_refused(valkey: Server) -> None:
    """A call in a thread that runs an event loop says what to do instead; in a thread of that loop's pool it works."""
    queue = Queue(unique_name(), valkey.url)
    with pytest.raises(zqueue.ZQueueError, match="await the asynchronous one"):
        queue.enqueue({})
    assert (await asyncio.to_thread(queue.enqueue, {})).created
    await asyncio.to_thread(queue.close)


def test_a_closed_queue_may_be_used_again(valkey: Server) -> None:
    """`close` lets go of the connections; the next call makes new ones."""
    queue = Queue(unique_name(), valkey.url)
    for expected in (True, False):
        with queue:
            assert queue.enqueue({}, id="x").created is expected
    queue.close()


def _in_child(work: Callable[[], object]) -> bool:
    """Whether *work* ends without an exception in a forked child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@FORKS
def test_parents_and_children_use_a_queue_side_by_side(blocking: Queue) -> None:
    """A server that was used before it forked its workers: each child enqueues, closes and ends; the parent goes on."""
    blocking.enqueue({}, id="before")

    def child(number: int) -> Callable[[], None]:
        def work() -> None:
            for n in range(20):
                assert blocking.enqueue({}, id=f"{number}-{n}").created
            blocking.close()
            gc.collect()

        return work

    for number in range(3):
        assert _in_child(child(number))
        assert blocking.enqueue({}, id=f"parent-{number}").created
    assert blocking.stats().scheduled == 1 + 3 * 20 + 3


def test_a_script_that_just_ends(valkey: Server) -> None:
    """A program that enqueues and ends, without closing anything, ends at once and in silence; its jobs are there."""
    name = unique_name()
    script = f"""
import zqueue.blocking
queue = zqueue.blocking.Queue({name!r}, {valkey.url!r})
print(queue.enqueue({{"n": 1}}, id="x").id)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "x\n", "")
    with Queue(name, valkey.url) as queue:
        record = queue.get("x")
    assert record is not None
    assert record.payload == {"n": 1}
