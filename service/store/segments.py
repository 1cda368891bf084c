"""The files that lines are read from: every one is opened once and stays open, so that its lines can be found again."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from service.store import lines
from service.store.errors import StoreDamaged, StoreUnavailable
from service.store.log import Line, Ref

_BLOCK = 4 * 1024 * 1024
_GUESS = 4096
_OFFSET_BITS = 44
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_SEGMENT = re.compile(r"journal-(\d+)-(\d{4,})\.jsonl")


def segment_name(generation: int, number: int) -> str:
    """The name of the *number*-th segment after the snapshot of *generation*."""
    return f"journal-{generation}-{number:04}.jsonl"


def segment_key(name: str) -> tuple[int, int] | None:
    """Generation and number of a segment; None for the name of anything else."""
    match = _SEGMENT.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def ref(number: int, offset: int) -> Ref:
    """The reference of the line at *offset* of file *number*."""
    return number << _OFFSET_BITS | offset


class Files:
    """Open files of one directory, by the number they got here. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._fds: list[int] = []
        self._opening = threading.Lock()

    def open(self, name: str) -> int:
        """The number of the file *name*.

        Raises:
            FileNotFoundError: There is no such file.
        """
        with self._opening:
            if name not in self._numbers:
                self._fds.append(os.open(self.directory / name, os.O_RDWR | os.O_APPEND))
                self._names.append(name)
                self._numbers[name] = len(self._fds) - 1
            return self._numbers[name]

    def close(self) -> None:
        """Close every file."""
        while self._fds:
            os.close(self._fds.pop())

    def number(self, reference: Ref) -> int:
        """The file that *reference* points into."""
        return reference >> _OFFSET_BITS

    def name(self, number: int) -> str:
        """The name of file *number*."""
        return self._names[number]

    def path(self, number: int) -> Path:
        """Where file *number* is."""
        return self.directory / self._names[number]

    def fd(self, number: int) -> int:
        """The descriptor of file *number*, for reading anywhere and writing at its end."""
        return self._fds[number]

    def size(self, number: int) -> int:
        """Bytes in file *number* now."""
        return os.fstat(self._fds[number]).st_size

    def lines(self, number: int, offset: int) -> Iterator[tuple[int, bytes]]:
        """Every line that ends with a newline by now, from *offset* on, as its offset and its bytes before the newline.

        Raises:
            StoreUnavailable: The file ends before *offset* (``journal_cut``).
        """
        size = self.size(number)
        if size < offset:
            raise StoreUnavailable(
                "journal_cut", f"{self.path(number)} was cut to {size} bytes after {offset} had been read"
            )
        start, rest = offset, b""
        while offset < size:
            block = os.pread(self._fds[number], min(_BLOCK, size - offset), offset)
            if not block:
                return
            offset += len(block)
            *whole, rest = (rest + block).split(b"\n")
            for raw in whole:
                yield start, raw
                start += len(raw) + 1

    def fetch(self, reference: Ref) -> Line:
        """The line at *reference*.

        Raises:
            StoreDamaged: It is not readable any more.
        """
        number, offset = self.number(reference), reference & _OFFSET_MASK
        wanted = _GUESS
        while True:
            block = os.pread(self._fds[number], wanted, offset)
            end = block.find(b"\n")
            if end >= 0 or len(block) < wanted:
                break
            wanted *= 8
        line = lines.decode(block[:end]) if end >= 0 else None
        if line is None:
            raise StoreDamaged(self.path(number), self.line_number(number, offset), "the line is damaged")
        return line

    def line_number(self, number: int, offset: int) -> int:
        """Which line of file *number* is at *offset*, from 1."""
        count, at = 1, 0
        while at < offset:
            block = os.pread(self._fds[number], min(_BLOCK, offset - at), at)
            if not block:
                break
            count += block.count(b"\n")
            at += len(block)
        return count
