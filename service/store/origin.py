"""Where reading begins, found from the files that there are when the manifest cannot be read or names what is gone."""

from __future__ import annotations

import re
import secrets
from collections import deque
from pathlib import Path

from service.store import manifest, pieces
from service.store.errors import StoreDamaged
from service.store.log import SNAPSHOT
from service.store.manifest import Manifest
from service.store.segments import Files, segment_key, segment_name
from service.store.snapshots import snapshot_name

_ID = re.compile(rb'"id":"([0-9a-f]{16})"')
_SNAPSHOT = re.compile(r"snapshot-(\d+)\.jsonl")


def find(directory: Path, files: Files) -> tuple[Manifest, str | None]:
    """The manifest of *directory*, and what had to be done about it: None if it is in order.

    Raises:
        StoreDamaged: There is nothing to begin with.
    """
    try:
        there = manifest.read(directory)
        why = "it was missing"
    except StoreDamaged:
        there, why = None, "it was damaged"
    if there is not None:
        gone = [name for name in (there.snapshot, there.journal) if name and not (directory / name).exists()]
        if not gone:
            return there, None
        why = f"it named what is gone: {', '.join(gone)}"
    identity = there.id if there else _read_id(directory)
    if identity is None:
        identity = secrets.token_hex(8)
        why += "; the id of the store is lost and a new one made, so empty its Redis database"
    return _rebuilt(directory, files, identity), f"made anew from the files that there are: {why}"


def _read_id(directory: Path) -> str | None:
    try:
        found = _ID.search((directory / manifest.NAME).read_bytes())
    except FileNotFoundError:
        return None
    return found[1].decode() if found else None


def _rebuilt(directory: Path, files: Files, identity: str) -> Manifest:
    names = [path.name for path in directory.iterdir()]
    segments = sorted((key, name) for name in names if (key := segment_key(name)) is not None)
    snapshots = sorted((int(found[1]) for name in names if (found := _SNAPSHOT.fullmatch(name))), reverse=True)
    if not segments and not snapshots:
        raise StoreDamaged(directory / manifest.NAME, 1, "there is no file of a log to make it from")
    # The newest one with a last line: the older ones are left from before, and one without is the damaged one.
    for generation in snapshots:
        if (seq := _reach(files, snapshot_name(generation))) is not None:
            return Manifest(identity, snapshot_name(generation), seq, _journal(segments, generation))
    if segments and segments[0][0] == (0, 0) and pieces.first_seq(files, files.open(segments[0][1])) in (1, None):
        return Manifest(identity, None, 0, segments[0][1])
    generation = snapshots[0] if snapshots else 0
    journal = _journal(segments, generation)
    first = pieces.first_seq(files, files.open(journal)) if (directory / journal).exists() else None
    if not snapshots:
        return Manifest(identity, None, (first or 1) - 1, journal)
    name = snapshot_name(generation)
    last = max((piece.line["seq"] for piece in pieces.read(files, files.open(name)) if piece.line), default=0)
    return Manifest(identity, name, first - 1 if first else last, journal)


def _reach(files: Files, name: str) -> int | None:
    """Up to which line a snapshot says it reaches; None if it does not say."""
    last = deque(pieces.read(files, files.open(name)), maxlen=1)
    line = last[0].line if last else None
    return line["seq"] if line is not None and line["type"] == SNAPSHOT else None


def _journal(segments: list[tuple[tuple[int, int], str]], generation: int) -> str:
    """The first segment after a snapshot; where there is none, the name that it had."""
    later = [name for key, name in segments if key >= (generation, 0)]
    return later[0] if later else segment_name(generation, 0)
