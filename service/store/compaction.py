"""Compaction: the log is read again and written anew, a line for each record. A program of its own runs it.

Nothing but the line that seals the old segments, the manifest and the line that tells of it is written under the lock;
a process that dies anywhere on the way leaves a log that reads as before or as after.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from service.email.times import to_z
from service.store import disk, lines
from service.store.errors import StoreUnavailable
from service.store.filelog import FileLog
from service.store.fold import Fold, Kept
from service.store.index import Index
from service.store.log import Draft

ROLE = "compactor"
UNUSED = timedelta(days=1)
"""How long a file stays that no record names: it may be uploaded and not used yet."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it, and of how much (0: unknown)."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Attributes:
        lines_before: Lines that had to be read to open the log.
        lines: Lines now.
        archived: E-mails that went to the archive.
        files: Files of attachments that were removed, since nothing names them.
    """

    lines_before: int
    lines: int
    archived: int
    files: int


def compact(
    directory: Path,
    *,
    now: Callable[[], datetime],
    retention: timedelta | None = None,
    progress: Progress = lambda *_: None,
) -> Compacted | None:
    """Compact the log in *directory*; None if another process is at it.

    Args:
        directory: The data directory.
        now: The clock.
        retention: E-mails that have been final for longer leave the log for an archive of their month.
        progress: Is told how far it is.

    Raises:
        StoreDamaged: The log is not readable as it is.
        StoreUnavailable: The log cannot be written; it is as it was.
    """
    log = FileLog.open(directory, now=now)
    try:
        if not log.lead(ROLE):
            return None
        return _compact(log, directory, None if retention is None else now() - retention, progress)
    finally:
        log.close()


def _compact(log: FileLog, directory: Path, expired: datetime | None, progress: Progress) -> Compacted:
    log.sweep()
    index = Index()
    for ref, line in log.load():
        index.apply(ref, line)
        if line["seq"] % 10_000 == 0:
            progress("reading lines", index.lines, 0)
    leaving = None if expired is None else to_z(expired)
    seq = log.seal(leaving)
    for ref, line in log.read(index.seq):
        index.apply(ref, line)
        if line["seq"] == seq:  # what others write from here on is not of this snapshot
            break
    with contextlib.closing(_Archive(directory)) as archive:
        fold = Fold(index, log.fetch, leaving, archive.add)
        count = log.compact(seq, _watched(fold, archive, index.records, progress))
    removed = _remove_unused(directory / "blobs", fold.blobs)
    return Compacted(index.lines, count, fold.archived, removed)


def _watched(fold: Iterable[Kept], archive: _Archive, total: int, progress: Progress) -> Iterator[tuple[int, Draft]]:
    for count, kept in enumerate(fold, 1):
        if count % 1000 == 0:
            progress("merging records", count, total)
        yield kept.seq, kept.draft
    archive.sync()  # before the snapshot that does without them is finished


class _Archive:
    """Files of a month each, to which e-mails go that leave the log. A crash may leave one there twice."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, int] = {}

    def add(self, last: str, draft: Draft) -> None:
        """Take an e-mail whose last change was at *last*."""
        month = last[: len("2026-11")]
        if month not in self._files:
            path = self._directory / f"archive-{month}.jsonl"
            self._files[month] = _appending(path)
        try:
            disk.write_all(self._files[month], lines.seal(draft._asdict()))
        except OSError as error:
            raise disk.unavailable(self._directory, error) from error

    def sync(self) -> None:
        """Make all of it durable."""
        try:
            for fd in self._files.values():
                os.fsync(fd)
            if self._files:
                disk.sync_folder(self._directory)
        except OSError as error:
            raise disk.unavailable(self._directory, error) from error

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])


def _appending(path: Path) -> int:
    """Open *path* to write lines at its end: a part of a line, which a crash may have left there, is ended first."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, disk.FILE_MODE)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            disk.write_all(fd, b"\n")
    except OSError as error:
        raise disk.unavailable(path, error) from error
    return fd


def _remove_unused(folder: Path, used: set[str]) -> int:
    """Remove files that nothing names and nobody has asked for in a while."""
    removed = 0
    for path in folder.glob("??/*"):
        if path.name in used or not _is_old(path):
            continue
        aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        path.rename(aside)
        if _is_old(aside):  # an accept that names it touches it first
            aside.unlink()
            removed += 1
        else:
            aside.rename(path)
    return removed


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime >= UNUSED.total_seconds()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreUnavailable("not_writable", f"{path}: {error.strerror}") from error
