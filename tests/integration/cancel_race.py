"""Cancel, or reschedule, against the due instant.

``python -m tests.integration.cancel_race --times 1000 [--reschedule]``
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from service.email.record import Email, Status
from service.email.steps import WrongState
from service.email.terms import Terms
from service.email.times import to_z
from service.mailer import headers
from service.outbox import mail_queue
from tests.conftest import wait_until
from tests.integration.test_dispatch_worker import Bench, a_bench, a_worker
from tests.smtpd import SmtpServer

OFFSETS_MS = (-5, -2, -1, 0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 40, 100)
"""When the cancels come, from the due instant on."""

_AT_ONCE = 20
_FAR = datetime(2099, 1, 1, tzinfo=UTC)


@dataclass
class Outcome:
    """What came of the races.

    Attributes:
        stopped: How often the one who wanted to stop the e-mail won.
        sent: How often that came too late.
        wrong: The ids of those for which answer, record and wire do not agree.
    """

    stopped: int = 0
    sent: int = 0
    wrong: list[str] = field(default_factory=list)


async def race(bench: Bench, server: SmtpServer, times: int, *, reschedule: bool = False) -> Outcome:
    """Accept *times* e-mails, a few at a time, each to be stopped at the moment it is due."""
    step = _reschedule if reschedule else _cancel
    waiting = Status.SCHEDULED if reschedule else Status.CANCELLED
    raced: list[tuple[Email, bool]] = []
    for first in range(0, times, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, times))
        raced += await asyncio.gather(*(_one(bench, n, step) for n in numbers))
    late = [email for email, stopped in raced if not stopped]
    await wait_until(lambda: all(bench.status(email) is Status.COMPLETED for email in late), timeout=30)
    on_wire = Counter(message.message_id for message in server.received)
    outcome = Outcome()
    for email, stopped in raced:
        seen = (stopped, bench.status(email), on_wire[email.content.message_id])
        if seen == (True, waiting, 0):
            outcome.stopped += 1
        elif seen == (False, Status.COMPLETED, 1):
            outcome.sent += 1
        else:
            outcome.wrong.append(f"{email.id}: {seen}")
    begun = sum(command.upper().startswith("MAIL ") for command in server.commands)
    if begun != outcome.sent:
        outcome.wrong.append(f"{begun} transactions for {outcome.sent} e-mails")
    if reschedule:
        outcome.wrong += await _without_job(bench, [email for email, stopped in raced if stopped])
    return outcome


async def _one(bench: Bench, number: int, step: Callable[[Bench, Email], Awaitable[object]]) -> tuple[Email, bool]:
    """One race; whether the e-mail was stopped."""
    email = await bench.accept(0.1 + number % _AT_ONCE * 0.005)
    await _until(bench, email.state.scheduled_at, OFFSETS_MS[number % len(OFFSETS_MS)] / 1000)
    try:
        await step(bench, email)
    except WrongState:
        return email, False
    return email, True


async def _cancel(bench: Bench, email: Email) -> None:
    await bench.outbox.cancel(email.id)


async def _reschedule(bench: Bench, email: Email) -> None:
    await bench.outbox.edit(email.id, {"scheduled_at": to_z(_FAR)}, Terms(bench.outbox.now(), headers.custom))


async def _without_job(bench: Bench, emails: list[Email]) -> list[str]:
    """The rescheduled e-mails that have no job, or not at their new time."""
    wrong = []
    async with mail_queue(bench.settings) as queue:
        for email in emails:
            job = await queue.get(f"{email.id}.2")
            if job is None or job.due_at != _FAR:
                wrong.append(f"{email.id}: its job is {job}")
    return wrong


async def _until(bench: Bench, moment: datetime, offset: float) -> None:
    """Sleep until *offset* seconds after *moment*."""
    await asyncio.sleep(max(0.0, (moment - bench.outbox.now()).total_seconds() + offset))


async def _main(times: int, reschedule: bool) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="zq") as folder:
        async with SmtpServer() as server, a_bench(Path(folder), server) as bench, a_worker(bench.settings):
            return await race(bench, server, times, reschedule=reschedule)


def main() -> None:
    """Print what happened; the exit code is 1 unless answer, record and wire agreed every time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--reschedule", action="store_true")
    logging.disable(logging.WARNING)  # jobs that are cancelled while they run
    options = parser.parse_args()
    outcome = asyncio.run(_main(options.times, options.reschedule))
    print(f"{outcome.stopped} stopped and never on the wire, {outcome.sent} sent and completed")
    for line in outcome.wrong:
        print(f"wrong: {line}")
    raise SystemExit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
