"""The service as real processes over a data directory, with a sink beside them, to be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path

from tests.chaos.history import FINAL, WorkerKill, read_journal
from tests.chaos.plan import Plan, Strike
from zqueue.embedded import Server

ROOT = Path(__file__).parents[2]
STARTED_WITHIN = 60.0  # seconds
SETTLED_WITHIN = 90.0
_STOPPED_WITHIN = 15.0
_LOOK = 0.02


class ChaosError(AssertionError):
    """The run could not go on as planned, which the service is to blame for until shown otherwise."""


class Program:
    """One process of the service, which is to run until somebody kills it."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._folder = folder
        self._environment = environment
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    async def start(self, **environment: str) -> None:
        """Start a process; its log goes on in the same file. It ends by itself should this one end."""
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *self._arguments),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=log,
                cwd=self._folder,
                env=self._environment | environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL, this very moment."""
        self.check()
        os.kill(self.pid, signal.SIGKILL)

    async def reap(self) -> None:
        """Wait for the end of a process that was killed."""
        assert self._process is not None
        await self._process.wait()

    def check(self) -> None:
        """Raise ChaosError if it ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            raise ChaosError(f"the {self.name} ended by itself with status {self._process.returncode}")

    async def stop(self) -> None:
        """End it in order, or after a while not so."""
        if self._process is None or self._process.returncode is not None:
            return
        try:
            self._process.terminate()
            await asyncio.wait_for(self._process.wait(), _STOPPED_WITHIN)
        except (ProcessLookupError, TimeoutError):
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class SinkProcess:
    """The sink (see `tests.chaos.sink`), which is never killed."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.port = 0
        self.on_stored: Callable[[], None] = lambda: None
        self.on_held: Callable[[], None] = lambda: None
        self._process: Process | None = None
        self._reading: asyncio.Task[None]

    async def start(self, refuse_every: int) -> None:
        """Start it and learn its port."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.sink", str(self.log), str(refuse_every)),
            stdin=PIPE,
            stdout=PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        self.port = int((await process.stdout.readline()).split()[1])
        self._reading = asyncio.create_task(self._read(process.stdout))
        self._process = process

    async def _read(self, told: asyncio.StreamReader) -> None:
        async for line in told:
            if line.startswith(b"stored "):
                self.on_stored()
            elif line.startswith(b"held"):
                self.on_held()

    def tell(self, words: str) -> None:
        """Send it a command."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n".encode())

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
            await self._reading


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
        for path in (self.data / "procs").glob("*"):  # each holds the pid of a process that has opened the store
            with contextlib.suppress(FileNotFoundError):
                if path.read_text().strip() == str(self._programs[name].pid):
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
