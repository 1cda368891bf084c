"""``check``: can the service work with these settings, and is everything in the store that was written to it?"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service import exits
from service.cli.progress import Bar
from service.settings import Settings, SettingsError
from service.store.errors import StoreDamaged
from zqueue import ZQueueError

if TYPE_CHECKING:
    from service.mailer.target import Target


def register(commands: Any) -> None:
    """Add the command to *commands*, the subparsers of the program."""
    parser = commands.add_parser(
        "check",
        help="look at settings, store, Redis and relays",
        description="Look at the settings, read all of the store, ask Redis whether it is there and drops nothing when "
        "its memory is full, and greet every relay as if to send (connect, encrypt, log in), without sending. Nothing "
        "is changed. A line for each; the status is 3 if the store is damaged, and 4 if anything else is not in order.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(settings: Settings, options: argparse.Namespace) -> int:
    report = _Report(quiet=options.json)
    report.add("settings", "in order")
    _store(settings, report)
    asyncio.run(_servers(settings, report))
    if options.json:
        print(json.dumps({"ok": report.status == exits.OK, "checks": report.checks}, indent=2))
    return report.status


class _Report:
    """What was found, told as it is found.

    Attributes:
        status: The exit status so far.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.checks: list[dict[str, Any]] = []
        self.status: int = exits.OK
        self._quiet = quiet

    def add(self, name: str, text: str, *, bad: int = exits.OK) -> None:
        """Something is in order, or is not, for which the exit status would be *bad*."""
        self.status = self.status or bad
        self.checks.append({"name": name, "ok": not bad, "detail": text})
        if not self._quiet:
            print(f"{'FAIL' if bad else 'ok  '} {name}: {text}", flush=True)


def _store(settings: Settings, report: _Report) -> None:
    from service.store.verify import verify

    try:
        with Bar() as bar:
            found = verify(settings.data_dir, now=lambda: datetime.now(UTC), progress=bar.show)
    except StoreDamaged as error:
        report.add("store", str(error), bad=exits.DAMAGED)
        return
    except OSError as error:
        report.add("store", f"{error.filename}: {error.strerror}", bad=exits.UNAVAILABLE)
        return
    if found is None:
        report.add("store", f"there is none yet in {settings.data_dir}")
        return
    for wrong in found.wrong:
        report.add("store", wrong, bad=exits.DAMAGED)
    if not found.wrong:
        text = f"{found.emails:,} e-mails, {found.documents:,} documents, {found.files:,} files: all readable"
        if found.torn:
            text += f"; the next start cuts {found.torn:,} bytes of a write that was not finished"
        report.add("store", text)


async def _servers(settings: Settings, report: _Report) -> None:
    await _ask("redis", _redis(settings), report)
    if settings.smtp_url is None:
        report.add("relay", "none is set: e-mails go to the inbox of this machine")
        return
    from service.mailer.target import Target

    try:
        targets = Target.all_of(settings)
    except SettingsError as error:
        report.add("relay", str(error), bad=exits.UNAVAILABLE)
        return
    for target in targets:
        await _ask(f"relay {target}", _relay(settings, target), report)


async def _redis(settings: Settings) -> str:
    from service.outbox import mail_queue

    if settings.redis_url is None and not (settings.data_dir / "valkey").exists():
        return "none is set: the service starts one in its data directory"
    async with mail_queue(settings) as queue:
        stats = await queue.stats()
    return f"reachable, and drops nothing; {stats.scheduled:,} jobs wait, {stats.dead:,} are dead"


async def _relay(settings: Settings, target: Target) -> str:
    from service.mailer.smtp.connection import Connection

    connection = await Connection.open(target, ehlo=settings.ehlo_hostname)
    await connection.close()
    how = {"none": "in clear", "starttls": "encrypted by STARTTLS", "implicit": "encrypted by TLS"}[target.tls]
    return f"greeted {how}, {'logged in' if target.username else 'without a login'}: takes e-mails"


async def _ask(name: str, answer: Awaitable[str], report: _Report) -> None:
    from service.mailer.smtp.trouble import RelayTrouble

    try:
        report.add(name, await answer)
    except (ZQueueError, RelayTrouble, OSError) as error:
        report.add(name, str(error), bad=exits.UNAVAILABLE)
