"""What the exit status of a command means."""

from __future__ import annotations

import signal
from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
UNREACHABLE: Final = 4
WRONG_STATE: Final = 5

MEANINGS: Final = {
    OK: "done",
    FAILED: "failed",
    USAGE: "wrong usage: an option, an argument, or what they name",
    NOT_FOUND: "there is no such job or schedule",
    UNREACHABLE: "the server cannot be reached",
    WRONG_STATE: "the job, or the server, is in a state that does not allow it",
}


def of_process(status: int) -> int:
    """The exit status that says how a child ended, as shells say it: 128 and the signal that killed it."""
    return status if status >= 0 else 128 - status


def describe(status: int) -> str:
    """How a child ended, for people; a negative status is the signal that killed it."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
