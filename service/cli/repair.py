"""``repair``: a damaged store made readable again."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service import exits
from service.cli.progress import Bar
from service.settings import Settings

if TYPE_CHECKING:
    from service.store.repair import Repaired


def register(commands: Any) -> None:
    """Add the command to *commands*, the subparsers of the program."""
    parser = commands.add_parser(
        "repair",
        help="make a damaged store readable again, keeping all that is left",
        description="Make a store readable again that is damaged: a damaged file is copied to the folder corrupt of "
        "the data directory, and written anew with every line that is whole. Everything that was cut is named. E-mails "
        "of which a lost line may have said that they were sent are held, and not sent again unless you say so. "
        "Nothing may have the store open: stop the service first.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(settings: Settings, options: argparse.Namespace) -> int:
    from service.store.repair import repair

    with Bar() as bar:
        done = repair(settings.data_dir, now=lambda: datetime.now(UTC), progress=bar.show)
    if options.json:
        print(json.dumps(_shown(done), indent=2))
    else:
        _tell(settings, done)
    return exits.OK


def _tell(settings: Settings, done: Repaired) -> None:
    if done.is_nothing:
        print(f"Nothing is wrong: {done.lines:,} lines.")
        return
    if done.manifest is not None:
        print(f"The manifest was {done.manifest}.")
    for flaw in done.flaws:
        about = ", ".join(f"{head.id or head.type} revision {head.rev}" for head in flaw.heads)
        print(f"{settings.data_dir / flaw.where}: {flaw.what}" + (f" ({about})" if about else ""))
    for copy in done.copies:
        print(f"As it was: {copy}")
    print(f"Lines that are left: {done.lines:,}")
    for email_id in done.held:
        print(f"Held, since it may have been sent: {email_id}")
    if done.changed:
        print(f"E-mails that were waiting, which a lost line may have cancelled or changed: {done.changed:,}")


def _shown(done: Repaired) -> dict[str, Any]:
    return {
        "manifest": done.manifest,
        "cut": [
            {
                "file": flaw.file,
                "line": flaw.line,
                "last_line": max(flaw.line, flaw.last_line),
                "what": flaw.what,
                "lines": [head._asdict() for head in flaw.heads],
            }
            for flaw in done.flaws
        ],
        "copies": [str(copy) for copy in done.copies],
        "lines": done.lines,
        "held": done.held,
        "perhaps_changed": done.changed,
    }
