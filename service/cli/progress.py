"""A bar on standard error while long work lasts, on a terminal only."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_WIDTH = 30
_EVERY_S = 0.1


class Bar:
    """Redraws one line, ten times a second at most; it is gone at the end."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = time.monotonic() + _EVERY_S

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, what: str, done: int, of: int) -> None:
        """Say what is being done, how much of it is done, and of how much (0: unknown)."""
        if not self._shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_S
        filled = min(_WIDTH, _WIDTH * done // of) if of else 0
        bar = f"[{'#' * filled:{_WIDTH}}] {done:,}/{of:,}" if of else f"{done:,}"
        print(f"\r\x1b[K{what:20} {bar}", end="", file=sys.stderr, flush=True)
