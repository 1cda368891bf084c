"""Snapshots: the files that stand for the segments before them, and the removal of what they replaced."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from service.store import disk, lines
from service.store.log import SNAPSHOT, Draft
from service.store.manifest import Manifest
from service.store.segments import segment_key

KEPT_S = 3600.0
"""Seconds for which replaced files stay, for processes that are about to open them."""

_BLOCK = 1024 * 1024
_NAME = re.compile(r"snapshot-(\d+)\.jsonl(\.tmp)?")


def snapshot_name(generation: int) -> str:
    """The snapshot before the segments of *generation*."""
    return f"snapshot-{generation}.jsonl"


def write(path: Path, seq: int, at: str, merged: Iterable[tuple[int, Draft]]) -> int:
    """Make *path* a snapshot that covers all lines up to *seq*; durable on return.

    Returns:
        How many lines it has.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        count = _write(temporary, seq, at, merged)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a disk that is full it is what fills it
        raise
    temporary.replace(path)
    disk.sync_folder(path.parent)
    return count


def _write(path: Path, seq: int, at: str, merged: Iterable[tuple[int, Draft]]) -> int:
    count = 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, disk.FILE_MODE)
    try:
        pending = bytearray()
        for number, (at_, id_, rev, type_, data) in merged:
            pending += lines.seal({"seq": number, "at": at_, "id": id_, "rev": rev, "type": type_, "data": data})
            count += 1
            if len(pending) >= _BLOCK:
                disk.write_all(fd, bytes(pending))
                pending.clear()
        last = {"seq": seq, "at": at, "id": "", "rev": 0, "type": SNAPSHOT, "data": {}}
        disk.write_all(fd, bytes(pending) + lines.seal(last, end=True))
        os.fsync(fd)
    finally:
        os.close(fd)
    return count + 1


def sweep(directory: Path, manifest: Manifest, older_than: float = KEPT_S) -> list[Path]:
    """Remove what lies before *manifest*, once it has lain there for a while; what was removed.

    Only for the one who compacts: what is half written is nobody's then.
    """
    gone = []
    for path in _before(directory, manifest):
        if path.suffix == ".tmp" or time.time() - path.stat().st_mtime >= older_than:
            path.unlink(missing_ok=True)
            gone.append(path)
    return gone


def retire(directory: Path, manifest: Manifest, previous: Manifest) -> None:
    """Let the time count from now at which what lies before *manifest*, and not before *previous*, is removed."""
    long_gone = set(_before(directory, previous))
    for path in _before(directory, manifest):
        if path not in long_gone:
            os.utime(path)


def _before(directory: Path, manifest: Manifest) -> Iterator[Path]:
    start = segment_key(manifest.journal)
    assert start is not None
    for path in sorted(directory.iterdir()):
        key = segment_key(path.name)
        is_old_segment = key is not None and key < start
        is_old_snapshot = _NAME.fullmatch(path.name) is not None and path.name != manifest.snapshot
        if is_old_segment or is_old_snapshot:
            yield path
