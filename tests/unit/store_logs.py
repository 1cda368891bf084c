"""Logs in files, and what goes wrong with them, for tests of the store."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.store.filelog import FileLog
from service.store.log import Draft

AT = "2026-11-24T09:00:00.000000Z"
JOURNAL = "journal-0-0000.jsonl"


def now() -> datetime:
    """The one moment at which these tests happen."""
    return datetime(2026, 11, 24, 9, tzinfo=UTC)


def draft(name: str, rev: int = 1) -> Draft:
    """A line about the record *name*."""
    return Draft(AT, name, rev, "test", {"text": name})


def opened(directory: Path) -> tuple[FileLog, list[str]]:
    """The log in *directory* with the ids of its lines."""
    log = FileLog.open(directory, now=now, lock_timeout=timedelta(seconds=0.2))
    try:
        return log, [line["id"] for _, line in log.load()]
    except BaseException:
        log.close()
        raise


def ids(directory: Path) -> list[str]:
    """The ids of the lines of the log in *directory*, as a new process reads them."""
    log, found = opened(directory)
    log.close()
    return found


def write(log: FileLog, *names: str) -> None:
    """One write with a line for each of *names*."""
    log.transact(lambda: [draft(name) for name in names])


def short_write(keep: int) -> Callable[[int, bytes], int]:
    """An `os.write` that writes *keep* bytes and stops there, as on a full disk."""
    real = os.write
    return lambda fd, content: real(fd, content[:keep])


def failing(number: int) -> Callable[..., int]:
    """A system call that fails with *number*."""

    def call(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return call
