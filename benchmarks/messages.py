"""What it costs to build a message from its record, to sign it, and how long a large one holds the event loop.

*build*: ms for one message, in one thread. *held*: the longest that the event loop was kept from its work while the
worker's `Builder` made the message. *signed*: messages a second with one RSA key of 2,048 bits, several at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import progress, spread
from service.email import life
from service.email.record import Attachment, Content, Email
from service.mailer import mime
from service.mailer.builder import Builder
from service.mailer.dkim import Key, Signer

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MEGABYTE = 1024 * 1024
FILES = {f"{size:064}": os.urandom(size * MEGABYTE) for size in (5, 20)}
SIGNED = 200


def an_email(size: int = 0, html: str | None = None, subject: str = "Your order") -> Email:
    """An e-mail, with a file of *size* MB; 0 for none."""
    name = f"{size:064}"
    file = Attachment("file.bin", "application/octet-stream", size * MEGABYTE, name)
    content = Content(
        "Shop <shop@example.com>",
        ("Ann <ann@example.org>",),
        subject,
        "<1@example.com>",
        text="Hello Ann,\nyour order is on its way.\n" * 10,
        html=html,
        attachments=(file,) if size else (),
    )
    return life.accept(
        "em_1", content, addresses=["ann@example.org"], now=NOW, scheduled_at=NOW, max_retries=3, retry_until=NOW
    )


KINDS = {
    "plain text": (an_email(), 2_000),
    "text, HTML, emoji": (an_email(html="<p>Grüße 👋</p>\n" * 50, subject="Grüße 👋"), 1_000),
    "5 MB file": (an_email(5), 5),
    "20 MB file": (an_email(20), 2),
}


def build(email: Email, times: int) -> float:
    """Milliseconds for one."""
    start = time.perf_counter()
    for _ in range(times):
        mime.build(email, NOW, FILES.__getitem__)
    return (time.perf_counter() - start) * 1000 / times


async def held(email: Email) -> float:
    """The longest gap between two turns of the event loop while the message is made, ms."""
    building = asyncio.create_task(Builder(FILES.__getitem__).build(email, NOW))
    longest, last = 0.0, time.perf_counter()
    while not building.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await building
    return longest * 1000


async def signed(signer: Signer) -> float:
    """Messages a second."""
    builder = Builder(FILES.__getitem__, signer)
    start = time.perf_counter()
    await asyncio.gather(*(builder.build(an_email(), NOW) for _ in range(SIGNED)))
    return SIGNED / (time.perf_counter() - start)


def a_signer(folder: Path) -> Signer:
    """One with a new key."""
    path = folder / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], check=True, capture_output=True)
    signer = Signer(("example.com",), (Key("s", path.read_text(), path),))
    signer.start()
    return signer


def measure(rounds: int) -> dict[str, list[float]]:
    """Every figure of every round."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        signer = a_signer(Path(folder))
        for turn in range(rounds):
            for name, (email, times) in KINDS.items():
                found.setdefault(f"build, {name}", []).append(build(email, times))
                if email.content.attachments:
                    found.setdefault(f"held, {name}", []).append(asyncio.run(held(email)))
            found.setdefault("signed a second", []).append(asyncio.run(signed(signer)))
            progress("messages", turn + 1, rounds)
        signer.close()
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians of them are shown (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parsed = parser.parse_args(arguments)
    found = measure(parsed.rounds)
    if parsed.json:
        json.dump(found, sys.stdout, indent=2)
        print()
        return
    print(f"Messages, {parsed.rounds} rounds; times in ms")
    print(f"{'figure':26} {'median':>10} {'least':>10} {'most':>10}")
    for name, values in found.items():
        print(f"{name:26} {spread(values)}")
    plain = statistics.median(found["build, plain text"])
    print(f"a plain message takes {plain:.2f} ms, the target is under 0.22 ms")


if __name__ == "__main__":
    main()
