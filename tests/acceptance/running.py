"""The service as a stranger meets it: real processes, what they print, and plain HTTP."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]

_MARK = "STARTED_BY_TEST"

LEAST: dict[str, Any] = {"from": "me@example.com", "to": "you@example.com", "subject": "Hello", "text": "It is time."}
"""An e-mail that is accepted."""

T = TypeVar("T")
Ended = subprocess.CompletedProcess[str]


def eventually(look: Callable[[], T | None], what: str, timeout: float = 20.0) -> T:
    """The first true answer of *look*; fails after *timeout* seconds, naming *what* was waited for."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)
    return found


def ahead(seconds: float) -> str:
    """A moment that many seconds from now, as the API reads it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def environment(data_dir: Path, settings: dict[str, str], mark: str = "") -> dict[str, str]:
    """What a command is started with: nothing of the service's from outside the test."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SERVICE_", "ZQUEUE_"))}
    own = {"DATA_DIR": str(data_dir), "PORT": "0", "INBOX_PORT": "0"} | settings
    test = {"PYTHONPATH": str(ROOT), _MARK: mark}
    return inherited | test | {f"SERVICE_{key}": value for key, value in own.items()}


def run(data_dir: Path, *arguments: str, folder: Path | None = None, **settings: str) -> Ended:
    """Run ``python -m service ARGUMENTS`` to its end, after which nothing that it started may live.

    Args:
        data_dir: Its data directory.
        arguments: Of the command line.
        folder: Where it is started; None for the one above the data directory.
        settings: `SERVICE_*` variables without their prefix.
    """
    mark = secrets.token_hex(8)
    ended = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env=environment(data_dir, settings, mark),
        cwd=folder or data_dir.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert living(mark, data_dir / "valkey") == {}
    return ended


def living(mark: str, folder: Path | None = None) -> dict[int, str]:
    """Every living process that has this mark in its environment, as children have it too: command lines by id.

    Valkey writes its title over its environment; it is known by *folder*, in which it works.
    """
    variable = f"{_MARK}={mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            marked = variable in (entry / "environ").read_bytes().split(b"\0")
            if marked or (folder is not None and (entry / "cwd").readlink() == folder):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return found


class Service:
    """One running ``python -m service up`` (or another command that announces an address); a context manager.

    Leaving it kills whatever is left of it and of what it started.

    Args:
        folder: Where it is started; made if missing. What it prints goes to files beside its data directory.
        settings: `SERVICE_*` variables without their prefix.
        data_dir: That of another one, to share it; None for ``data`` in *folder*.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None, *, data_dir: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data_dir = data_dir or Path((settings or {}).get("DATA_DIR", folder / "data"))
        self._shares = data_dir is not None
        self.settings = settings or {}
        self.url = ""
        self.http = httpx.Client()
        self._process: subprocess.Popen[bytes] | None = None
        self._mark = secrets.token_hex(8)

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.http.close()
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def processes(self) -> dict[int, str]:
        """Everything alive that it started, itself included: command lines by process id."""
        return living(self._mark, None if self._shares else self.data_dir / "valkey")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        assert self._process is not None
        return self._process

    @property
    def printed(self) -> str:
        """Its standard output so far."""
        return (self.folder / "stdout.txt").read_text("utf-8")

    @property
    def logged(self) -> str:
        """Its standard error so far, and its children's."""
        return (self.folder / "stderr.txt").read_text("utf-8")

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        with (self.folder / "stdout.txt").open("wb") as out, (self.folder / "stderr.txt").open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service", "up"],
                env=environment(self.data_dir, self.settings, self._mark),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        self.launch()
        announced = eventually(self._announced, "an announcement", timeout=60)
        self.url = announced[1]
        self.http.close()
        self.http = httpx.Client(base_url=self.url, timeout=15)

    def _announced(self) -> re.Match[str] | None:
        if self.process.poll() is not None:
            pytest.fail(f"it ended with status {self.process.returncode}: {self.logged}")
        return re.search(r"API +(http://\S+)/v1/emails[\s\S]*\n\n$", self.printed)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it in good order; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(45)

    def child(self, command: str) -> int:
        """The process id of the child that runs *command*, once there is one."""

        def look() -> int | None:
            for pid, line in self.processes().items():
                if f"-m service {command}" in line or (command == "valkey" and "valkey-server" in line):
                    return pid
            return None

        return eventually(look, f"a process of {command}")

    def kill(self, command: str) -> int:
        """Kill that child; the id it had."""
        pid = self.child(command)
        os.kill(pid, signal.SIGKILL)
        return pid

    def accept(self, **fields: Any) -> dict[str, Any]:
        """Schedule an e-mail like `LEAST` but for *fields*; the record."""
        response = self.http.post("/v1/emails", json=LEAST | fields)
        assert response.status_code == 201, response.text
        record: dict[str, Any] = response.json()
        return record

    def email(self, email_id: str) -> dict[str, Any]:
        """The record of an e-mail."""
        record: dict[str, Any] = self.http.get(f"/v1/emails/{email_id}").raise_for_status().json()
        return record

    def events(self, email_id: str) -> list[dict[str, Any]]:
        """The history of an e-mail."""
        history: list[dict[str, Any]] = self.http.get(f"/v1/emails/{email_id}/events").raise_for_status().json()["data"]
        return history

    def event_types(self, email_id: str) -> list[str]:
        """The history of an e-mail in words."""
        return [event["type"].removeprefix("email.") for event in self.events(email_id)]

    def wait_for(self, email_id: str, statuses: str | Sequence[str], timeout: float = 20.0) -> dict[str, Any]:
        """The record, once it has one of *statuses*."""
        wanted = (statuses,) if isinstance(statuses, str) else tuple(statuses)

        def look() -> dict[str, Any] | None:
            record = self.email(email_id)
            return record if record["status"] in wanted else None

        return eventually(look, f"{email_id} {' or '.join(wanted)}", timeout)

    def inbox(self, subject: str) -> list[dict[str, Any]]:
        """What arrived in the catch-all inbox under *subject*, newest first."""
        messages = self.http.get("/inbox").raise_for_status().json()["data"]
        return [message for message in messages if message["subject"] == subject]


def moment(text: str) -> datetime:
    """A time of a record."""
    return datetime.fromisoformat(text)
