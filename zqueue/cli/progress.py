"""Progress of long work: a bar on stderr once it has taken a second, if a person is there to see it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

_PATIENCE_S: Final = 1.0


@contextlib.contextmanager
def progress(doing: str, total: int | None, *, visible: bool = True) -> Iterator[Callable[[int], None]]:
    """Gives the function that is told of each step how much of *total* it did; None is an unknown total."""
    if not visible or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # What is printed meanwhile stays where it belongs: stdout may be a file.
    bar = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    task = bar.add_task(doing, total=total)
    began = time.monotonic()

    def advance(count: int) -> None:
        if not bar.live.is_started and time.monotonic() - began > _PATIENCE_S:
            bar.start()
        bar.advance(task, count)

    try:
        yield advance
    finally:
        bar.stop()
