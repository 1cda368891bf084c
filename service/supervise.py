"""Everything in one command: Valkey, the API, a worker and the catch-all inbox as child processes of one supervisor.

A child has the read end of a pipe as its standard input and stops when that ends: should the supervisor die, however,
its children go with it. A child that dies is started again, with a growing delay; one that says that it cannot work
with what it was given (`exits.REFUSALS`) stops everything, for it would say so again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from service import exits, listening
from service.settings import PREFIX, Settings
from service.store import disk
from service.store.errors import StoreUnavailable
from zqueue import EmbeddedServer

_log = logging.getLogger(__name__)

_RESTART_S: Final = (0.2, 10.0)
_STEADY_S: Final = 10.0
"""A child that ran this long is started again without a long delay."""
_LOOK_S: Final = 0.05


class Child:
    """One program that is kept running."""

    def __init__(self, name: str, arguments: Sequence[str], *, environment: dict[str, str], fds: Sequence[int]) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment
        self._fds = fds
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def keep_running(self) -> int:
        """Run it, again and again, until it is told to stop or refuses to work; its last exit status."""
        delay = _RESTART_S[0]
        while True:
            started = time.monotonic()
            status = await self._run_once()
            if self._stopping.is_set() or status in exits.REFUSALS:
                return status
            if time.monotonic() - started > _STEADY_S:
                delay = _RESTART_S[0]
            _log.error("%s %s; it is started again in %.1f s", self.name, exits.describe(status), delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return status
            delay = min(2 * delay, _RESTART_S[1])

    async def _run_once(self) -> int:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            env=os.environ | self._environment,
            pass_fds=self._fds,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops them in order
        )
        if self._stopping.is_set():
            self._terminate()
        return await self._process.wait()

    def stop(self) -> None:
        """Ask it to stop; asked again, it stops at once."""
        self._stopping.set()
        self._terminate()

    def _terminate(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()


class Supervisor:
    """Starts, watches and stops what `up` runs.

    Args:
        announce: Called once with everything's addresses, when the API answers.
    """

    def __init__(self, settings: Settings, announce: Callable[[str, int], None]) -> None:
        self._settings = settings
        self._announce = announce
        self._children: list[Child] = []
        self._stop = asyncio.Event()
        # Opened before anything is started: a port that is taken is found out while there is nothing to stop yet.
        self._api_socket = listening.for_api(settings)
        self._inbox_socket = listening.for_inbox(settings) if settings.smtp_url is None else None
        self._valkey = EmbeddedServer(settings.data_dir / "valkey") if settings.redis_url is None else None

    async def run(self) -> int:
        """Run until a signal, or until a child refuses to work; the exit status.

        Raises:
            StoreUnavailable: The data directory cannot be written.
            QueueUnavailable: The embedded server could not be started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        try:
            _prepare(self._settings.data_dir)
            if self._valkey is not None:
                await asyncio.to_thread(self._valkey.ensure)
            return await self._keep_all_running()
        finally:
            self._api_socket.close()
            if self._inbox_socket is not None:
                self._inbox_socket.close()
            if self._valkey is not None:
                await asyncio.to_thread(self._valkey.shut_down)

    async def _keep_all_running(self) -> int:
        inbox_port = self._settings.inbox_port
        if self._inbox_socket is not None:
            inbox_port = self._inbox_socket.getsockname()[1]
        environment = {f"{PREFIX}INBOX_PORT": str(inbox_port)}
        inbox = self._child("the inbox", "inbox", environment, self._inbox_socket)
        worker = self._child("the worker", "worker", environment)
        api = self._child("the API", "api", environment, self._api_socket)
        self._children = [api, worker] if self._inbox_socket is None else [inbox, api, worker]
        running = {asyncio.create_task(child.keep_running()): child for child in self._children}
        announcing = asyncio.create_task(self._announce_when_ready(inbox_port))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        ended = [task.result() for task in running if task.done()]
        announcing.cancel()
        stopping.cancel()
        # The inbox last: the worker may have mail on its way to it.
        for group in ([api, worker], [inbox]):
            tasks = [task for task, child in running.items() if child in group]
            for child in group:
                child.stop()
            if tasks:
                await asyncio.wait(tasks)
        return ended[0] if ended else exits.OK

    def _child(
        self, name: str, command: str, environment: dict[str, str], serving_on: socket.socket | None = None
    ) -> Child:
        fds = () if serving_on is None else (serving_on.fileno(),)
        arguments = [command, "--supervised", *(word for fd in fds for word in ("--fd", str(fd)))]
        return Child(name, arguments, environment=environment, fds=fds)

    def _signalled(self) -> None:
        if self._stop.is_set():
            for child in self._children:
                child.stop()
        self._stop.set()

    async def _announce_when_ready(self, inbox_port: int) -> None:
        host, port = self._api_socket.getsockname()[:2]
        address = f"[{host}]" if ":" in host else str(host)
        while True:
            if await _answers(host, port):
                return self._announce(f"http://{address}:{port}", inbox_port)
            await asyncio.sleep(_LOOK_S)


def _prepare(data_dir: Path) -> None:
    """Make the data directory, so that an error is about it and not about something in it."""
    try:
        disk.make_folder(data_dir)
    except OSError as error:
        raise disk.unavailable(data_dir, error) from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise StoreUnavailable("not_writable", "it cannot be written to")


async def _answers(host: str, port: int) -> bool:
    """Whether the API answers that it lives."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
