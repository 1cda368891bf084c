"""``backup DIR``: a copy of the store, taken while everything goes on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from service import exits
from service.cli.progress import Bar
from service.cli.refusing import refuse
from service.settings import PREFIX, Settings


def register(commands: Any) -> None:
    """Add the command to *commands*, the subparsers of the program."""
    parser = commands.add_parser(
        "backup",
        help="copy the store to a folder, while everything goes on",
        description="Copy the store to a folder that is empty or not there yet, while everything goes on. It holds "
        "everything that was answered before the command began. To go on from it, stop the services that use the store "
        f"and start them with {PREFIX}DATA_DIR=DIR: every e-mail that was not sent when the copy was taken is sent "
        "from there, also with an empty Redis.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="where the copy goes")
    parser.set_defaults(run=_run)


def _run(settings: Settings, options: argparse.Namespace) -> int:
    from service.store.backup import BadTarget, backup

    try:
        with Bar() as bar:
            copied = backup(settings.data_dir, options.directory, progress=bar.show)
    except BadTarget as error:
        return refuse(exits.USAGE, str(error))
    print(f"Lines: {copied.lines:,}, up to number {copied.seq:,}; files: {copied.files:,}; bytes: {copied.size:,}")
    return exits.OK
