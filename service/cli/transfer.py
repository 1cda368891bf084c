"""``export`` and ``import``: the store as JSON lines, and back."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from service import exits
from service.cli.progress import Bar
from service.cli.refusing import refuse
from service.settings import Settings

_STANDARD = Path("-")


def register(commands: Any) -> None:
    """Add the commands to *commands*, the subparsers of the program."""
    export = commands.add_parser(
        "export",
        help="write the store as JSON lines",
        description="Write everything that the store knows as JSON lines, while everything goes on: e-mails with their "
        "events, templates and all other documents, and the files of attachments. Secrets are among it, such as those "
        "that webhooks are signed with (of API keys only the hashes), so the file is its owner's alone: keep it so. "
        "It is a copy: of two services that run on the two of them, each sends what is not sent.",
    )
    export.add_argument("file", type=Path, nargs="?", default=_STANDARD, help="where to (default: standard output)")
    export.set_defaults(run=_export)
    import_ = commands.add_parser(
        "import",
        help="take the lines of an export into the store",
        description="Take the lines of an export into the store, which is made if there is none. What is there already "
        "and is the same is passed over; what is there and differs ends the import with the number of the line.",
    )
    import_.add_argument("file", type=Path, nargs="?", default=_STANDARD, help="where from (default: standard input)")
    import_.set_defaults(run=_import)


def _export(settings: Settings, options: argparse.Namespace) -> int:
    from service.store.exporting import export

    count = 0
    try:
        with Bar() as bar, contextlib.ExitStack() as stack:
            out = sys.stdout.buffer if options.file == _STANDARD else stack.enter_context(_new(options.file))
            for line in export(settings.data_dir, now=_now, progress=bar.show):
                out.write(line)
                count += 1
            out.flush()
            if options.file != _STANDARD:
                os.fsync(out.fileno())
    except OSError as error:
        return refuse(exits.FAILED, f"{options.file}: {error.strerror}")
    print(f"Lines: {count:,}", file=sys.stderr)
    return exits.OK


def _new(path: Path) -> BinaryIO:
    """A file that only its owner reads: it holds what the e-mails say, and secrets."""
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _import(settings: Settings, options: argparse.Namespace) -> int:
    from service.store.importing import ImportRefused, import_lines

    try:
        with Bar() as bar, contextlib.ExitStack() as stack:
            source = sys.stdin.buffer if options.file == _STANDARD else stack.enter_context(options.file.open("rb"))
            done = import_lines(settings.data_dir, source, now=_now, min_free=settings.min_free, progress=bar.show)
    except ImportRefused as error:
        return refuse(exits.USAGE, str(error))
    except OSError as error:
        return refuse(exits.FAILED, f"{options.file}: {error.strerror}")
    print(f"E-mails: {done.emails:,}, documents: {done.documents:,}, files: {done.files:,}")
    if done.skipped:
        print(f"There already, and the same: {done.skipped:,}")
    return exits.OK


def _now() -> datetime:
    return datetime.now(UTC)
