"""A process that accepts e-mails into a store and prints each id once it is durable.

    python -m tests.integration.store_writer DIRECTORY NAME COUNT [STOP_AT]

The first line that it prints is its `by`; then it waits for a line of input. At its STOP_AT-th fdatasync it stops
itself (SIGSTOP), the lock in its hand.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tests.unit.store_emails import email, opened


def stop_at(count: int) -> None:
    """Have the *count*-th fdatasync stop this process before it starts."""
    real = os.fdatasync
    left = iter(range(count - 1, -1, -1))

    def sync(fd: Any) -> None:
        if next(left, None) == 0:
            # To this very thread: one for the process may stop another first, and this one finish its write meanwhile.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        real(fd)

    os.fdatasync = sync


async def main(directory: Path, name: str, count: int) -> None:
    """Accept *count* e-mails, one after the other."""
    async with opened(directory) as store:
        print(store.by, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for n in range(count):
            await store.accept([email(f"{name}{n}")])
            print(f"em_{name}{n}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 4:
        stop_at(int(sys.argv[4]))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
