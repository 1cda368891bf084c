"""A copy of the store, taken while everything goes on.

The order is what makes it whole: the log first, up to the end of a whole write, and only then the files it names, which
were durable before the lines that name them; the manifest last, so that half a copy does not pass for a store. A write
that is being made meanwhile is not in the copy. The copy has the id of the store, for the jobs that carry it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from service.store import disk, manifest, recovery
from service.store.cursor import Cursor, read_snapshot
from service.store.errors import StoreDamaged
from service.store.log import Entry
from service.store.manifest import Manifest
from service.store.named import attached
from service.store.segments import Files

Progress = Callable[[str, int, int], None]

_BLOCK = 1024 * 1024


class BadTarget(Exception):
    """The copy cannot go there; nothing was written."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What is in a backup.

    Attributes:
        seq: The last line.
        lines: Lines to read for who opens it.
        files: Files that are kept beside the log: attachments.
        size: Bytes in all.
    """

    seq: int
    lines: int
    files: int
    size: int


def backup(directory: Path, target: Path, *, progress: Progress = lambda *_: None) -> Copied:
    """Copy the store in *directory* to *target*, a folder that is empty or not there yet; durable on return.

    Raises:
        BadTarget: It is neither, or it lies in *directory*.
        StoreDamaged: The store is not readable; what is in *target* is no store.
        StoreUnavailable: *target* cannot be written.
    """
    _check(directory, target)
    files = Files(directory)
    try:
        disk.make_folder(target)
        return _copy(directory, target, files, progress)
    except OSError as error:
        raise disk.unavailable(target, error) from error
    finally:
        files.close()


def _check(directory: Path, target: Path) -> None:
    source, there = Path(os.path.realpath(directory)), Path(os.path.realpath(target))
    if source == there or source in there.parents:
        raise BadTarget(f"{target} lies in the data directory itself")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadTarget(f"{target} is not an empty folder")


def _copy(directory: Path, target: Path, files: Files, progress: Progress) -> Copied:
    start, snapshot, cursor = _opened(directory, files)
    named: set[str] = set()
    segments = [cursor.file]
    lines = 0
    for ref, line in _lines(files, start, snapshot, cursor):
        if (number := files.number(ref)) not in (snapshot, segments[-1]):
            segments.append(number)
        named.update(attached(line["data"]))
        lines += 1
        progress("reading lines", lines, 0)
    if cursor.file != segments[-1]:
        segments.append(cursor.file)
    size = 0
    for number in (*(() if snapshot is None else (snapshot,)), *segments):
        upto = cursor.offset if number == cursor.file else files.size(number)
        size += _copy_file(files.fd(number), target / files.name(number), upto)
    kept, bytes_kept = _copy_blobs(directory, target, named, progress)
    size += bytes_kept + _copy_archives(directory, target)
    manifest.write(target, start)
    return Copied(cursor.seq, lines, kept, size)


def _opened(directory: Path, files: Files) -> tuple[Manifest, int | None, Cursor]:
    """The manifest and the files that it names, opened: once open, a compaction may remove them."""
    seen = None
    while (start := manifest.read(directory)) != seen and start is not None:
        seen = start
        try:
            snapshot = None if start.snapshot is None else files.open(start.snapshot)
            return start, snapshot, Cursor(files, files.open(start.journal), 0, start.seq)
        except FileNotFoundError:
            continue
    missing = "there is no manifest" if start is None else f"a file that it names is missing: {start}"
    raise StoreDamaged(directory / manifest.NAME, 1, missing)


def _lines(files: Files, start: Manifest, snapshot: int | None, cursor: Cursor) -> Iterator[Entry]:
    if snapshot is not None:
        yield from read_snapshot(files, snapshot, start.seq)
    while True:
        yield from cursor.advance()
        damage = recovery.damage_after(files, cursor)
        if damage is None:
            return
        at = cursor.file, cursor.offset
        yield from cursor.advance()
        if (cursor.file, cursor.offset) == at:
            raise damage


def _copy_blobs(directory: Path, target: Path, named: set[str], progress: Progress) -> tuple[int, int]:
    """All of them, also those that are uploaded and not used yet. A line read above names only what is there."""
    folder = directory / "blobs"
    found = {path.name: path for path in folder.glob("??/*") if path.suffix != ".tmp"}
    for name in sorted(named - found.keys()):
        raise StoreDamaged(folder / name[:2] / name, 1, "an e-mail names this file, and it is not there")
    size = 0
    for count, (name, path) in enumerate(found.items(), 1):
        progress("copying files", count, len(found))
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            if name in named:
                raise
            continue  # nothing named it, and a compaction removed it meanwhile
        try:
            size += _copy_blob(fd, path, target / "blobs" / name[:2] / name)
        finally:
            os.close(fd)
    return len(found), size


def _copy_blob(fd: int, path: Path, to: Path) -> int:
    disk.make_folder(to.parent)
    length = os.fstat(fd).st_size
    digest = sha256()
    if _copy_file(fd, to, length, digest.update) != length or digest.hexdigest() != path.name:
        raise StoreDamaged(path, 1, "the file is not what was written")
    return length


def _copy_archives(directory: Path, target: Path) -> int:
    """The archives, which a compaction may be adding to, up to their last whole line."""
    size = 0
    for path in sorted(directory.glob("archive-*.jsonl")):
        fd = os.open(path, os.O_RDONLY)
        try:
            size += _copy_file(fd, target / path.name, _whole_lines(fd))
        finally:
            os.close(fd)
    return size


def _whole_lines(fd: int) -> int:
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _copy_file(fd: int, to: Path, upto: int, also: Callable[[bytes], None] = lambda _: None) -> int:
    """The first *upto* bytes of a file, durable; how many there were. Each block goes to *also* too."""
    copied = 0
    with _created(to) as out:
        while block := os.pread(fd, min(_BLOCK, upto - copied), copied):
            disk.write_all(out, block)
            copied += len(block)
            also(block)
    return copied


@contextmanager
def _created(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, disk.FILE_MODE)
    try:
        yield fd
        os.fsync(fd)
    finally:
        os.close(fd)
    disk.sync_folder(path.parent)
