"""A worker as a program of its own, for tests that kill, freeze or signal it: ``python -m tests.worker_program``.

It prints a line of JSON for all that happens to a job, at once: what it printed before it died is true.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from datetime import timedelta
from typing import Any

import orjson

import zqueue


def say(what: str, **fields: Any) -> None:
    """One event, in one write."""
    os.write(sys.stdout.fileno(), orjson.dumps({"what": what, **fields}) + b"\n")


async def handler(job: zqueue.Job) -> None:
    """Do what the payload says: ``hang`` (``at first``: on delivery 1), ``block`` the loop, ``die``, nothing."""
    say("start", id=job.id, deliveries=job.deliveries, attempt=job.attempt)
    do = job.payload["do"]
    try:
        if do == "die":
            await asyncio.sleep(job.payload.get("seconds", 0))
            os.kill(os.getpid(), signal.SIGKILL)
        elif do == "hang" or (do == "hang at first" and job.deliveries == 1):
            await asyncio.sleep(job.payload.get("seconds", 3600))
        elif do == "block":
            time.sleep(job.payload["seconds"])  # noqa: ASYNC251 - what it is for
    except asyncio.CancelledError:
        say("cancelled", id=job.id)
        raise
    say("end", id=job.id)


class Events(logging.Handler):
    """Warnings of the library, as events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        say("log", message=record.getMessage())


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("queue")
    parser.add_argument("--lease", type=float, default=1.0)
    parser.add_argument("--drain", type=float, default=30.0)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--max-deliveries", type=int, default=5)
    options = parser.parse_args()
    logging.getLogger("zqueue").addHandler(Events(logging.WARNING))
    queue = zqueue.Queue(options.queue, options.url)
    worker = zqueue.Worker(
        queue,
        handler,
        concurrency=options.concurrency,
        lease=timedelta(seconds=options.lease),
        drain=timedelta(seconds=options.drain),
        max_deliveries=options.max_deliveries,
    )
    say("up")
    zqueue.run(worker)
    say("down")


if __name__ == "__main__":
    main()
