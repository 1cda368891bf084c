"""The service as real processes over a data directory, with a sink beside them, to be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path

from tests.chaos.history import FINAL, WorkerKill, read_journal
from tests.chaos.plan import Plan, Strike
from tests.chaos.programs import ROOT, ChaosError, Program, SinkProcess
from zqueue.embedded import Server

STARTED_WITHIN = 60.0  # seconds
SETTLED_WITHIN = 90.0
_LOOK = 0.02


class Arena:
    """A running service.

    Attributes:
        folder: Holds ``data``, ``sink.jsonl`` and the logs of the processes.
        kills: The workers killed so far.
        killed: How many processes of each name were killed so far; "flush" counts FLUSHALLs.
        keep: Whether the folder is left there.
    """

    def __init__(self, folder: Path, plan: Plan, lease: timedelta | None) -> None:
        """Start nothing yet.

        Args:
            folder: An empty one.
            plan: Its settings.
            lease: The worker's; None for the usual one and the usual command.
        """
        self.folder = folder
        self.data = folder / "data"
        self.sink = SinkProcess(folder / "sink.jsonl")
        self.kills: list[WorkerKill] = []
        self.killed: dict[str, int] = {}
        self.keep = False
        self._plan = plan
        self._lease = lease
        self._server = Server(self.data / "valkey")
        self._programs: dict[str, Program] = {}
        self._workers = 0
        self._worker_by = ""
        self.port = _free_port()

    @property
    def valkey_socket(self) -> Path:
        """Where Valkey listens."""
        return self._server.socket

    async def start(self) -> None:
        """Start everything and wait until it is ready."""
        await self.sink.start(self._plan.refuse_every)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SERVICE_")}
        environment |= {
            "PYTHONPATH": str(ROOT),
            "SERVICE_DATA_DIR": str(self.data),
            "SERVICE_SMTP_URL": f"smtp://127.0.0.1:{self.sink.port}?tls=none",
            "SERVICE_PORT": str(self.port),
            "SERVICE_RETRY_DELAYS": "0.2",
            "SERVICE_MAX_RETRIES": "50",
            "SERVICE_SMTP_CONNECTIONS": str(self._plan.connections),
        }
        worker = ["service", "worker", "--supervised"]
        if self._lease is not None:
            worker = ["tests.chaos.short_lease", str(self._lease.total_seconds())]
        for name, arguments in ("api", ["service", "api", "--supervised"]), ("worker", worker):
            self._programs[name] = Program(name, arguments, self.folder, environment)
        await self._start("api", "worker")

    async def stop(self) -> None:
        """End everything, whatever state it is in, the embedded Valkey included."""
        for program in self._programs.values():
            await program.stop()
        await self.sink.stop()
        await asyncio.to_thread(self._server.shut_down)

    def check(self) -> None:
        """Raise ChaosError if a process ended by itself."""
        for program in self._programs.values():
            program.check()

    def aim(self, strike: Strike) -> Callable[[], None]:
        """Look up whom *strike* is about; what is answered kills them all in one go."""
        valkey = int(self._ask("INFO server").partition("process_id:")[2].split()[0])

        def act() -> None:
            for victim in strike.victims:
                if victim == "valkey":
                    os.kill(valkey, signal.SIGKILL)
                else:
                    self._programs[victim].kill()
            if strike.flushes and self._ask("FLUSHALL") != "+OK":
                raise ChaosError("FLUSHALL was refused")
            for each in (*strike.victims, *(["flush"] if strike.flushes else [])):
                self.killed[each] = self.killed.get(each, 0) + 1

        return act

    async def restart(self, victims: Sequence[str]) -> None:
        """Start what was killed; Valkey is started by those who need it."""
        programs = [victim for victim in victims if victim != "valkey"]
        for name in programs:
            await self._programs[name].reap()
        if "worker" in programs:
            self.kills.append(WorkerKill(f"w{self._workers}.test", self._worker_by, self._plan.connections))
        await self._start(*programs)

    async def settled(self) -> None:
        """Return once every e-mail of the journal is final and the queue is empty.

        Raises:
            ChaosError: That takes too long.
        """
        deadline = time.monotonic() + SETTLED_WITHIN
        while not (self._all_final() and self._queue_length() == 0):
            self.check()
            if time.monotonic() > deadline:
                raise ChaosError(f"not settled within {SETTLED_WITHIN:g} s: {self._unsettled()}")
            await asyncio.sleep(_LOOK)

    async def _start(self, *names: str) -> None:
        for name in names:
            if name == "worker":
                self._workers += 1
                await self._programs[name].start(SERVICE_EHLO_HOSTNAME=f"w{self._workers}.test")
            else:
                await self._programs[name].start()
        deadline = time.monotonic() + STARTED_WITHIN
        while not all(self._is_ready(name) for name in names) or not self._server.answers():
            self.check()
            if time.monotonic() > deadline:
                raise ChaosError(f"not ready within {STARTED_WITHIN:g} s: {', '.join(names)}")
            await asyncio.sleep(_LOOK)

    def _is_ready(self, name: str) -> bool:
        if name == "api":
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False
        for path in (self.data / "procs").glob("*"):  # each begins with the pid of a process that has opened the store
            with contextlib.suppress(FileNotFoundError):
                if path.read_text().partition("\n")[0] == str(self._programs[name].pid):
                    self._worker_by = path.name
                    return True
        return False

    def _all_final(self) -> bool:
        return all(record.status in FINAL for record in read_journal(self.data).values())

    def _unsettled(self) -> str:
        records = read_journal(self.data).items()
        waiting = [f"{email_id} is {record.status}" for email_id, record in records if record.status not in FINAL]
        return ", ".join(waiting) or f"{self._queue_length()} jobs are in the queue"

    def _queue_length(self) -> int | None:
        """Jobs that are scheduled or leased; None while Valkey does not say."""
        replies = [self._ask(f"ZCARD zq:{{mail}}:{key}") for key in ("due:0", "due:1", "due:2", "leased")]
        if all(reply.startswith(":") for reply in replies):
            return sum(int(reply[1:]) for reply in replies)
        return None

    def _ask(self, command: str) -> str:
        """Valkey's answer; empty when it is not there. Blocks, so that nothing of ours runs meanwhile."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            try:
                client.connect(str(self.valkey_socket))
                client.sendall(f"{command}\r\n".encode())
                return client.recv(65_536).decode().rstrip()
            except OSError:
                return ""


@contextlib.asynccontextmanager
async def running(plan: Plan, lease: timedelta | None = None) -> AsyncIterator[Arena]:
    """An arena in a folder of its own, which is removed unless something goes wrong or it is to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="zq-chaos-"))
    arena = Arena(folder, plan, lease)
    try:
        await arena.start()
        yield arena
    except BaseException as error:
        error.add_note(f"seed {plan.seed}, files in {folder}")
        raise
    finally:
        await arena.stop()
    if not arena.keep:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
