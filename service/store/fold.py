"""What a compaction keeps: of each record one line, which is as good as all the lines it had.

The line of an e-mail holds its content, its state and what happened to it, and takes the place of the line that
accepted it, which is its place in every list. Of a document the newest line stays; notes go.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from service.email.record import FINAL
from service.store import records
from service.store.index import Index
from service.store.log import Draft, Line, Ref
from service.store.named import anywhere, attached

Fetch = Callable[[Ref], Line]


class Kept(NamedTuple):
    """A line to keep, with the number it has."""

    seq: int
    draft: Draft


class Fold:
    """Makes the lines of a snapshot from everything that *index* knows.

    Args:
        index: Of exactly the lines that the snapshot is to cover.
        fetch: Reads a line again.
        expired: E-mails that are final and changed last before this moment (RFC 3339) are left out; None keeps
            all.
        archive: Gets the lines of those, and the moment of their last change.
    """

    def __init__(self, index: Index, fetch: Fetch, expired: str | None, archive: Callable[[str, Draft], None]) -> None:
        self.blobs: set[str] = set()
        self.archived = 0
        self._index = index
        self._fetch = fetch
        self._expired = expired
        self._archive = archive

    def __iter__(self) -> Iterator[Kept]:
        """The lines by their numbers. Afterwards `blobs` has the SHA-256 of every file that they name."""
        yield from heapq.merge(self._emails(), self._documents(), key=lambda kept: kept.seq)

    def _emails(self) -> Iterator[Kept]:
        for row in self._index.oldest_first(0):
            history = [self._fetch(ref) for ref in self._index.lines_of(row)]
            draft = _merged(history, self._fetch(row.content))
            last = records.last_change(history[-1])
            if self._expired is not None and row.status in FINAL and last < self._expired:
                self.archived += 1
                self._archive(last, draft)
                continue
            self.blobs.update(attached(self._fetch(row.content)["data"]))
            yield Kept(row.seq, draft)

    def _documents(self) -> Iterator[Kept]:
        refs = (ref for kind in self._index.kinds() for ref in self._index.documents(kind).values())
        # Read twice rather than kept: there may be a million addresses that nothing is sent to.
        for _, ref in sorted((self._fetch(ref)["seq"], ref) for ref in refs):
            line = self._fetch(ref)
            yield Kept(line["seq"], _draft(line))
            self.blobs.update(anywhere(line["data"]))


def _merged(history: list[Line], content: Line) -> Draft:
    if len(history) == 1:
        return _draft(history[0])
    newest = history[-1]
    data: dict[str, Any] = {"content": content["data"]["content"], "state": newest["data"]["state"]}
    for name in ("key", "extra"):
        if name in history[0]["data"]:
            data[name] = history[0]["data"][name]
    if "key" in data:
        first = history[0]["data"]
        data["first"] = first.get("first", first["state"])
        was = first.get("first_content", first["content"])
        if was != data["content"]:
            data["first_content"] = was
    data["events"] = records.events_to_json(records.read_history(history))
    encoded = orjson.Fragment(orjson.dumps(data))
    return Draft(history[0]["at"], newest["id"], newest["rev"], records.RECORD, encoded)


def _draft(line: Line) -> Draft:
    return Draft(line["at"], line["id"], line["rev"], line["type"], line["data"])
