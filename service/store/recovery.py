"""What to do with bytes at the end of a journal that are not a whole write. Only for who holds the lock.

A process that dies while it writes leaves part of one write, which nobody was told about: that tail is cut. Anything
else is damage, and the store refuses to go on: lines that were acknowledged must not go quietly.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import structlog

from service.store import disk, lines
from service.store.cursor import Cursor
from service.store.errors import StoreDamaged
from service.store.segments import Files, segment_key

_log = structlog.get_logger(__name__)


def settle_tail(files: Files, cursor: Cursor) -> None:
    """Make *cursor*, which has read all whole writes, the end of its segment: a torn write behind it is cut.

    The bytes go to ``corrupt/`` first.

    Raises:
        StoreDamaged: What follows *cursor* is not a torn write: a line with ``end`` lies further on.
        OSError: The tail could not be copied or cut.
    """
    size = files.size(cursor.file)
    if size == cursor.offset:
        return
    damage = damage_after(files, cursor)
    if damage is not None:
        raise damage
    fd = files.fd(cursor.file)
    copy = _keep_copy(files, cursor, os.pread(fd, size - cursor.offset, cursor.offset))
    os.ftruncate(fd, cursor.offset)
    os.fdatasync(fd)
    _log.warning(
        "a torn write was cut from the journal",
        file=str(files.path(cursor.file)),
        line=files.line_number(cursor.file, cursor.offset),
        bytes=size - cursor.offset,
        copy=str(copy),
    )


def damage_after(files: Files, cursor: Cursor) -> StoreDamaged | None:
    """The damage that *cursor*, which has read all whole writes, stopped at; None if it is at the end of them.

    Who holds no lock must see the same twice: a write may have come since.
    """
    if files.size(cursor.file) > cursor.offset and _end_follows(files, cursor):
        return _damage(files, cursor)
    return _damage(files, cursor) if _later_segment(files, cursor) else None


def check_last(files: Files, cursor: Cursor) -> None:
    """Refuse a journal whose last segment, which ends at *cursor*, is followed by another one that holds something.

    Raises:
        StoreDamaged: The line that leads to that segment is missing.
    """
    if _later_segment(files, cursor):
        line = files.line_number(cursor.file, cursor.offset)
        raise StoreDamaged(files.path(cursor.file), line, "the line that leads to the next segment is missing")


def _end_follows(files: Files, cursor: Cursor) -> bool:
    """Is there a whole line with ``end`` behind the bad one?

    Starts are looked for inside lines too: a damaged newline joins two lines into a bad one.
    """
    with mmap.mmap(files.fd(cursor.file), 0, prot=mmap.PROT_READ) as content:
        start = content.find(lines.START, cursor.offset)
        while start >= 0:
            stop = content.find(b"\n", start)
            line = lines.decode(content[start:stop]) if stop >= 0 else None
            if line is not None and "end" in line:
                return True
            start = content.find(lines.START, start + 1)
    return False


def _later_segment(files: Files, cursor: Cursor) -> bool:
    """Is there a segment with content that comes after the one of *cursor*? It is written only once it is led to."""
    here = segment_key(files.name(cursor.file))
    assert here is not None
    return any(
        key is not None and key > here and path.stat().st_size > 0
        for path in files.directory.iterdir()
        if (key := segment_key(path.name))
    )


def _damage(files: Files, cursor: Cursor) -> StoreDamaged:
    number = files.line_number(cursor.file, cursor.offset)
    seq = cursor.seq
    for _, raw in files.lines(cursor.file, cursor.offset):
        line = lines.decode(raw)
        if line is None:
            return StoreDamaged(files.path(cursor.file), number, "the line is damaged, and it is not the last write")
        seq += 1
        if line["seq"] != seq:
            return StoreDamaged(files.path(cursor.file), number, f"line {seq} is missing; here is {line['seq']}")
        number += 1
    return StoreDamaged(files.path(cursor.file), number, "the segment is cut short, and another one follows it")


def _keep_copy(files: Files, cursor: Cursor, tail: bytes) -> Path:
    folder = files.directory / "corrupt"
    disk.make_folder(folder)
    count = 1
    while (path := folder / f"{files.name(cursor.file)}.{cursor.offset}.{count}").exists():
        count += 1
    disk.create(path, tail)
    return path
