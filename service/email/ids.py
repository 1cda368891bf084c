"""Ids of e-mails: ``em_`` and a UUIDv7 (RFC 9562, section 5.7) in 26 characters of Crockford's base 32.

They sort by the time they were made, and within a process strictly so, even when the clock steps back.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time

PREFIX = "em_"
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHAPE = re.compile(r"em_[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
_RANDOM_BITS = 74


class _Uuid7:
    """Draws UUIDv7s, each above the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ms = 0
        self._random = 0

    def draw(self) -> int:
        ms = time.time_ns() // 1_000_000
        with self._lock:
            if ms > self._ms:
                # The top bit starts at 0, so that counting up within a millisecond has room.
                self._ms, self._random = ms, secrets.randbits(_RANDOM_BITS - 1)
            else:
                self._random += 1 + secrets.randbits(32)
                if self._random >> _RANDOM_BITS:
                    self._ms, self._random = self._ms + 1, secrets.randbits(_RANDOM_BITS - 1)
            ms, random = self._ms, self._random
        high, low = random >> 62, random & (1 << 62) - 1
        return ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low


_source = _Uuid7()


def _restart() -> None:
    # A forked child would otherwise count on from its parent's number, as its siblings do; and the lock may be held.
    global _source
    _source = _Uuid7()


os.register_at_fork(after_in_child=_restart)


def new_email_id() -> str:
    """A new id, above every id this process made before. Thread-safe."""
    number = _source.draw()
    return PREFIX + "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


def is_email_id(text: str) -> bool:
    """Whether *text* has the shape of an id (it need not exist)."""
    return _SHAPE.fullmatch(text) is not None


def message_id(email_id: str, domain: str) -> str:
    """The ``Message-ID`` of an e-mail, the same at every attempt; *domain* is the sender's, in ASCII."""
    return f"<{email_id}@{domain}>"
