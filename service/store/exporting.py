"""Export: everything that the store knows, in the lines of `transfer`, while everything goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from service.store import manifest
from service.store.errors import StoreDamaged
from service.store.filelog import FileLog
from service.store.index import Index
from service.store.named import anywhere, attached
from service.store.transfer import FORMAT, document_line, email_line, file_line

Progress = Callable[[str, int, int], None]


def export(directory: Path, *, now: Callable[[], datetime], progress: Progress = lambda *_: None) -> Iterator[bytes]:
    """The lines of the store in *directory* as it is at the first of them, each with its newline.

    Raises:
        StoreDamaged: There is no store, or it or a file of an e-mail cannot be read.
        StoreUnavailable: The store cannot be opened.
    """
    if manifest.read(directory) is None:
        raise StoreDamaged(directory / manifest.NAME, 1, "there is no manifest")
    log = FileLog.open(directory, now=now)
    try:
        index = Index()
        for ref, line in log.load():
            index.apply(ref, line)
            progress("reading lines", index.lines, 0)
        count = 0
        for one in _lines(log, index, directory, progress):
            count += 1
            yield orjson.dumps(one) + b"\n"
        yield orjson.dumps({"object": "end", "lines": count}) + b"\n"
    finally:
        log.close()


def _lines(log: FileLog, index: Index, directory: Path, progress: Progress) -> Iterator[dict[str, Any]]:
    yield {"object": "export", "format": FORMAT}
    written: set[str] = set()
    for done, line in enumerate(_records(log, index)):
        progress("writing records", done, index.records)
        for name in _files(log, line):
            if name not in written:
                written.add(name)
                yield file_line(name, _read(log, name, directory))
        yield line


def _files(log: FileLog, line: dict[str, Any]) -> Iterator[str]:
    """The files that belong to a record. A document may hold the SHA-256 of something else, too."""
    if line["object"] == "email":
        return attached(line)
    return (name for name in anywhere(line["data"]) if log.blobs.size(name) is not None)


def _records(log: FileLog, index: Index) -> Iterator[dict[str, Any]]:
    for kind in sorted(index.kinds()):
        for _, ref in sorted(index.documents(kind).items()):
            yield document_line(log.fetch(ref))
    for row in index.oldest_first(0):
        yield email_line(row, index, log.fetch)


def _read(log: FileLog, name: str, directory: Path) -> bytes:
    try:
        return log.blobs.read(name)
    except KeyError as error:
        path = directory / "blobs" / name[:2] / name
        raise StoreDamaged(path, 1, "an e-mail names this file, and it is not there") from error
