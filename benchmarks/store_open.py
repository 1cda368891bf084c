"""How long a store takes to open, how much memory it needs, how fast it is searched: ``-m benchmarks.store_open``.

Each size is written anew, compacted, and opened by a process of its own, whose resident memory is the figure.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.measure import options, progress, spread
from service.email import ids, life
from service.email.record import Content, Email, Recipient, RecipientStatus, Status
from service.store import compaction
from service.store.listing import Filter
from service.store.store import Store

_AT_ONCE = 1000


def _email(n: int, now: datetime) -> Email:
    """One of many that differ, sent already."""
    email_id = ids.new_email_id()
    to = f"user-{n}@example-{n % 997}.com"
    content = Content(
        "Shop <shop@example.com>", (to,), f"Your order {n} is on its way", ids.message_id(email_id, "example.com"),
        text="Hello,\nyour order is on its way.\n", tags=("order",),
    )  # fmt: skip
    email = life.accept(
        email_id, content, addresses=(to,), now=now, scheduled_at=now, max_retries=3,
        retry_until=now + timedelta(days=5),
    )  # fmt: skip
    taken = (Recipient(to, RecipientStatus.ACCEPTED, 250, "2.0.0 OK"),)
    return replace(email, state=replace(email.state, status=Status.COMPLETED, recipients=taken, next_attempt_at=None))


async def _fill(folder: Path, count: int) -> None:
    store = await Store.open(folder, now=lambda: datetime.now(UTC), min_free=0)
    for n in range(0, count, _AT_ONCE):
        now = datetime.now(UTC)
        await store.accept([_email(i, now) for i in range(n, min(n + _AT_ONCE, count))])
        progress("writing e-mails", min(n + _AT_ONCE, count), count)
    await store.close()


async def _look(folder: Path) -> dict[str, float]:
    """In a process of its own: what opening costs, and looking for the one that is furthest away."""
    began = time.perf_counter()
    store = await Store.open(folder, now=lambda: datetime.now(UTC), min_free=0)
    opened = time.perf_counter()
    found = {"open s": opened - began, "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    for name, where in {"q ms": Filter(q="order 7 is"), "to ms": Filter(to="user-7@example-7.com")}.items():
        began = time.perf_counter()
        page = store.page(where, 20)
        found[name] = (time.perf_counter() - began) * 1000
        assert len(page.data) == 1
    began = time.perf_counter()
    store.page(Filter(), 100)
    found["page of 100 ms"] = (time.perf_counter() - began) * 1000
    await store.close()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="100000,1000000", help="e-mails, by commas (default 100000,1000000)")
    parser.add_argument("--look", help="only open the store in this folder")
    parsed = parser.parse_args(arguments)
    if parsed.look:
        print(json.dumps(asyncio.run(_look(Path(parsed.look)))))
        return
    results = {}
    for size in map(int, parsed.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="zqueue-bench") as folder:
            asyncio.run(_fill(Path(folder), size))
            compaction.compact(Path(folder), now=lambda: datetime.now(UTC), progress=progress)
            command = [sys.executable, "-m", "benchmarks.store_open", "--look", folder]
            rounds = [
                json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                for _ in range(parsed.rounds)
            ]
        results[size] = {name: [one[name] for one in rounds] for name in rounds[0]}
    if parsed.json:
        print(json.dumps(results))
        return
    print(f"{'e-mails':>10} {'':16} {'median':>10} {'least':>10} {'most':>10}")
    for size, found in results.items():
        for name, values in found.items():
            print(f"{size:10,} {name:16} {spread(values)}")


if __name__ == "__main__":
    main()
