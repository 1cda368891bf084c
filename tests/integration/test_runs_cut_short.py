"""Every kind of run, cut short in every way: who hears of it, and what becomes of the job."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from typing import Any, Final

import pytest

import zqueue
from tests.asking import ask_server, until
from tests.conftest import wait_until
from zqueue.handler import Handler, Middleware, Next

LEASE_S: Final = 0.3
OUTCOMES: Final = {
    "cancel": None,
    "timeout": (zqueue.JobState.DEAD, 1, 0, "TimeoutError: the handler ran for more than 0.05 s"),
    "lost lease": (zqueue.JobState.LEASED, 0, 2, None),
    "drain": (zqueue.JobState.SCHEDULED, 0, 0, None),
}
"""What is left of a job: nothing, or its state, failed attempts, deliveries and error."""


class Run:
    """What a handler does: wait. A coroutine until it is cancelled, a thread until it is let go."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.let_go = threading.Event()

    async def asynchronous(self) -> None:
        """Say what happens."""
        self.said.append("started")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise

    def synchronous(self) -> str:
        """Say what happens, and return too late."""
        self.said.append("started")
        self.let_go.wait(30)
        self.said.append("ended")
        return "too late"


async def _through(job: zqueue.Job[Any], call: Next) -> Any:
    return await call(job)


def _worker(queue: zqueue.Queue, run: Run, kind: str) -> zqueue.Worker:
    """A worker of one slot that runs it as a handler or as a task."""
    function: Any = run.synchronous if "sync" in kind else run.asynchronous
    handler: Handler | None = None
    if "task" in kind:
        queue.task(name="work")(function)
    elif "sync" in kind:
        handler = lambda job: run.synchronous()  # noqa: E731
    else:

        async def handler(job: zqueue.Job[Any]) -> None:
            await run.asynchronous()

    middleware: list[Middleware] = [_through] if "middleware" in kind else []
    drain = timedelta(milliseconds=50)
    return zqueue.Worker(queue, handler, lease=LEASE_S, drain=drain, concurrency=1, middleware=middleware)


async def _seen(queue: zqueue.Queue) -> Any:
    job = await queue.get("x")
    return None if job is None else (job.state, job.attempts, job.deliveries, job.error)


async def _steal(queue: zqueue.Queue) -> None:
    """Let the lease end early, and claim the job as another worker would."""
    shard = queue.shards[0]
    await ask_server(queue, "ZADD", f"{shard.keys.prefix}leased", "XX", 0, "x")
    claim = shard.commands.claim(1, 3_600_000_000, "f" * 16, 5, solo_ok=True, worker="", kept=queue.kept)
    assert [each.id for each in (await queue.ask(shard, claim)).deliveries] == [b"x"]


@pytest.mark.parametrize("way", OUTCOMES)
@pytest.mark.parametrize("kind", ["handler", "task", "task in middleware", "sync handler", "sync task in middleware"])
async def test_a_run_cut_short(queue: zqueue.Queue, kind: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine is cancelled where it waits; a thread cannot be, but what it says later is written nowhere."""
    run = Run()
    worker = _worker(queue, run, kind)
    options: dict[str, Any] = {"retry": zqueue.Retry(1), "timeout": 0.05 if way == "timeout" else None}
    await queue.enqueue({"args": [], "kwargs": {}}, id="x", name="work", **options)
    working = asyncio.create_task(worker.run())
    try:
        await wait_until(lambda: run.said[:1] == ["started"])
        if way == "cancel":
            assert await queue.cancel("x")
        elif way == "lost lease":
            await _steal(queue)
        elif way == "drain":
            worker.stop()

        async def is_over() -> bool:
            told = way not in ("cancel", "lost lease") or "its handler is cancelled" in caplog.text
            return told and await _seen(queue) == OUTCOMES[way]

        await until(is_over)
        if "sync" not in kind:
            await wait_until(lambda: run.said == ["started", "cancelled"])
    finally:
        run.let_go.set()
        worker.stop()
        await asyncio.wait_for(working, 20)
    if "sync" in kind:
        await wait_until(lambda: run.said == ["started", "ended"])
    assert await _seen(queue) == OUTCOMES[way]
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == (0 if way == "drain" else 1)
