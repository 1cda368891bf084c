"""Reading a file of the log of which not every line is whole: what is a line there, and what once may have been one."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from service.store import lines
from service.store.log import Line
from service.store.segments import Files

_MOST = 200
_END = b',"end":1,"crc":"'
_HEAD = re.compile(rb'"id":"([^"\\]{0,1000})","rev":(\d{1,10}),"type":"([^"\\]{1,100})"')
_EMAIL = re.compile(rb"(em_[0-9A-HJKMNP-TV-Z]{26})")
_SUBJECT = re.compile(rb'"([a-z]+:[ -!#-\[\]-~]{1,1000})"')
_HEAD_ENDS = 200


class Head(NamedTuple):
    """What a line was about."""

    id: str
    rev: int
    type: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a file.

    Attributes:
        start: Where they begin.
        end: Where they end; the newline is one of them.
        number: Which line of the file it is, from 1.
        line: What they say; None if they are damaged.
        head: What can still be read of a damaged one.
        patch: What should stand there instead, for a line whose newline is damaged.
        whole: Whether they end with a newline.
    """

    start: int
    end: int
    number: int
    line: Line | None
    head: Head | None = None
    patch: bytes | None = None
    whole: bool = True

    @property
    def about(self) -> Head | None:
        """What the line was about, if that can be read."""
        return self.head if self.line is None else Head(self.line["id"], self.line["rev"], self.line["type"])


def read(files: Files, number: int) -> Iterator[Piece]:
    """All bytes of file *number*, in order."""
    count = at = 0
    for start, raw in files.lines(number, 0):
        count += 1
        at = start + len(raw) + 1
        line = lines.decode(raw)
        if line is not None:
            yield Piece(start, at, count, line)
        else:
            yield from _parted(start, raw, count)
    if (size := files.size(number)) > at:
        raw = os.pread(files.fd(number), size - at, at)
        yield Piece(at, size, count + 1, None, _head(raw), whole=False)


def end_of_writes(files: Files, number: int) -> int:
    """Where the last line of file *number* ends that ends a write; 0 if there is none."""
    if not files.size(number):
        return 0
    with mmap.mmap(files.fd(number), 0, prot=mmap.PROT_READ) as content:
        mark = len(content)
        while (mark := content.rfind(_END, 0, mark)) >= 0:
            start, stop = content.rfind(b"\n", 0, mark) + 1, content.find(b"\n", mark)
            if stop >= 0 and _ends_whole(content[start:stop]):
                return stop + 1
    return 0


def _ends_whole(raw: bytes) -> bool:
    """Is this a line, or does it end with one?"""
    return lines.decode(raw) is not None or [*_parted(0, raw, 0)][-1].line is not None


def first_seq(files: Files, number: int) -> int | None:
    """The number of the first line of file *number* that is whole; None if none is."""
    return next((piece.line["seq"] for piece in read(files, number) if piece.line is not None), None)


def _parted(start: int, raw: bytes, number: int) -> Iterator[Piece]:
    """A bad line is several where a newline between them is damaged: those of them that are whole, and the rest."""
    begins = _begins(raw)
    done = nth = 0
    while nth < len(begins) - 1:
        begin = begins[nth]
        for stop in begins[nth + 1 :]:
            text = raw[begin : stop - 1]
            if (line := lines.decode(text)) is None:
                continue
            if done < begin:
                yield _bad(start, raw, done, begin, number)
            yield Piece(start + begin, start + stop, number, line, None, None if stop > len(raw) else text + b"\n")
            done, nth = stop, begins.index(stop)
            break
        else:
            nth += 1
    if done <= len(raw):
        yield _bad(start, raw, done, len(raw) + 1, number)


def _begins(raw: bytes) -> list[int]:
    """Where a line may begin in a bad one, and where it ends. There may be many: in the data, it looks the same."""
    begins = [0]
    while len(begins) < _MOST and (found := raw.find(lines.START, begins[-1] + 1)) >= 0:
        begins.append(found)
    return [*begins, len(raw) + 1]


def _bad(start: int, raw: bytes, begin: int, stop: int, number: int) -> Piece:
    return Piece(start + begin, start + stop, number, None, _head(raw[begin:stop]))


def _head(raw: bytes) -> Head | None:
    found = _HEAD.search(raw)
    if found is None:
        return _id_alone(raw)
    return Head(found[1].decode(errors="replace"), int(found[2]), found[3].decode(errors="replace"))


def _id_alone(raw: bytes) -> Head | None:
    """What a line was about whose head is damaged beside the id; its revision, unless it is the first, is 0 then."""
    start = raw[:_HEAD_ENDS]
    found = _EMAIL.search(start) or _SUBJECT.search(start)
    if found is None:
        return None
    is_first = b'"email.scheduled"' in start or b'"rev":1,' in start
    return Head(found[1].decode(), 1 if is_first else 0, "")
