"""A log that is only in memory: the least that keeps the contract, to prove that the contract asks for no files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, cast

from service.store import lines
from service.store.errors import StoreUnavailable
from service.store.log import COMPACTED, SNAPSHOT, Draft, Entry, Line, Ref


class MemoryBlobs:
    """Files in a dict."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """See `Keeper`."""
        name = sha256(data).hexdigest()
        self._kept[name] = data
        return name

    def touch(self, name: str) -> None:
        """See `Keeper`."""
        self.read(name)

    def read(self, name: str) -> bytes:
        """See `Keeper`."""
        return self._kept[name]

    def size(self, name: str) -> int | None:
        """See `Keeper`."""
        return len(self._kept[name]) if name in self._kept else None


class Memory:
    """What all who open the log share."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.lock = threading.RLock()
        self.lines: list[Line] = []  # by reference
        self.journal: list[Ref] = []
        self.merged: list[Ref] = []
        self.sealed = 0
        self.living: dict[str, dict[str, Any] | None] = {}
        self.roles: dict[str, str] = {}
        self.is_full = False

    def open(self) -> MemoryLog:
        """Open it."""
        return MemoryLog(self)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more can be written meanwhile."""
        self.is_full = True
        try:
            yield
        finally:
            self.is_full = False

    def keep(self, raw: bytes) -> Ref:
        """Keep a line; where."""
        self.lines.append(cast("Line", lines.decode(raw.rstrip(b"\n"))))
        return len(self.lines) - 1


class MemoryLog:
    """See `service.store.log.Log`."""

    id = "memory"

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._start = (list(memory.merged), memory.sealed)
        self.by = f"p{len(memory.living)}"
        self.blobs = memory.blobs
        memory.living[self.by] = None

    def read(self, after: int) -> Iterator[Entry]:
        """See `Log`."""
        merged, sealed = self._start
        with self._memory.lock:
            refs = merged + self._memory.journal[sealed:]
            entries = [(ref, self._memory.lines[ref]) for ref in refs]
        return iter([entry for entry in entries if entry[1]["seq"] > after])

    def fetch(self, ref: Ref) -> Line:
        """See `Log`."""
        return self._memory.lines[ref]

    def transact(self, decide: Callable[[], Sequence[Draft]]) -> None:
        """See `Log`."""
        with self._memory.lock:
            drafts = decide()
            if drafts and self._memory.is_full:
                raise StoreUnavailable("no_space", "memory is full")
            written = lines.encode(len(self._memory.journal) + 1, drafts)
            self._memory.journal += [self._memory.keep(raw) for raw in written.splitlines()]

    def seal(self) -> int:
        """See `Log`."""
        return len(self._memory.journal)

    def compact(self, seq: int, merged: Iterable[tuple[int, Draft]]) -> int:
        """See `Log`."""
        documents: list[dict[str, Any]] = [{"seq": number} | draft._asdict() for number, draft in merged]
        documents.append({"seq": seq, "at": "", "id": "", "rev": 0, "type": SNAPSHOT, "data": {}})
        with self._memory.lock:
            self._memory.merged = [self._memory.keep(lines.seal(one)) for one in documents]
            self._memory.sealed = seq
            told = Draft("", "", 0, COMPACTED, {"seq": seq, "lines": len(documents)})
            self.transact(lambda: [told])
        return len(documents)

    def wait(self, after: int, timeout: float) -> bool:
        """See `Log`."""
        deadline = time.monotonic() + timeout
        while len(self._memory.journal) <= after:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def alive(self, by: str) -> bool:
        """See `Log`."""
        return by in self._memory.living

    def tell(self, told: dict[str, Any]) -> None:
        """See `Log`."""
        self._memory.living[self.by] = told

    def told(self) -> list[dict[str, Any]]:
        """See `Log`."""
        return [told for told in self._memory.living.values() if told is not None]

    def lead(self, role: str) -> bool:
        """See `Log`."""
        return self._memory.roles.setdefault(role, self.by) == self.by

    def free(self) -> int:
        """See `Log`."""
        return 0 if self._memory.is_full else 1 << 40

    def holder(self) -> str:
        """See `Log`."""
        return "this process"

    def close(self) -> None:
        """See `Log`."""
        self._memory.living.pop(self.by, None)
        self._memory.roles = {role: by for role, by in self._memory.roles.items() if by != self.by}
