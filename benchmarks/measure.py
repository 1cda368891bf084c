"""What the benchmarks share: a server, figures, and a bar on standard error while it lasts."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence

import zqueue

LOOPS = ("asyncio", "uvloop")


def options(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", help="the server to measure; without it an embedded Valkey is started")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians of them are shown (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


@contextlib.contextmanager
def server_url(given: str | None) -> Iterator[str]:
    """The URL that was given, or an embedded Valkey's for as long as the block lasts."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="zqueue-bench") as folder, zqueue.EmbeddedServer(folder) as server:
        yield server.url


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> str:
    """Median, least and most, for a table."""
    return f"{statistics.median(values):10,.2f} {min(values):10,.2f} {max(values):10,.2f}"


def progress(what: str, done: int, of: int) -> None:
    """Redraw the bar, on a terminal only."""
    if sys.stderr.isatty():
        width = 30 * done // of
        end = "\n" if done == of else ""
        print(f"\r{what:24} [{'#' * width:30}] {done}/{of}", end=end, file=sys.stderr, flush=True)
