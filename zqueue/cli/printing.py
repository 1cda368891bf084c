"""How data is printed: JSON lines when asked for, a table for a person at a terminal, else tab-separated lines.

Whatever was stored by others is shown without its control characters: they could rewrite the terminal it is read on.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import orjson

from zqueue.cli.failures import tell

Document = Mapping[str, Any]
"""What is known of one thing, in a fixed order of keys. Times are aware datetimes; a key of seconds ends in ``_s`` and
holds a timedelta."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_VALUES: Final = frozenset({"payload", "progress", "result"})
"""Keys of what users stored: shown as JSON, so that a string can be told from a number."""
_STYLES: Final = {"dead": "red", "leased": "cyan", "done": "green"}


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
        """Print several of a kind: all keys as JSON, else *columns*; a table says how far from *now* a time is."""
        if not documents:
            return
        if self.for_people:
            _table(documents, columns, now)
        elif self.as_json:
            click.echo("\n".join(map(encode, documents)))
        else:
            click.echo("\n".join("\t".join(plain(key, each[key]) for key in columns) for each in documents))

    def one(self, document: Document, now: datetime) -> None:
        """Print a single one, all of it; without JSON, a line for each key."""
        if self.for_people:
            _grid(document, now)
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
    if value is None and key not in _VALUES:
        return ""
    value = _machine(value)
    return clean(value if isinstance(value, str) and key not in _VALUES else orjson.dumps(value).decode())


def clean(text: str) -> str:
    r"""*text* on one line, and harmless to a terminal: control characters become ``\t``, ``\x1b`` and the like."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def friendly(key: str, value: Any, now: datetime) -> str:
    """A value for a person."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ} ({_distance(value - now)})"
    if isinstance(value, timedelta):
        return length(value)
    if isinstance(value, bool) and key not in _VALUES:
        return "yes" if value else "no"
    if isinstance(value, int) and key not in _VALUES:
        return f"{value:,}"
    return plain(key, value)


def _distance(ahead: timedelta) -> str:
    return f"in {length(ahead)}" if ahead >= timedelta(0) else f"{length(-ahead)} ago"


def length(span: timedelta) -> str:
    """A length of time by its two largest units."""
    seconds = span.total_seconds()
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds else "0 s"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _table(documents: Sequence[Document], columns: Sequence[str], now: datetime) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for key in columns:
        wide = key in _VALUES or key == "error"
        table.add_column(_title(key), no_wrap=True, overflow="ellipsis" if wide else "fold", ratio=1 if wide else None)
    for each in documents:
        table.add_row(*(Text(friendly(key, each[key], now), _style(key, each[key])) for key in columns))
    Console(highlight=False).print(table)


def _grid(document: Document, now: datetime) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for key, value in document.items():
        grid.add_row(Text(_title(key), "bold"), Text(friendly(key, value, now), _style(key, value), overflow="fold"))
    Console(highlight=False).print(grid)


def _title(key: str) -> str:
    return key.removesuffix("_s").removesuffix("_at").replace("_", " ")


def _style(key: str, value: Any) -> str:
    return _STYLES.get(str(value), "") if key == "state" else "red" if key == "error" else ""
