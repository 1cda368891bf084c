"""A program for ``zqueue worker`` to run: a module, written into a folder, and jobs for its task."""

from __future__ import annotations

from pathlib import Path

import zqueue
from tests.asking import until

APP = """
import asyncio, os, signal, zqueue

queue = zqueue.Queue({name!r})
bare = zqueue.Queue("bare")

@queue.task
async def do(what: str) -> None:
    print("start", what, os.getpid(), flush=True)
    try:
        if what == "hang":
            await asyncio.sleep(3600)
        elif what == "long":
            await asyncio.sleep(0.5)
        elif what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
    except asyncio.CancelledError:
        print("cancelled", what, flush=True)
        if os.environ.get("SPITE"):
            os._exit(7)
        raise
    print("end", what, os.getpid(), flush=True)

own = zqueue.Worker(queue, concurrency=1)

def make():
    return zqueue.Worker(queue, concurrency=2)
"""


def write_app(folder: Path, name: str) -> Path:
    """Write a module ``app``, whose task is one of the queue *name*, into a folder, and one that is ``broken``."""
    (folder / "app.py").write_text(APP.format(name=name))
    (folder / "broken.py").write_text("import app\nimport no_such_library\n")
    return folder


async def enqueue(queue: zqueue.Queue, what: str) -> zqueue.Job[None]:
    """A job for the app's task."""
    return await queue.enqueue({"args": [what], "kwargs": {}}, name="do")


async def ended_all(queue: zqueue.Queue) -> None:
    """Wait until nothing waits or runs."""

    async def empty() -> bool:
        stats = await queue.stats()
        return (stats.scheduled, stats.leased) == (0, 0)

    await until(empty)
