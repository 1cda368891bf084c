"""How a command says that it does not go on."""

from __future__ import annotations

import sys


def refuse(status: int, why: str) -> int:
    """Say *why* on standard error; the exit *status*."""
    print(f"service: {why}", file=sys.stderr)
    return status
