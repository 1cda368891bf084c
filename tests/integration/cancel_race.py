"""Cancel against the due instant. ``python -m tests.integration.cancel_race --times 1000``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from service.email.record import Email, Status
from service.email.steps import WrongState
from tests.conftest import wait_until
from tests.integration.test_dispatch_worker import Bench, a_bench, a_worker
from tests.smtpd import SmtpServer

OFFSETS_MS = (-5, -2, -1, 0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 40, 100)
"""When the cancels come, from the due instant on."""

_AT_ONCE = 20
_FINAL = (Status.COMPLETED, Status.CANCELLED)


@dataclass
class Outcome:
    """What came of the races.

    Attributes:
        cancelled: How many cancels won.
        sent: How many came too late.
        wrong: The ids of those for which answer, record and wire do not agree.
    """

    cancelled: int = 0
    sent: int = 0
    wrong: list[str] = field(default_factory=list)


async def race(bench: Bench, server: SmtpServer, times: int) -> Outcome:
    """Accept *times* e-mails, a few at a time, each to be cancelled at the moment it is due."""
    raced: list[tuple[Email, bool]] = []
    for first in range(0, times, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, times))
        raced += await asyncio.gather(*(_one(bench, n) for n in numbers))
    await wait_until(lambda: all(bench.status(email) in _FINAL for email, _ in raced), timeout=30)
    on_wire = Counter(message.message_id for message in server.received)
    outcome = Outcome()
    for email, cancelled in raced:
        seen = (cancelled, bench.status(email), on_wire[email.content.message_id])
        if seen == (True, Status.CANCELLED, 0):
            outcome.cancelled += 1
        elif seen == (False, Status.COMPLETED, 1):
            outcome.sent += 1
        else:
            outcome.wrong.append(f"{email.id}: {seen}")
    begun = sum(command.upper().startswith("MAIL ") for command in server.commands)
    if begun != outcome.sent:
        outcome.wrong.append(f"{begun} transactions for {outcome.sent} e-mails")
    return outcome


async def _one(bench: Bench, number: int) -> tuple[Email, bool]:
    """One race; whether the cancel won."""
    email = await bench.accept(0.1 + number % _AT_ONCE * 0.005)
    await _until(bench, email.state.scheduled_at, OFFSETS_MS[number % len(OFFSETS_MS)] / 1000)
    try:
        await bench.outbox.cancel(email.id)
    except WrongState:
        return email, False
    return email, True


async def _until(bench: Bench, moment: datetime, offset: float) -> None:
    """Sleep until *offset* seconds after *moment*."""
    await asyncio.sleep(max(0.0, (moment - bench.outbox.now()).total_seconds() + offset))


async def _main(times: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="zq") as folder:
        async with SmtpServer() as server, a_bench(Path(folder), server) as bench, a_worker(bench.settings):
            return await race(bench, server, times)


def main() -> None:
    """Print what happened; the exit code is 1 unless answer, record and wire agreed every time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=1000)
    logging.disable(logging.WARNING)  # jobs that are cancelled while they run
    outcome = asyncio.run(_main(parser.parse_args().times))
    print(f"{outcome.cancelled} cancelled and never on the wire, {outcome.sent} sent and completed")
    for line in outcome.wrong:
        print(f"wrong: {line}")
    raise SystemExit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
