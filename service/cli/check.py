"""``check``: can the service work with these settings, and is everything in the store that was written to it?"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any

from service import exits
from service.cli.progress import Bar
from service.settings import Settings
from service.store.errors import StoreDamaged, StoreError
from zqueue import ZQueueError


def register(commands: Any) -> None:
    """Add the command to *commands*, the subparsers of the program."""
    parser = commands.add_parser(
        "check",
        help="look at settings, store, Redis and relays",
        description="Look at the settings, read all of the store, ask Redis, and greet every relay as if to send "
        "(connect, encrypt, log in), without sending. Nothing is changed. A line for each; the status is 3 if the "
        "store is damaged, and 4 if anything else is not in order.",
    )
    parser.set_defaults(run=_run)


def _run(settings: Settings, options: argparse.Namespace) -> int:
    _say("settings", "in order")
    return asyncio.run(_all(settings))


async def _all(settings: Settings) -> int:
    status = _store(settings)
    checks: list[tuple[str, Callable[[], Coroutine[Any, Any, str]]]] = [("redis", partial(_redis, settings))]
    checks += _relays(settings)
    for name, check in checks:
        good, text = await _outcome(check)
        _say(name, text, good=good)
        status = status if good or status != exits.OK else exits.UNAVAILABLE
    return status


def _store(settings: Settings) -> int:
    from service.store.verify import verify

    try:
        with Bar() as bar:
            found = verify(settings.data_dir, now=lambda: datetime.now(UTC), progress=bar.show)
    except StoreDamaged as error:
        _say("store", f"damaged: {error}", good=False)
        return exits.DAMAGED
    except StoreError as error:
        _say("store", str(error), good=False)
        return exits.UNAVAILABLE
    if found is None:
        _say("store", f"there is none yet in {settings.data_dir}")
    else:
        _say("store", f"{found.emails:,} e-mails, {found.documents:,} documents, {found.files:,} files: all readable")
    return exits.OK


async def _redis(settings: Settings) -> str:
    from service.outbox import mail_queue

    async with mail_queue(settings) as queue:
        stats = await queue.stats()
    return f"reachable; {stats.scheduled:,} jobs wait, {stats.dead:,} are dead"


def _relays(settings: Settings) -> list[tuple[str, Callable[[], Coroutine[Any, Any, str]]]]:
    from service.mailer.smtp.connection import Connection
    from service.mailer.target import Target

    async def greet(target: Target) -> str:
        connection = await Connection.open(target, ehlo=settings.ehlo_hostname)
        await connection.close()
        return "takes e-mails"

    if settings.smtp_url is None:
        _say("relay", "none is set: e-mails go to the inbox of this machine")
        return []
    return [(f"relay {target}", partial(greet, target)) for target in Target.all_of(settings)]


async def _outcome(check: Callable[[], Coroutine[Any, Any, str]]) -> tuple[bool, str]:
    from service.mailer.smtp.trouble import RelayTrouble

    try:
        return True, await check()
    except (ZQueueError, RelayTrouble, OSError) as error:
        return False, str(error)


def _say(name: str, text: str, *, good: bool = True) -> None:
    print(f"{'ok  ' if good else 'FAIL'} {name}: {text}")
