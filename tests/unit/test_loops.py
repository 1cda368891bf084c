"""The private event loop of blocking callers: from any thread, after a fork, and never inside another loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

import pytest

from tests.conftest import wait_until
from zqueue import loops
from zqueue.errors import ZQueueError

FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


async def _where() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


async def _fail() -> None:
    raise ValueError("no")


def _in_child(work: Callable[[], bool]) -> bool:
    """What *work* says in a forked child; False when it raises."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_coroutine_runs_elsewhere_and_its_outcome_comes_back() -> None:
    """What it returns is returned, what it raises is raised, and it runs in one thread that is not the caller's."""
    first, second = loops.run(_where()), loops.run(_where())
    assert first == second
    assert first[1] != threading.get_ident()
    with pytest.raises(ValueError, match="no"):
        loops.run(_fail())


def test_any_thread_may_call() -> None:
    """Calls of many threads run side by side in the one loop: each waits for all the others."""
    barrier = asyncio.Barrier(8)
    got: list[int] = []

    async def meet() -> int:
        await asyncio.wait_for(barrier.wait(), 10)
        return threading.get_ident()

    threads = [threading.Thread(target=lambda: got.append(loops.run(meet()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [loops.run(_where())[1]] * 8


async def test_inside_an_event_loop_it_is_refused() -> None:
    """A thread that runs an event loop is told to await, and the coroutine is not left behind unawaited."""
    with pytest.raises(ZQueueError, match="await the asynchronous one"):
        loops.run(_where())


def test_inside_the_private_loop_it_is_refused() -> None:
    """A blocking call from code that a blocking call runs would wait for itself for ever: it is refused."""

    async def nested() -> None:
        loops.run(_where())

    with pytest.raises(ZQueueError, match="await the asynchronous one"):
        loops.run(nested())


def test_ctrl_c_cancels_what_was_waited_for() -> None:
    """A KeyboardInterrupt reaches the caller at once, and its coroutine is cancelled."""
    cancelled = threading.Event()
    caller = threading.get_ident()

    async def interrupt_and_wait() -> None:
        await wait_until(lambda: sys._current_frames()[caller].f_code is threading.Condition.wait.__code__)
        signal.pthread_kill(caller, signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever ran before in this process
    try:
        with pytest.raises(KeyboardInterrupt):
            loops.run(interrupt_and_wait())
    finally:
        signal.signal(signal.SIGINT, before)
    assert cancelled.wait(10)


@FORKS
def test_a_forked_child_has_a_loop_of_its_own() -> None:
    """A child runs coroutines in its own process; and so does its parent, before and after."""
    parent = os.getpid()
    assert loops.run(_where())[0] == parent
    assert _in_child(lambda: loops.run(_where())[0] == os.getpid() != parent)
    assert loops.run(_where())[0] == parent


@FORKS
def test_a_fork_at_a_bad_moment_does_not_lock_the_child_out() -> None:
    """A child made while another thread was starting the loop can use its own."""
    with loops._THREAD._lock:
        assert _in_child(lambda: loops.run(_where())[0] == os.getpid())


@FORKS
def test_a_child_that_clears_away_its_parents_connections_does_not_deafen_the_parent() -> None:
    """A child may close what it inherited: the parent's loop still hears of its own sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(sock=ours)

        reader, writer = loops.run(connect())

        def clear_away() -> bool:
            writer.transport.close()
            return True

        assert _in_child(clear_away)
        theirs.send(b"x")

        async def hear() -> bytes:
            heard = await asyncio.wait_for(reader.read(1), 10)
            writer.close()
            await writer.wait_closed()
            return heard

        assert loops.run(hear()) == b"x"
