"""The words of all e-mails in one array of bytes, which is searched as a whole: a million in some milliseconds.

The words of one e-mail are its recipients, its tags, and its subject with what else can be searched for, each followed
by a byte that no UTF-8 text has.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

_TO, _TAG, _END = b"\xfd", b"\xfe", b"\xff"


class Words:
    """Of each row what it can be found by. Rows come in order; one whose words change is looked at by itself later."""

    def __init__(self) -> None:
        self._all = bytearray()
        self._starts = array("Q")  # of each entry of `_all`, in the order of their writing
        self._rows = array("L")  # whose each entry is
        self._entry = array("L")  # which entry is a row's
        self._changed: set[int] = set()

    def put(self, row: int, to: Iterable[str], tags: Iterable[str], text: str) -> None:
        """Set the words of a row; of a new one they must be the next.

        Args:
            row: Which one.
            to: Addresses, lower case.
            tags: As they are.
            text: What else can be searched for, case folded.
        """
        entry = len(self._starts)
        self._starts.append(len(self._all))
        self._rows.append(row)
        is_new = row == len(self._entry)
        if is_new:
            self._entry.append(entry)
        self._all += _TO + b"".join([_encoded(one) + _TO for one in to])
        self._all += _TAG + b"".join([_encoded(one) + _TAG for one in tags])
        self._all += _encoded(text) + _END
        if not is_new:  # last, for somebody may be searching: until here what it had is found
            self._changed.add(row)
            self._entry[row] = entry

    def to(self, address: str) -> bytes:
        """What to search for to find a recipient."""
        return _TO + _encoded(address.lower()) + _TO

    def tag(self, tag: str) -> bytes:
        """What to search for to find a tag."""
        return _TAG + _encoded(tag) + _TAG

    def part(self, text: str) -> bytes:
        """What to search for to find a part of anything."""
        return _encoded(text.casefold())

    def has(self, row: int, needle: bytes) -> bool:
        """Is *needle* among the words of a row?"""
        start, end = self._bounds(self._entry[row])
        return self._all.find(needle, start, end) >= 0

    def newest_first(self, needle: bytes, below: int) -> Iterator[int]:
        """The rows below *below* that have *needle*, the last one first."""
        at = len(self._all)
        known = frozenset(self._changed)  # after the end: what changes from here on is found where it was
        changed = sorted((row for row in known if row < below and self.has(row, needle)), reverse=True)
        while (at := self._all.rfind(needle, 0, at)) >= 0:
            entry = bisect_right(self._starts, at) - 1
            row = self._rows[entry]
            at = self._starts[entry] + len(needle) - 1  # so that the next match lies before this entry
            if row >= below or row in known or not self._is_found(row, entry, needle):
                continue
            while changed and changed[0] > row:
                yield changed.pop(0)
            yield row
        yield from changed

    def oldest_first(self, needle: bytes, above: int) -> Iterator[int]:
        """The rows above *above* that have *needle*, the first one first."""
        at, end = 0, len(self._all)
        known = frozenset(self._changed)  # after the end, as above
        changed = sorted(row for row in known if row > above and self.has(row, needle))
        while (at := self._all.find(needle, at, end)) >= 0:
            entry = bisect_right(self._starts, at) - 1
            row = self._rows[entry]
            at = self._bounds(entry)[1]
            if row <= above or row in known or not self._is_found(row, entry, needle):
                continue
            while changed and changed[0] < row:
                yield changed.pop(0)
            yield row
        yield from changed

    def _is_found(self, row: int, entry: int, needle: bytes) -> bool:
        """Has a row *needle*, which this entry has that was once its own?"""
        return self._entry[row] == entry or self.has(row, needle)

    def _bounds(self, entry: int) -> tuple[int, int]:
        end = self._starts[entry + 1] if entry + 1 < len(self._starts) else len(self._all)
        return self._starts[entry], end


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
