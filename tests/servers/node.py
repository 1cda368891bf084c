"""One server process on a loopback port, which a test may kill, freeze, and ask."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import hiredis

from zqueue.embedded import find_binary

BUS: Final = 10_000
"""How far above its port a node of a Cluster listens for the other nodes, as all versions have it."""
PLAIN: Final = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
_ANSWER_S: Final = 5.0


class Node:
    """A server of its own folder.

    Args:
        words: Arguments of the server program.
        password: What it asks for, if anything.

    Attributes:
        frozen: Whether a test froze it.
    """

    def __init__(self, folder: Path, port: int, words: Sequence[str] = PLAIN, password: str = "") -> None:
        self.port = port
        self.frozen = False
        self._folder = folder
        self._words = list(words)
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs; returns when it answers."""
        if self.alive:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [find_binary(), *self._words, "--port", str(self.port), "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait(self._answers, f"a server on port {self.port}")

    @property
    def alive(self) -> bool:
        """Whether the process runs, or is frozen."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it without a farewell."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """It keeps its connections, takes new ones, and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        if self.alive:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)
        self.frozen = False

    def ask(self, *words: str | int | bytes) -> Any:
        """Its reply to one command, over a connection of its own; an error that it answers is raised."""
        reader = hiredis.Reader(encoding="utf-8")
        commands: list[tuple[Any, ...]] = [("AUTH", self._password), words] if self._password else [words]
        with socket.create_connection(("127.0.0.1", self.port), timeout=_ANSWER_S) as connection:
            reply: Any = None
            for command in commands:
                connection.sendall(hiredis.pack_command(command))
                while (reply := reader.gets()) is False:
                    data = connection.recv(1 << 16)
                    if not data:
                        raise ConnectionResetError(f"the server on port {self.port} closed the connection")
                    reader.feed(data)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def info(self, section: str) -> dict[str, str]:
        """What INFO says."""
        lines = (line.partition(":") for line in self.ask("INFO", section).splitlines())
        return {name: value for name, _, value in lines}

    def _answers(self) -> bool:
        if not self.alive:
            words = (self._folder / "log").read_text(errors="replace")
            raise AssertionError(f"the server on port {self.port} ended: {words[-500:]}")
        try:
            return bool(self.ask("PING"))
        except OSError:
            return False


def wait(holds: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    """Block until *holds*; what is waited for is in other processes."""
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports that are free, and with them the ports for the bus of a Cluster; below those that the system hands out."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000 - BUS)
        if port not in found and _is_free(port) and _is_free(port + BUS):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
