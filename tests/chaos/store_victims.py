"""Processes that write into one store and are killed at a seeded point of a seeded write.

    python -m tests.chaos.store_victims DIRECTORY ROUNDS SEED

Each round forks two of them at once; each prints ``ID REV`` for every write it got an answer for, until SIGKILL takes
it: before a write, in the middle of it, after it, or after it was made durable.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from service.email.record import Change, Email
from service.store import lines
from service.store.store import Store
from tests.unit.store_emails import email, opened


def arm(rng: random.Random) -> None:
    """Choose where this process dies, and have the system calls there see to it."""
    real_write, real_sync = os.write, os.fdatasync
    point = rng.choice(["before", "torn", "torn", "written", "synced"])
    left = rng.randint(1, 12)

    def write(fd: int, content: Any) -> int:
        nonlocal left
        if not content.startswith(lines.START):
            return real_write(fd, content)
        left -= 1
        if left == 0 and point != "synced":
            part = {"before": 0, "written": len(content)}.get(point, rng.randrange(1, len(content)))
            real_write(fd, content[:part])
            os.kill(os.getpid(), signal.SIGKILL)
        return real_write(fd, content)

    def sync(fd: Any) -> None:
        real_sync(fd)
        if left == 0 and point == "synced":
            os.kill(os.getpid(), signal.SIGKILL)

    os.write, os.fdatasync = write, sync


def note(current: Email) -> Change:
    """A change that leaves its mark."""
    return Change("email.updated", replace(current.state, attempts=current.state.attempts + 1))


def tell(answered: Email) -> None:
    """Print what was answered, in one piece: two processes share the output."""
    sys.stdout.write(f"{answered.id} {answered.rev}\n")
    sys.stdout.flush()


async def write_on(store: Store, name: str, rng: random.Random) -> None:
    """Accept and change e-mails for ever, saying so after each answer."""
    for n in range(sys.maxsize):
        batch = [email(f"{name}-{n}-{k}", text="x" * rng.randrange(20_000)) for k in range(rng.randint(1, 3))]
        for accepted in await store.accept(batch):
            tell(accepted)
        changed = await store.change(batch[0].id, note)
        tell(changed)


async def live(directory: Path, name: str, rng: random.Random) -> None:
    """Write from three tasks at once, so that writes hold several requests."""
    async with opened(directory) as store:
        arm(rng)
        await asyncio.gather(*(write_on(store, f"{name}-{task}", rng) for task in range(3)))


def main(directory: Path, rounds: int, seed: int) -> None:
    """Fork two victims a round and wait for their deaths."""
    for turn in range(rounds):
        victims = []
        for one in range(2):
            pid = os.fork()
            if pid == 0:
                asyncio.run(live(directory, f"{turn}-{one}", random.Random(f"{seed} {turn} {one}")))
            victims.append(pid)
        for pid in victims:
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
