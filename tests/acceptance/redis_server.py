"""A Redis of one's own on a TCP port, that can be away and come back empty."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from types import TracebackType

import redis

from tests.acceptance.running import eventually
from zqueue.embedded import find_binary


class RedisServer:
    """A server that keeps nothing on disk; a context manager, which does not start it but stops it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()

    @property
    def url(self) -> str:
        """What the service is told."""
        return f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Be there, empty."""
        options = {"port": str(self._port), "bind": "127.0.0.1", "save": "", "dir": str(self._folder)}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([find_binary(), *words], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        eventually(self._answers, "an answer of the Redis server")

    def stop(self) -> None:
        """Be away, and forget everything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def flush(self) -> None:
        """FLUSHALL."""
        with redis.Redis(port=self._port) as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self._port) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
