"""What the exit status of each command means."""

from __future__ import annotations

import signal
from typing import Final

OK: Final = 0
FAILED: Final = 1
"""Something went wrong that may go right the next time."""
USAGE: Final = 2
"""A setting or an argument is wrong."""
DAMAGED: Final = 3
"""The store does not hold what was written to it."""
UNAVAILABLE: Final = 4
"""Something that is needed to start is not to be had: the data directory, or a server."""

REFUSALS: Final = frozenset({USAGE, DAMAGED, UNAVAILABLE})
"""Statuses after which starting again would end the same way."""


def describe(status: int) -> str:
    """How a process ended, for people; a negative status is the signal that killed it."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
