"""E-mails to many domains, one of which defers everything and one of which is slow: do the others notice?

``python -m benchmarks.domains`` sends them twice through a worker of the service with its usual settings: once with all
domains well, once with those two. It shows how long the other domains took, and how the retries of the deferring domain
kept to their schedule. Exits with 1 when the others took more than half as long again, or a retry came early.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import zqueue
from benchmarks.measure import percentile, progress
from benchmarks.sink import Habit, Sink
from service import worker
from service.email import ids, jobs, life
from service.email.record import Content, Email, Status
from service.email.times import from_z
from service.outbox import mail_queue
from service.settings import Settings
from service.store.store import Store

DEFERS, SLOW = "defers.example", "slow.example"
RETRIES = (1.0, 2.0, 4.0)
"""Seconds between the attempts, before jitter."""

_TOGETHER = 500
_HEAD_START = 0.3


@dataclass(frozen=True)
class Figures:
    """What came of it.

    Attributes:
        others: E-mails to the other domains.
        seconds: From their due time until all of those were taken.
        slow_taken: Of the slow domain, by then.
        slow_most: Most that the slow domain was asked for at one time.
        attempts: How many attempts each e-mail to the deferring domain had, least and most.
        late_ms: How late its retries were, by the schedule that their records had: least, median, 99 %.
    """

    others: int
    seconds: float
    slow_taken: int
    slow_most: int
    attempts: tuple[int, int]
    late_ms: tuple[float, float, float]


async def measure(
    emails: int,
    domains: int,
    *,
    trouble: bool,
    delay: float = 2.0,
    retries: Sequence[float] = RETRIES,
    patience: float = 120,
) -> Figures:
    """Send *emails* to *domains*, spread evenly.

    Args:
        emails: How many.
        domains: To how many; at least 3.
        trouble: Whether one of them defers, and one is slow; else all are well.
        delay: Seconds the slow one takes for each e-mail.
        retries: Seconds between the attempts, before jitter.
        patience: Seconds after which this gives up.
    """
    names = [DEFERS, SLOW, *(f"d{n}.example" for n in range(domains - 2))]
    habits = {DEFERS: Habit(code=451), SLOW: Habit(delay=delay)} if trouble else {}
    with tempfile.TemporaryDirectory(prefix="zqueue-bench") as folder, Sink(habits) as sink:
        settings = Settings(
            _env_file=None,
            data_dir=Path(folder),
            smtp_url=sink.url,
            ehlo_hostname="bench",
            min_free=0,
            retry_delays=",".join(map(str, retries)),
            max_retries=len(retries),
        )
        with zqueue.EmbeddedServer(Path(folder) / "valkey"):
            async with mail_queue(settings) as queue:
                store = await Store.open(settings.data_dir, now=queue.now, min_free=0)
                try:
                    return await _send(
                        settings, store, queue, sink, [names[n % domains] for n in range(emails)], patience
                    )
                finally:
                    await store.close()


async def _send(
    settings: Settings, store: Store, queue: zqueue.Queue, sink: Sink, addressed: list[str], patience: float
) -> Figures:
    await queue.stats()  # from here on it knows the server's clock
    emails: list[Email] = []
    for n in range(0, len(addressed), _TOGETHER):
        emails += await _accept(settings, store, queue, addressed[n : n + _TOGETHER])
    due = max(email.state.scheduled_at for email in emails)
    deferred = [email.id for email, domain in zip(emails, addressed, strict=True) if domain == DEFERS]
    others = [domain for domain in addressed if domain not in (DEFERS, SLOW)]
    stop = asyncio.Event()
    async with asyncio.timeout(patience):
        running = asyncio.create_task(worker.run(settings, stop, drain=timedelta(seconds=5)))
        began = time.monotonic() + (due - queue.now()).total_seconds()
        while True:
            seen = sink.seen()
            taken = sum(seen.taken.get(domain, 0) for domain in set(others))
            progress("e-mails to others", taken, len(others))
            if taken >= len(others) or running.done():
                break
            await asyncio.sleep(0.1)
        while not running.done() and not _over(store, deferred):  # noqa: ASYNC110 - a store tells nobody
            await asyncio.sleep(0.1)
        stop.set()
        await running
    attempts = [_record(store, email_id).state.attempts for email_id in deferred]
    late = [ms for email_id in deferred for ms in _lateness(store, email_id)] or [0.0]
    return Figures(
        others=len(others),
        seconds=max(seen.last[domain] for domain in set(others)) - began,
        slow_taken=seen.taken.get(SLOW, 0),
        slow_most=seen.most.get(SLOW, 0),
        attempts=(min(attempts), max(attempts)),
        late_ms=(min(late), percentile(late, 0.5), percentile(late, 0.99)),
    )


async def _accept(settings: Settings, store: Store, queue: zqueue.Queue, addressed: Sequence[str]) -> list[Email]:
    """New e-mails that are due soon, one to each of these domains, in the store and in the queue."""
    now = queue.now()
    emails = await store.accept([_email(now, domain, settings.max_retries) for domain in addressed])
    await queue.enqueue_many(
        [
            zqueue.NewJob(
                jobs.payload(store.id), id=email.job_id, at=email.state.scheduled_at, group=jobs.group_of(email)
            )
            for email in emails
        ]
    )
    return emails


def _email(now: datetime, domain: str, max_retries: int) -> Email:
    email_id = ids.new_email_id()
    at = now + timedelta(seconds=_HEAD_START)
    content = Content(
        sender="Shop <shop@example.com>",
        to=(f"ann@{domain}",),
        subject="Your order",
        message_id=f"<{email_id}@example.com>",
        text="It is on its way.\n",
    )
    return life.accept(
        email_id,
        content,
        addresses=[f"ann@{domain}"],
        now=now,
        scheduled_at=at,
        max_retries=max_retries,
        retry_until=at + timedelta(days=1),
    )


def _record(store: Store, email_id: str) -> Email:
    found = store.get(email_id)
    assert found is not None
    return found


def _over(store: Store, email_ids: Sequence[str]) -> bool:
    return all(_record(store, email_id).state.status in (Status.FAILED, Status.COMPLETED) for email_id in email_ids)


def _lateness(store: Store, email_id: str) -> list[float]:
    """How late each retry of an e-mail began, in ms; less than 0 would be early."""
    late, due = [], None
    for event in store.events(email_id):
        if event.type == "email.sending" and due is not None:
            late.append((event.at - due) / timedelta(milliseconds=1))
        due = from_z(event.data["next_attempt_at"]) if event.type == "email.retrying" else None
    return late


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emails", type=int, default=10_000)
    parser.add_argument("--domains", type=int, default=50)
    parser.add_argument("--delay", type=float, default=2.0, help="seconds that the slow domain takes (default 2)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of words")
    options = parser.parse_args(arguments)
    well = asyncio.run(measure(options.emails, options.domains, trouble=False))
    ill = asyncio.run(measure(options.emails, options.domains, trouble=True, delay=options.delay))
    if options.json:
        print(json.dumps({"well": asdict(well), "ill": asdict(ill)}))
    else:
        print(f"all domains well:      {well.others} e-mails to {options.domains - 2} domains in {well.seconds:.2f} s")
        print(f"one defers, one slow:  {ill.others} in {ill.seconds:.2f} s, {ill.slow_taken} of the slow one by then")
        print(f"the slow one was asked for {ill.slow_most} at a time at most")
        print(f"the deferring one: {ill.attempts[0]} to {ill.attempts[1]} attempts an e-mail; retries late by ", end="")
        print("{:.1f} ms at least, {:.1f} in the middle, {:.1f} for 99 %".format(*ill.late_ms))
    return int(ill.seconds > 1.5 * well.seconds or ill.late_ms[0] < 0)


if __name__ == "__main__":
    sys.exit(main())
