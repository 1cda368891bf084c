"""The lock that every writer of a data directory takes: flock(2) on one file, which also says who took it last.

It is taken in two ways that exclude each other. `guarded` is for rare, long work, and gives up in time. `WriteLock` is
for every write: it blocks in the kernel, which wakes waiters in order and at once, where polling would be slow and
unfair. A holder that was stopped keeps the lock: what it was about to write must not interleave with others.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import filelock

from service.store import disk
from service.store.errors import StoreUnavailable

NAME = "LOCK"
_PID_WIDTH = 11


class WriteLock:
    """The lock of *directory* for the writer thread: ``with lock: ...``; waits as long as it takes."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, disk.FILE_MODE)

    def __enter__(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._sign()

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def guarded(self, timeout: timedelta) -> Iterator[None]:
        """Hold the same lock for longer work.

        Raises:
            StoreUnavailable: Somebody else held it for *timeout* (``store_locked``).
        """
        # Not blocking for ever, and never a lock that is only a file's existence: that one outlives a crash.
        guard = filelock.FileLock(self._path, timeout.total_seconds(), mode=disk.FILE_MODE, fallback_to_soft=False)
        try:
            with guard:
                self._sign()
                yield
        except filelock.Timeout:
            raise self.unavailable() from None

    def holder(self) -> str:
        """Who took the lock last, in words."""
        pid = os.pread(self._fd, _PID_WIDTH, 0).strip().decode(errors="replace")
        return f"process {pid}" if pid else "an unknown process"

    def unavailable(self) -> StoreUnavailable:
        """The error for who waited too long."""
        return StoreUnavailable("store_locked", f"the store is locked by {self.holder()} ({self._path})")

    def close(self) -> None:
        """Close the file, which gives up the lock."""
        os.close(self._fd)

    def _sign(self) -> None:
        # For people only. On a full disk it may fail, and the lock, which is held by now, must not stay so for that.
        with suppress(OSError):
            os.pwrite(self._fd, b"%*d\n" % (_PID_WIDTH - 1, os.getpid()), 0)
