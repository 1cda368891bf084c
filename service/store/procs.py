"""Which processes live: each holds flock(2) on a file of its own, which the kernel gives up however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from typing import Any

import orjson

from service.store import disk


class Procs:
    """The folder ``procs`` of a data directory, with a file for this process in it.

    Make it under the store's lock: between being created and being locked, its file looks like that of a dead process.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / "procs"
        disk.make_folder(self._folder)
        self._bury_dead()
        self.by = secrets.token_hex(8)
        self._fd = os.open(self._folder / self.by, os.O_RDWR | os.O_CREAT | os.O_EXCL, disk.FILE_MODE)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.write(self._fd, b"%d\n" % os.getpid())

    def alive(self, by: str) -> bool:
        """Does the process that is called *by* live? A stopped one does."""
        if by == self.by:
            return True
        if not by.isalnum():
            return False
        return _is_locked(self._folder / by)

    def tell(self, told: dict[str, Any]) -> None:
        """Let the other processes know this, in place of what was told before."""
        lines = b"%d\n%s\n" % (os.getpid(), orjson.dumps(told))
        os.pwrite(self._fd, lines, 0)
        os.ftruncate(self._fd, len(lines))

    def told(self) -> list[dict[str, Any]]:
        """What the living processes have told, each its last word, if that can be read just now."""
        found = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError, orjson.JSONDecodeError):
                lines = path.read_bytes().split(b"\n")
                if len(lines) > 2 and self.alive(path.name):
                    found.append(orjson.loads(lines[1]))
        return found

    def close(self) -> None:
        """Say that this process is gone."""
        (self._folder / self.by).unlink(missing_ok=True)
        os.close(self._fd)

    def _bury_dead(self) -> None:
        for path in self._folder.iterdir():
            if not _is_locked(path):
                path.unlink(missing_ok=True)


def living(directory: Path) -> list[str]:
    """The processes that have the log in *directory* open, by their system ids; make sure that no new one comes."""
    folder = directory / "procs"
    found = sorted(path for path in folder.iterdir() if _is_locked(path)) if folder.is_dir() else []
    return [path.read_text(errors="replace").partition("\n")[0] or path.name for path in found]


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two processes that ask at once do not take each other for the owner.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
