"""``compact``: the store's files written anew, a line for each record."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from typing import Any

from service import exits
from service.cli.progress import Bar
from service.settings import PREFIX, Settings

_NICE = 10


def register(commands: Any) -> None:
    """Add the command to *commands*, the subparsers of the program."""
    parser = commands.add_parser(
        "compact",
        help="write the store's files anew, a line for each record",
        description="Write the store's files anew, a line for each record, while everything goes on. The worker does "
        f"so by itself when there is reason to. E-mails that have been over for {PREFIX}RETENTION go to "
        "archive-YYYY-MM.jsonl; files that were replaced go an hour later, with the next compaction.",
    )
    parser.add_argument("--background", action="store_true", help="stand back for every other process")
    parser.set_defaults(run=_run)


def _run(settings: Settings, options: argparse.Namespace) -> int:
    from service.store import compaction

    if options.background:
        os.nice(_NICE)
    with Bar() as bar:
        done = compaction.compact(
            settings.data_dir, now=lambda: datetime.now(UTC), retention=settings.retention, progress=bar.show
        )
    if done is None:
        print("Another process is compacting this store.")
        return exits.OK
    print(f"Lines before: {done.lines_before:,}, now: {done.lines:,}")
    if done.archived:
        print(f"E-mails that went to the archive: {done.archived:,}")
    if done.files:
        print(f"Files that nothing names any more, removed: {done.files:,}")
    return exits.OK
