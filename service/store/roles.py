"""Roles that one process at a time has, such as the reconciler's: held by flock(2), so that a dead process has none."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from service.store import disk


class Roles:
    """The folder ``roles`` of a data directory. A role, once taken, is kept until `close`."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / "roles"
        self._held: dict[str, int] = {}

    def take(self, role: str) -> bool:
        """Whether this process has the role: it had it, or nobody did."""
        if role in self._held:
            return True
        disk.make_folder(self._folder)
        # Never unlinked: two processes that locked two files of one name would both have the role.
        fd = os.open(self._folder / role, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, disk.FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._held[role] = fd
        return True

    def close(self) -> None:
        """Give up every role."""
        while self._held:
            os.close(self._held.popitem()[1])
