"""Names for jobs that sort in the order they were made."""

from __future__ import annotations

import os
import secrets
import threading
import time
from typing import Final

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)


class _IdSource:
    """UUIDv7 (RFC 9562 section 5.7), never below the last one of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        stamp = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76
        with self._lock:
            fresh = stamp | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
            if fresh <= self._last:
                fresh = self._last + 1 + secrets.randbits(32)
            self._last = fresh
            return fresh

    def text(self) -> str:
        """26 characters of Crockford's Base32, which sort as the ids do."""
        value = self.next()
        return "".join([_PAIRS[value >> shift & 0x3FF] for shift in range(120, -1, -10)])


new_id: Final = _IdSource().text
"""Make a new id: a UUIDv7 in 26 characters of Crockford's Base32; within a process each sorts after the one before."""
