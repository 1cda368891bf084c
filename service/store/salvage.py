"""What is left of a damaged log: every line that is whole, in order, and every place where something is not.

A lost line leaves its number behind: between two lines that are there, the numbers that are missing are those of lost
lines. In the journal `LOST` lines take their place, so that all others keep their numbers. A line that says what became
of an e-mail whose content is lost is as good as lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from service.store import lines, pieces
from service.store.cursor import SEALED
from service.store.errors import StoreDamaged
from service.store.index import Index
from service.store.log import SNAPSHOT, Line, Ref
from service.store.manifest import Manifest
from service.store.named import attached
from service.store.pieces import Head, Piece
from service.store.segments import Files, ref, segment_key, segment_name

LOST = "lost"
"""Type of the line that takes the place of one that was lost."""


@dataclass(slots=True)
class Flaw:
    """A place in a file where something is not as it was written.

    Attributes:
        file: Its name.
        line: Which line of it, from 1.
        start: Where the bytes begin that are to go.
        end: Where they end.
        patch: What takes their place.
        what: What is wrong, for people.
        first: The number of the first line that is lost in the journal.
        lost: How many are.
        heads: What can be read of those.
        by: When they were written at the latest; "" for now.
        is_torn: Nothing of this was ever acknowledged: it is a write that was not finished.
        last_line: Which line of it is the last one that is concerned; 0 if that is the first.
    """

    file: str
    line: int
    start: int
    end: int
    patch: bytes
    what: str
    first: int = 0
    lost: int = 0
    heads: list[Head] = field(default_factory=list)
    by: str = ""
    is_torn: bool = False
    last_line: int = 0

    @property
    def where(self) -> str:
        """File and lines, for people."""
        return f"{self.file}:{self.line}" + (f"-{self.last_line}" if self.last_line > self.line else "")


@dataclass(frozen=True, slots=True)
class Gap:
    """Revisions of an e-mail that are not there: *missing* many, between lines *after* and *before*."""

    email_id: str
    after: int
    before: int
    missing: int


class Salvage:
    """Reads the files of a log from *start* on.

    Attributes:
        index: Of all lines that are left.
        flaws: Every flaw, in order.
        gaps: Of all e-mails.
        last: The name of the last segment; it need not be there.
        seq: The number of the last line that is left.
        lines: How many lines are left.
        named: The files beside the log that e-mails name.
    """

    def __init__(self, files: Files, start: Manifest, at: str, progress: Callable[[str, int, int], None]) -> None:
        """Prepare.

        Args:
            files: The files of the directory.
            start: Where reading begins.
            at: The time of lines that take the place of lost ones.
            progress: Is told how far it is.
        """
        self.index = Index()
        self.flaws: list[Flaw] = []
        self.gaps: list[Gap] = []
        self.last = start.journal
        self.lines = 0
        self.named: set[str] = set()
        self._files = files
        self._start = start
        self._at = at
        self._progress = progress
        self.seq = 0
        self._moved: dict[Ref, Line] = {}

    def run(self) -> None:
        """Read everything."""
        if self._start.snapshot is not None:
            self._read_snapshot(self._files.open(self._start.snapshot))
        self.seq = self._start.seq
        name: str | None = self._start.journal
        while name is not None:
            self.last = name
            if not (self._files.directory / name).exists():
                return  # the manifest was made anew, and there is no segment at all
            name = self._read_segment(self._files.open(name))

    def fetch(self, reference: Ref) -> Line:
        """A line that is left."""
        return self._moved.get(reference) or self._files.fetch(reference)

    def _read_snapshot(self, file: int) -> None:
        name, limit = self._files.name(file), self._start.seq
        whole = False
        for piece in pieces.read(self._files, file):
            line = piece.line
            if line is None or whole or not self.seq < line["seq"] <= limit:
                self._cut(name, [piece], "the line is damaged" if line is None else "the line is out of place")
                continue
            whole = line["type"] == SNAPSHOT and line["seq"] == limit
            self.seq = line["seq"]
            self._take(file, piece, line)
        if not whole:
            end = self._files.size(file)
            last = {"seq": limit, "at": self._at, "id": "", "rev": 0, "type": SNAPSHOT, "data": {}}
            patch = lines.seal(last, end=True)
            number = self._files.line_number(file, end)
            self.flaws.append(Flaw(name, number, end, end, patch, "the snapshot is cut short"))
            self.index.apply(0, _decoded(patch))

    def _read_segment(self, file: int) -> str | None:
        """Read one segment; the name of the next one."""
        name, following = self._files.name(file), self._following(self._files.name(file))
        keep = self._files.size(file) if following else pieces.end_of_writes(self._files, file)
        sealed: tuple[Piece, Line] | None = None
        bad: list[Piece] = []
        tail: list[Piece] = []
        for piece in pieces.read(self._files, file):
            line = piece.line
            if piece.start >= keep:
                tail.append(piece)
            elif sealed is not None or line is None or line["seq"] <= self.seq:
                bad.append(piece)
            else:
                self._close(name, bad, piece.number, piece.start, line["seq"] - self.seq - 1, line["at"])
                bad = []
                self._take(file, piece, line)
                self.seq = line["seq"]
                if line["type"] == SEALED:
                    sealed = piece, line
        end = self._files.size(file)
        if sealed is not None:
            self._close(name, bad + tail, self._files.line_number(file, end), end, 0, "")
            return self._led_to(name, *sealed, following)
        if following is not None:
            self._seal(file, bad, following)
        elif tail or bad:
            self._cut_tail(name, bad + tail)
        return following

    def _close(self, name: str, bad: list[Piece], number: int, place: int, missing: int, by: str) -> None:
        """Between two lines that follow each other in the file, *bad* pieces lie and *missing* numbers are missing."""
        if not bad and not missing:
            return
        if bad:
            number, place = bad[0].number, bad[0].start
        first = self.seq + 1
        patch = b"".join(self.lost(seq) for seq in range(first, first + missing))
        for seq in range(first, first + missing):
            self.index.apply(0, _decoded(self.lost(seq)))
        heads = [piece.about for piece in bad if piece.about is not None]
        what = f"{missing} lines are" if missing > 1 else "the line is" if bad else f"line {first} is"
        what += " missing" if not bad else " damaged" if missing else " none of the log"
        end, last = (bad[-1].end, bad[-1].number) if bad else (place, 0)
        self.flaws.append(Flaw(name, number, place, end, patch, what, first, missing, heads, by, last_line=last))

    def _seal(self, file: int, bad: list[Piece], following: str) -> None:
        """The line is lost that leads to *following*, and perhaps others before it."""
        name, end = self._files.name(file), self._files.size(file)
        upto = pieces.first_seq(self._files, self._files.open(following)) or self.seq + 2
        if upto <= self.seq + 1:
            number = self._files.line_number(file, end)
            raise StoreDamaged(self._files.path(file), number, f"{following} does not go on from here")
        seq = upto - 1
        self._close(name, bad, self._files.line_number(file, end), end, seq - self.seq, "")
        flaw = self.flaws[-1]
        sealed = {"seq": seq, "at": self._at, "id": "", "rev": 0, "type": SEALED, "data": {"next": following}}
        flaw.patch = flaw.patch[: -len(self.lost(seq))] + lines.seal(sealed, end=True)
        flaw.what += f"; the last led to {following}"
        if all(head.type != SEALED for head in flaw.heads):
            flaw.heads.append(Head("", 0, SEALED))
        self.seq = seq

    def _cut_tail(self, name: str, tail: list[Piece]) -> None:
        """What comes after the last whole write: one that was not finished, or one that was damaged."""
        is_torn = all(piece.line is not None or not piece.whole for piece in tail)
        heads = [piece.about for piece in tail if piece.about is not None]
        what = "the last write was not finished" if is_torn else "the last write is damaged"
        lost = 0 if is_torn else len(tail)
        start, end, first = tail[0].start, tail[-1].end, self.seq + 1
        flaw = Flaw(name, tail[0].number, start, end, b"", what, first, lost, heads, "", is_torn, tail[-1].number)
        self.flaws.append(flaw)

    def _led_to(self, name: str, sealed: Piece, line: Line, following: str | None) -> str | None:
        """Where a segment goes on, if need be somewhere else than it says."""
        wanted = line["data"]["next"]
        if (self._files.directory / wanted).exists():
            return str(wanted)
        key = segment_key(name)
        assert key is not None
        onward = following or segment_name(key[0], key[1] + 1)
        body = {name: line[name] for name in ("seq", "at", "id", "rev", "type")}
        patch = lines.seal({**body, "data": {**line["data"], "next": onward}}, end=True)
        what = f"it leads to {wanted}, which is missing"
        self.flaws.append(Flaw(name, sealed.number, sealed.start, sealed.end, patch, what, by=line["at"]))
        return onward

    def _following(self, name: str) -> str | None:
        """The next segment that holds something."""
        here = segment_key(name)
        assert here is not None
        later = [
            (key, path.name)
            for path in self._files.directory.iterdir()
            if (key := segment_key(path.name)) is not None and key > here and path.stat().st_size > 0
        ]
        return min(later)[1] if later else None

    def _cut(self, name: str, bad: list[Piece], what: str) -> None:
        heads = [piece.about for piece in bad if piece.about is not None]
        self.flaws.append(Flaw(name, bad[0].number, bad[0].start, bad[-1].end, b"", what, heads=heads))

    def _take(self, file: int, piece: Piece, line: Line) -> None:
        """A line that is left: into the index, unless it is of an e-mail whose content is lost."""
        self.lines += 1
        self._progress("reading lines", self.lines, 0)
        reference = ref(file, piece.start)
        name = self._files.name(file)
        if piece.patch is not None:
            self._moved[reference] = line
            what = "the end of the line is damaged; the line is whole"
            self.flaws.append(Flaw(name, piece.number, piece.start, piece.end, piece.patch, what))
        if "state" in line["data"]:
            row = self.index.row(line["id"])
            if row is None and "content" not in line["data"]:
                what = f"the content of {line['id']} is lost, and what became of it is no use without"
                patch = self.lost(line["seq"], end="end" in line)
                self.flaws.append(Flaw(name, piece.number, piece.start, piece.end, patch, what))
                self.index.apply(0, _decoded(patch))
                return
            if row is not None and line["rev"] > row.rev + 1:
                after = self.fetch(self.index.newest_of(row))["seq"]
                self.gaps.append(Gap(line["id"], after, line["seq"], line["rev"] - row.rev - 1))
            self.named.update(attached(line["data"]))
        self.index.apply(reference, line)

    def lost(self, seq: int, *, end: bool = False) -> bytes:
        """The line that takes the place of the lost line *seq*."""
        return lines.seal({"seq": seq, "at": self._at, "id": "", "rev": 0, "type": LOST, "data": {}}, end=end)


def _decoded(raw: bytes) -> Line:
    line = lines.decode(raw.removesuffix(b"\n"))
    assert line is not None
    return line
