"""Reading the journal: a place between two writes, and the snapshot before the first of them."""

from __future__ import annotations

from collections.abc import Iterator

from service.store import lines
from service.store.errors import StoreDamaged, StoreUnavailable
from service.store.log import SNAPSHOT, Entry
from service.store.segments import Files, ref

SEALED = "sealed"
"""Type of the last line of a segment: its data names the ``next`` one."""


class Cursor:
    """A place between two writes of the journal: everything up to line `seq` lies before it.

    Reading needs no lock: a write that is being made, or that was torn, is not there yet. Whether bytes after this
    place are damage can be judged only by who holds the lock (see `recovery`).
    """

    __slots__ = ("_files", "file", "offset", "seq")

    def __init__(self, files: Files, file: int, offset: int, seq: int) -> None:
        self._files = files
        self.file = file
        self.offset = offset
        self.seq = seq

    def copy(self) -> Cursor:
        """Another cursor at the same place."""
        return Cursor(self._files, self.file, self.offset, self.seq)

    def advance(self) -> Iterator[Entry]:
        """Move past every whole write there is by now, answering its lines."""
        while True:
            file = self.file
            yield from self._in_segment()
            if self.file == file:
                return

    def _in_segment(self) -> Iterator[Entry]:
        write: list[Entry] = []
        seq = self.seq
        for offset, raw in self._files.lines(self.file, self.offset):
            line = lines.decode(raw)
            if line is None or line["seq"] != seq + 1:
                return
            seq += 1
            write.append((ref(self.file, offset), line))
            if "end" not in line:
                continue
            if line["type"] == SEALED:
                # Never past it with nowhere to go: what is written behind it is read by nobody.
                self.file, self.offset, self.seq = self._following(line["data"]["next"]), 0, seq
                yield from write
                return
            self.offset, self.seq = offset + len(raw) + 1, seq
            yield from write
            write.clear()

    def _following(self, name: str) -> int:
        try:
            return self._files.open(name)
        except FileNotFoundError as error:
            why = f"{name} is gone: this process slept through a compaction"
            raise StoreUnavailable("journal_cut", why) from error


def read_snapshot(files: Files, file: int, seq: int) -> Iterator[Entry]:
    """The lines of a snapshot that reaches line *seq*: one write whose numbers grow, with gaps.

    Raises:
        StoreDamaged: It is not whole.
    """
    last, end, count = 0, 0, 0
    whole = False
    for offset, raw in files.lines(file, 0):
        line = lines.decode(raw)
        count += 1
        if line is None or whole or not last < line["seq"] <= seq:
            raise StoreDamaged(files.path(file), count, "the snapshot is damaged")
        last, end = line["seq"], offset + len(raw) + 1
        whole = "end" in line and line["type"] == SNAPSHOT and last == seq
        yield ref(file, offset), line
    if not whole or end != files.size(file):
        raise StoreDamaged(files.path(file), count + 1, "the snapshot is cut short")
