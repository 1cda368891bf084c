"""``zqueue worker --processes N``: one parent keeps N workers running, each a process of its own.

Parent and child share a socket pair. The child says over it that it has loaded what it is to run; and should the
parent die, however, the child reads the end of it and stops in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

from zqueue.cli import exits
from zqueue.cli.messages import tell

_RESTART_S: Final = (0.2, 10.0)
"""Delay before a child is started again; it doubles from the first to the second."""
_STEADY_S: Final = 10.0
"""A child that ran this long is started again after the short delay."""
_LOADED: Final = b"."


class Child:
    """One worker process that is kept running.

    Args:
        command: What to run; it is told its end of the socket pair by ``--parent FD``.

    Attributes:
        loaded: Done once it has loaded, with None, or has ended before, with its status.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.loaded: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def keep_running(self) -> int:
        """Run it until it is told to stop, again and again once it has loaded; its last status."""
        delay = _RESTART_S[0]
        while True:
            began = time.monotonic()
            status = await self._run_once()
            if self._stopping.is_set() and status == -signal.SIGTERM:
                return exits.OK  # told to stop before it had loaded: it had nothing to finish
            if self._stopping.is_set() or self.loaded.result() is not None:
                return status
            if time.monotonic() - began > _STEADY_S:
                delay = _RESTART_S[0]
            tell(f"{self.name} {exits.describe(status)}; it is started again in {delay:.1f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return status
            delay = min(2 * delay, _RESTART_S[1])

    async def _run_once(self) -> int:
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    *("--parent", str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # Ctrl-C is for the parent, which stops them in order
                )
            if self._stopping.is_set():
                self._terminate()
            said = await asyncio.get_running_loop().sock_recv(ours, 1)
            if said and not self.loaded.done():
                self.loaded.set_result(None)
            status = await self._process.wait()
            if not self.loaded.done():
                self.loaded.set_result(status)
            return status

    def stop(self) -> None:
        """Ask it to stop in order; asked again, it stops at once."""
        self._stopping.set()
        self._terminate()

    def _terminate(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()


async def keep_running(command: Sequence[str], count: int) -> int:
    """Run *count* children until SIGTERM or SIGINT, or until the first cannot load; the worst of their statuses."""
    stop = asyncio.Event()
    children: list[Child] = []

    def signalled() -> None:
        stop.set()
        for child in children:
            child.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    children.append(Child("worker 1", command))
    running = [loop.create_task(children[0].keep_running())]
    await children[0].loaded  # what cannot be loaded is said once, and not by all
    if children[0].loaded.result() is None and not stop.is_set():
        children.extend(Child(f"worker {number}", command) for number in range(2, count + 1))
        running.extend(loop.create_task(child.keep_running()) for child in children[1:])
    return max(map(exits.of_process, await asyncio.gather(*running)))


def stand_by_parent(descriptor: int) -> None:
    """In a child that has loaded: say so, and stop in order when the parent ends."""
    with contextlib.suppress(OSError):  # the parent has ended already, which is read next
        os.write(descriptor, _LOADED)

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="zqueue watches its parent", daemon=True).start()
