"""Verifying: all of the store is read, as at the next start, and every file that an e-mail names is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from service.store import manifest
from service.store.errors import StoreDamaged
from service.store.filelog import FileLog
from service.store.index import Index
from service.store.named import attached

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """What is there, all of it readable."""

    emails: int
    documents: int
    files: int


def verify(directory: Path, *, now: Callable[[], datetime], progress: Progress = lambda *_: None) -> Verified | None:
    """Read the store in *directory*, which may be in use; None if there is none.

    Raises:
        StoreDamaged: A line or a file is not what was written.
        StoreUnavailable: The store cannot be opened.
    """
    if manifest.read(directory) is None and not any(directory.glob("*.jsonl")):
        return None
    log = FileLog.open(directory, now=now)
    try:
        index = Index()
        named: set[str] = set()
        for ref, line in log.load():
            index.apply(ref, line)
            named.update(attached(line["data"]))
            progress("reading lines", index.lines, 0)
        for count, name in enumerate(sorted(named), 1):
            progress("reading files", count, len(named))
            try:
                log.blobs.read(name)
            except KeyError:
                path = directory / "blobs" / name[:2] / name
                raise StoreDamaged(path, 1, "an e-mail names this file, and it is not there") from None
        return Verified(len(index), index.records - len(index), len(named))
    finally:
        log.close()
