"""An SMTP server that keeps nothing: it counts, and answers as each domain shall. A process of its own.

As a program (``python -m benchmarks.sink HABITS``) it prints its port, and then, for each line on its standard input,
what it has seen so far as a line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import TracebackType

_RCPT = re.compile(rb"RCPT TO:<[^@>]+@([^>]+)>", re.IGNORECASE)


@dataclass(frozen=True)
class Habit:
    """How a domain answers RCPT.

    Attributes:
        code: 250, or a refusal.
        delay: Seconds it takes for that.
    """

    code: int = 250
    delay: float = 0.0


@dataclass
class Seen:
    """What the server has seen, by domain.

    Attributes:
        taken: Messages taken.
        last: When the last of those was, by the monotonic clock.
        asked: RCPT commands.
        most: Most of those that were not answered yet at one time.
    """

    taken: dict[str, int] = field(default_factory=Counter)
    last: dict[str, float] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=Counter)
    most: dict[str, int] = field(default_factory=Counter)


class Sink:
    """The server as a child process; a context manager."""

    def __init__(self, habits: Mapping[str, Habit]) -> None:
        self._habits = json.dumps({domain: asdict(habit) for domain, habit in habits.items()})

    def __enter__(self) -> Sink:
        command = [sys.executable, "-m", "benchmarks.sink", self._habits]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._read())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def url(self) -> str:
        """What the service is told."""
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    def seen(self) -> Seen:
        """What it has seen so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return Seen(**json.loads(self._read()))

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Server:
    """The server in its process."""

    def __init__(self, habits: Mapping[str, Habit]) -> None:
        self.seen = Seen()
        self._habits = habits
        self._waiting: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Obey one client."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._obey(reader, writer)
        writer.transport.abort()

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        domains: list[str] = []
        while True:
            line = await reader.readuntil(b"\r\n")
            verb = line[:4].upper()
            if verb == b"RCPT":
                found = _RCPT.match(line)
                domain = found[1].decode() if found else ""
                habit = self._habits.get(domain, Habit())
                await self._consider(domain, habit)
                domains += [domain] if habit.code == 250 else []
                writer.write(b"%d habit\r\n" % habit.code)
            elif verb == b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                for domain in domains:
                    self.seen.taken[domain] += 1
                    self.seen.last[domain] = time.monotonic()
                writer.write(b"250 gone\r\n")
            elif verb == b"QUIT":
                return
            else:
                domains = []
                writer.write(b"250 ok\r\n")

    async def _consider(self, domain: str, habit: Habit) -> None:
        self.seen.asked[domain] += 1
        self._waiting[domain] += 1
        self.seen.most[domain] = max(self.seen.most[domain], self._waiting[domain])
        if habit.delay:
            await asyncio.sleep(habit.delay)
        self._waiting[domain] -= 1


async def _run(habits: Mapping[str, Habit]) -> None:
    server = Server(habits)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)

    def report() -> None:
        print(json.dumps(vars(server.seen)), flush=True)

    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def listen() -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(report)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=listen, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_run({domain: Habit(**habit) for domain, habit in json.loads(sys.argv[1]).items()}))
