"""``zqueue worker``: run the tasks of a program."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import click

from zqueue.cli import processes
from zqueue.cli.failures import refuse
from zqueue.cli.loading import load
from zqueue.cli.messages import tell
from zqueue.cli.reading import read_length
from zqueue.errors import ZQueueError
from zqueue.worker import Worker, run


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:ATTRIBUTE...")
@click.option(
    "--url",
    metavar="URL",
    envvar="ZQUEUE_URL",
    show_envvar=True,
    help="For queues that do not say where their server is.",
)
@click.option(
    "--processes",
    "count",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Workers side by side.",
)
@click.option(
    "--concurrency", metavar="N", type=click.IntRange(1), help="Jobs at the same time, in each process.  [default: 100]"
)
@click.option(
    "--lease", type=read_length, metavar="DURATION", help="How long a dead worker's jobs wait.  [default: 10s]"
)
@click.option("--drain", type=read_length, metavar="DURATION", help="How long a stop lets jobs run on.  [default: 30s]")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", help="What is logged."
)
@click.option("--parent", type=int, hidden=True)
def worker(
    targets: tuple[str, ...],
    url: str | None,
    count: int,
    concurrency: int | None,
    lease: timedelta | None,
    drain: timedelta | None,
    log_level: str,
    parent: int | None,
) -> None:
    """Run the tasks of a queue until SIGTERM or Ctrl-C; a second one ends it at once.

    ATTRIBUTE is a Queue with tasks, a Worker, or a function that makes either.
    """
    if url:
        os.environ["ZQUEUE_URL"] = url  # for the children too
    options: dict[str, Any] = {"concurrency": concurrency, "lease": lease, "drain": drain}
    given = {name: value for name, value in options.items() if value is not None}
    if count > 1 and parent is None:
        command = _child_command(targets, given, log_level)
        raise SystemExit(asyncio.run(processes.keep_running(command, count)))
    workers = [load(target, given) for target in targets]
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if parent is not None:
        processes.stand_by_parent(parent)
    for each in workers:
        tell(f"worker {os.getpid()}: {_described(each)}")
    try:
        run(*workers)
    except* ZQueueError as group:
        refuse(next(error for error in group.exceptions if isinstance(error, ZQueueError)))


def _child_command(targets: Sequence[str], options: Mapping[str, Any], log_level: str) -> list[str]:
    """What runs one of several processes."""
    command = [sys.executable, "-m", "zqueue", "worker", *targets, "--log-level", log_level]
    for name, value in options.items():
        command += [f"--{name}", f"{value.total_seconds():f}" if isinstance(value, timedelta) else str(value)]
    return command


def _described(worker: Worker) -> str:
    queue = worker.queue
    tasks = f", tasks {', '.join(sorted(queue.tasks))}" if queue.tasks else ""
    return f"queue {queue.name!r} on {queue.address.shown}{tasks}"
