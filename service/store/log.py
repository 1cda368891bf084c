"""What the store needs of a log, whatever keeps it: files on one machine, or a stream of a server.

A log is a sequence of lines numbered from 1 without a gap (`seq`), appended in *writes* of one or more lines. A write
is there as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NotRequired, Protocol, TypedDict

import orjson

SNAPSHOT = "snapshot"
"""Type of the line after those that a compaction merged; its `seq` is that of the last line that they stand for."""

COMPACTED = "compacted"
"""Type of the line that tells of a compaction: up to line ``seq`` there are now ``lines`` lines."""


LEAVING = "leaving"
"""In the data of the last line that a compaction merges: e-mails that are over and changed last before this moment
(RFC 3339) leave the log with it, and do not change any more."""


class Line(TypedDict):
    """One line as it is stored.

    `seq` numbers it, `at` is when its author's clock said it happened (RFC 3339, UTC), `id` and `rev` name the record
    and its revision, `type` what happened, `data` the rest. `end` is there on the last line of a write.
    """

    seq: int
    at: str
    id: str
    rev: int
    type: str
    data: dict[str, Any]
    end: NotRequired[int]
    crc: str


class Draft(NamedTuple):
    """A line to be written; the log numbers it. `data` may be encoded already, to keep that work outside the lock."""

    at: str
    id: str
    rev: int
    type: str
    data: dict[str, Any] | orjson.Fragment


Ref = int
"""Where a log finds a line again; valid as long as the log is open, meaningless to everybody else."""

Entry = tuple[Ref, Line]


class Keeper(Protocol):
    """Keeps large values beside the log, under their SHA-256 (hex); for any thread."""

    def put(self, data: bytes) -> str:
        """Keep *data*; durable on return, with its SHA-256. Raises StoreUnavailable."""

    def touch(self, name: str) -> None:
        """Keep what has this SHA-256 for a while, though no line names it yet. Raises KeyError or StoreUnavailable."""

    def read(self, name: str) -> bytes:
        """The bytes with this SHA-256. Raises KeyError, or StoreDamaged where they are not what was written."""

    def size(self, name: str) -> int | None:
        """How many they are; None if there are none."""


class Log(Protocol):
    """An append-only log that several processes read and write.

    `transact` is called by one thread at a time, and `read` by one thread at a time (another one is fine); `fetch`,
    `alive`, `free` and `holder` by any.
    """

    @property
    def id(self) -> str:
        """Drawn when the log was made; the same in every process."""

    @property
    def by(self) -> str:
        """Drawn when this process opened the log; others ask whether it is `alive`."""

    @property
    def blobs(self) -> Keeper:
        """What is too large for a line."""

    def read(self, after: int) -> Iterator[Entry]:
        """Every line of whole writes whose `seq` is above *after*, oldest first; costs what is new, not what is old.

        Raises:
            StoreDamaged: The log cannot be read.
            StoreUnavailable: What was read before is gone (``journal_cut``).
        """

    def fetch(self, ref: Ref) -> Line:
        """The line that `read` found at *ref*.

        Raises:
            StoreDamaged: It is not readable any more.
        """

    def transact(self, decide: Callable[[], Sequence[Draft]]) -> None:
        """Append, as one write, what *decide* answers; durable on return.

        While *decide* runs nobody else writes, and `read` sees everything that was written. It may be called again,
        and its answer may be empty. On return all that `read` showed it is durable too.

        Raises:
            StoreUnavailable: Nothing was written.
            StoreDamaged: The log ends in damage; nothing was written.
        """

    def seal(self) -> int:
        """End the part of the log that a compaction may merge; the number of its last line.

        Raises:
            StoreUnavailable: Nothing was sealed.
        """

    def compact(self, seq: int, merged: Iterable[tuple[int, Draft]]) -> int:
        """Let *merged*, numbered lines in order, stand for all lines up to *seq*, which `seal` answered.

        Others go on reading and writing meanwhile. Whoever opens the log from now on reads these lines.

        Returns:
            How many there are.

        Raises:
            StoreUnavailable: The log is as it was.
        """

    def wait(self, after: int, timeout: float) -> bool:
        """Block until there are lines after *after*; False if there are none *timeout* seconds later."""

    def alive(self, by: str) -> bool:
        """Does the process that opened the log as *by* still live?"""

    def tell(self, told: dict[str, Any]) -> None:
        """Let other processes know this of this one, until it closes the log; not kept, and not a line."""

    def told(self) -> list[dict[str, Any]]:
        """What the living processes have told, each its last word."""

    def lead(self, role: str) -> bool:
        """Has this process the *role*, which one at a time has until it closes the log? Takes it if it is free."""

    def free(self) -> int:
        """Bytes that may still be written."""

    def holder(self) -> str:
        """Who keeps `transact` waiting, in words."""

    def close(self) -> None:
        """Give up `by` and every resource."""
