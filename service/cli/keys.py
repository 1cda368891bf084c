"""``keys create|list|revoke``: what can be said of them on the command line."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from service.access.scopes import GRANTED
from service.email import times
from service.settings import Settings

LONGEST_NAME = 100

_SPAN = re.compile(r"([1-9][0-9]{0,4})([dhm])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


def register(commands: Any) -> None:
    """Add the command to *commands*, the subparsers of the program."""
    parser = commands.add_parser("keys", help="API keys: create, list, revoke")
    parser.set_defaults(run=_run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key and show it, once")
    create.add_argument("--name", type=_name, default="", help="what it is for, at most 100 characters")
    create.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in GRANTED],
        help="what it may do; may be given several times (default: send and read; admin may do all)",
    )
    create.add_argument("--expires", type=_expiry, help="when it ends: 90d, 12h, 30m, or 2027-01-31T00:00:00Z")
    list_ = actions.add_parser("list", help="all keys, also those that have ended")
    revoke = actions.add_parser("revoke", help="end a key, at once")
    revoke.add_argument("id", help="as `keys list` shows it")
    for action in (create, list_, revoke):
        action.add_argument("--json", action="store_true", help="print JSON")


def _name(text: str) -> str:
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be at most {LONGEST_NAME} printable characters")
    return text


def _expiry(text: str) -> datetime:
    now = datetime.now(UTC)
    span = _SPAN.fullmatch(text)
    try:
        moment = now + int(span[1]) * _UNITS[span[2]] if span else times.parse(text)
    except times.InvalidTime as error:
        raise argparse.ArgumentTypeError(f"must be a span such as 90d, or a time; as a time it {error}") from error
    if moment <= now:
        raise argparse.ArgumentTypeError("must lie ahead")
    return moment


def _run(settings: Settings, options: argparse.Namespace) -> int:
    from service.cli import key_actions

    return key_actions.run(settings, options)
