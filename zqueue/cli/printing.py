"""How data is printed: JSON lines when asked for, a table for a person at a terminal, else tab-separated lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import orjson

from zqueue.cli.messages import clean, tell

Document = Mapping[str, Any]
"""What is known of one thing, in a fixed order of keys. Times are aware datetimes; a key of seconds ends in ``_s`` and
holds a timedelta."""

VALUES: Final = frozenset({"payload", "progress", "result"})
"""Keys of what users stored: shown as JSON, so that a string can be told from a number."""


class Printer:
    """Prints documents to stdout.

    Args:
        as_json: One JSON object on a line for each.

    Attributes:
        for_people: Whether somebody reads it at a terminal.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.for_people = not as_json and sys.stdout.isatty()

    def rows(self, documents: Sequence[Document], columns: Sequence[str], now: datetime) -> None:
        """Print several of a kind: all keys as JSON, else *columns*; a table has those that say something."""
        if not documents:
            return
        if self.for_people:
            from zqueue.cli import tables  # rich takes its time, which scripts shall not spend

            tables.print_table(documents, columns, now)
        elif self.as_json:
            click.echo("\n".join(map(encode, documents)))
        else:
            click.echo("\n".join("\t".join(plain(key, each[key]) for key in columns) for each in documents))

    def one(self, document: Document, now: datetime) -> None:
        """Print a single one, all of it; without JSON, a line for each key."""
        if self.for_people:
            from zqueue.cli import tables

            tables.print_list(document, now)
        elif self.as_json:
            click.echo(encode(document))
        else:
            click.echo("\n".join(f"{key}\t{plain(key, value)}" for key, value in document.items()))

    def done(self, document: Document, message: str, data: str = "") -> None:
        """Say what was done: as JSON, or in words on stderr and, if there is any, *data* on stdout."""
        if self.as_json:
            click.echo(encode(document))
            return
        tell(message)
        if data:
            click.echo(data)


def encode(document: Document) -> str:
    """A document as JSON, on one line."""
    return orjson.dumps({key: _machine(value) for key, value in document.items()}).decode()


def _machine(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.total_seconds() if isinstance(value, timedelta) else value


def plain(key: str, value: Any) -> str:
    """A value for a field of a tab-separated line."""
    if value is None and key not in VALUES:
        return ""
    value = _machine(value)
    return clean(value if isinstance(value, str) and key not in VALUES else orjson.dumps(value).decode())
