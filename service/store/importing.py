"""Import: the lines of an export come into a store, which may be new, or be in use.

Each chunk of lines is one write: it is there as a whole or not at all. What is there already, exactly so, is passed
over, so an import that broke off is simply done again; what is there otherwise stops it, and so does a line that is not
of an export. What others follow (streams of events, webhooks) tells of documents that came, as ``KIND.imported``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from service.store import documents, records
from service.store.errors import StoreError, StoreUnavailable
from service.store.filelog import FileLog
from service.store.index import Index
from service.store.log import Draft
from service.store.named import attached
from service.store.transfer import BadLine, DocumentLine, EmailLine, End, FileLine, Header, document_line, email_line
from service.store.transfer import read as read_line

MOST_LINES = 1_000
MOST_BYTES = 8 * 1024 * 1024
"""Of one write: it holds the lock."""

Progress = Callable[[str, int, int], None]


class ImportRefused(StoreError):
    """A line cannot be taken; nothing of its chunk was written.

    Attributes:
        line: Its number, from 1.
    """

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import.

    Attributes:
        emails: E-mails that are new.
        documents: Documents that are new.
        files: Files that were read.
        skipped: E-mails and documents that were there already.
    """

    emails: int = 0
    documents: int = 0
    files: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Item:
    number: int
    line: EmailLine | DocumentLine
    document: dict[str, Any]


def import_lines(
    directory: Path,
    lines: Iterable[bytes],
    *,
    now: Callable[[], datetime],
    min_free: int = 0,
    progress: Progress = lambda *_: None,
) -> Imported:
    """Take *lines* into the store in *directory*, which is made if there is none.

    Args:
        directory: The data directory.
        lines: Of an export, from its first to its last.
        now: The clock.
        min_free: Bytes of disk to leave free.
        progress: Is told how far it is.

    Raises:
        ImportRefused: A line is not one of an export, or says something else than the store; names it.
        StoreDamaged: The store is not readable.
        StoreUnavailable: It cannot be written.
    """
    log = FileLog.open(directory, now=now)
    try:
        index = Index()
        for ref, entry in log.load():
            index.apply(ref, entry)
        return _Import(log, index, min_free, progress).run(lines)
    finally:
        log.close()


class _Import:
    def __init__(self, log: FileLog, index: Index, min_free: int, progress: Progress) -> None:
        self._log = log
        self._index = index
        self._min_free = min_free
        self._progress = progress
        self._done = Imported()

    def run(self, lines: Iterable[bytes]) -> Imported:
        chunk: list[_Item] = []
        size = 0
        for item, length in self._items(lines):
            chunk.append(item)
            size += length
            if len(chunk) >= MOST_LINES or size >= MOST_BYTES:
                self._write(chunk)
                chunk, size = [], 0
        if chunk:
            self._write(chunk)
        return self._done

    def _items(self, lines: Iterable[bytes]) -> Iterator[tuple[_Item, int]]:
        """The records among *lines*; files are kept on the way, before what names them."""
        number, ended = 0, False
        for number, raw in enumerate(lines, 1):
            self._progress("reading lines", number, 0)
            try:
                line, document = read_line(raw)
                if ended or isinstance(line, Header) != (number == 1):
                    raise BadLine("an export begins with its header and ends with its end")
                if isinstance(line, FileLine):
                    self._keep(line)
                elif isinstance(line, EmailLine | DocumentLine):
                    self._check_files(document)
                    yield _Item(number, line, document), len(raw)
                elif isinstance(line, End):
                    ended = True
                    if line.lines != number - 1:
                        raise BadLine(f"there should be {line.lines} lines before this one")
            except BadLine as error:
                raise ImportRefused(number, str(error)) from error
        if not ended:
            raise ImportRefused(number + 1, "the export is cut short: its last line is missing")

    def _keep(self, line: FileLine) -> None:
        self._check_room()
        self._log.blobs.put(line.content())
        self._done = replace(self._done, files=self._done.files + 1)

    def _check_files(self, document: dict[str, Any]) -> None:
        for name in attached(document):
            if self._log.blobs.size(name) is None:
                raise BadLine(f"the file {name} did not come before it")

    def _check_room(self) -> None:
        if (free := self._log.free()) < self._min_free:
            raise StoreUnavailable("no_space", f"{free:,} bytes of disk are left, fewer than {self._min_free:,}")

    def _write(self, chunk: list[_Item]) -> None:
        self._check_room()
        done = self._done

        def decide() -> list[Draft]:
            nonlocal done
            done = self._done
            self._catch_up()
            drafts: list[Draft] = []
            names: set[str] = set()
            for item in chunk:
                subject = _subject(item.line)
                there = self._there(item.line)
                if subject in names or there not in (None, item.document):
                    raise ImportRefused(item.number, f"{subject} is there already, and says something else")
                names.add(subject)
                if there is not None:
                    done = replace(done, skipped=done.skipped + 1)
                elif isinstance(item.line, EmailLine):
                    drafts.append(_email_draft(item.line, self._index.seq + len(drafts) + 1))
                    done = replace(done, emails=done.emails + 1)
                else:
                    drafts.append(_document_draft(item.line))
                    done = replace(done, documents=done.documents + 1)
            return drafts

        self._log.transact(decide)
        self._catch_up()
        self._done = done

    def _catch_up(self) -> None:
        for ref, line in self._log.read(self._index.seq):
            self._index.apply(ref, line)

    def _there(self, line: EmailLine | DocumentLine) -> dict[str, Any] | None:
        """What the store says of the same e-mail or document."""
        if isinstance(line, EmailLine):
            row = self._index.row(line.id)
            return None if row is None else email_line(row, self._index, self._log.fetch)
        ref = self._index.document(line.kind, line.name)
        return None if ref is None else document_line(self._log.fetch(ref))


def _subject(line: EmailLine | DocumentLine) -> str:
    return line.id if isinstance(line, EmailLine) else documents.subject(line.kind, line.name)


def _email_draft(line: EmailLine, seq: int) -> Draft:
    """The line of an e-mail, which will be line *seq* and be the place of all its events."""
    data: dict[str, Any] = {"content": line.content, "state": line.state}
    for name in ("key", "first", "extra"):
        if (value := getattr(line, name)) is not None:
            data[name] = value
    data["events"] = [{"seq": seq, **one.model_dump()} for one in line.events]
    return Draft(line.created_at, line.id, line.rev, records.RECORD, orjson.Fragment(orjson.dumps(data)))


def _document_draft(line: DocumentLine) -> Draft:
    data = {"doc": line.data, "created_at": line.created_at}
    type_ = f"{line.kind}.imported"
    return Draft(line.updated_at, _subject(line), line.rev, type_, orjson.Fragment(orjson.dumps(data)))
