"""One event loop in a thread of its own, for callers that have none: how blocking calls run asynchronous code.

There is one for the process. It starts with the first call and lives as long as the process does; a child made by
`fork`, which inherits no threads, starts its own.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from zqueue.errors import ZQueueError

R = TypeVar("R")


class _LoopThread:
    """The loop, once it is needed."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                # An epoll instance would be shared with a forked child, whose clearing away of the connections it
                # inherited would stop the parent's from being heard; what `poll` waits for is each process's own.
                self._loop = asyncio.SelectorEventLoop(selectors.PollSelector())
                threading.Thread(target=self._loop.run_forever, name="zqueue blocking calls", daemon=True).start()
            return self._loop


_THREAD: Final = _LoopThread()


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run *coroutine* in the process's private event loop and block until it ends. Any thread may call this.

    A KeyboardInterrupt meanwhile cancels it.

    Raises:
        ZQueueError: The calling thread runs an event loop, which this call would stop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        future = asyncio.run_coroutine_threadsafe(coroutine, _THREAD.loop())
        try:
            return future.result()
        finally:
            future.cancel()
    coroutine.close()
    raise ZQueueError("a blocking call would stop the event loop that runs in this thread: await the asynchronous one")
