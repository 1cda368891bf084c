"""How data is shown to people: tables and lists, with times as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zqueue.cli.printing import VALUES, Document, plain

_CUT: Final = VALUES | {"error"}
_WHOLE: Final = 40
"""Characters of a value that is not broken into lines."""
_NOTHING: Final[Mapping[str, Sequence[Any]]] = {"priority": ("normal",), "attempts": (0,)}
"""What says nothing, in a column where it is all there is."""
_STYLES: Final = {"dead": "red", "leased": "cyan", "done": "green"}


def friendly(key: str, value: Any, now: datetime) -> str:
    """A value for a person."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{_moment(value)} ({_distance(value - now)})"
    if isinstance(value, timedelta):
        return length(value)
    if isinstance(value, bool) and key not in VALUES:
        return "yes" if value else "no"
    if isinstance(value, int) and key not in VALUES:
        return f"{value:,}"
    return plain(key, value)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


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


def print_table(documents: Sequence[Document], columns: Sequence[str], now: datetime) -> None:
    """Print a table of the columns that say something. A payload or an error that is too long is cut, ids are not."""
    shown = [key for key in columns if any(each[key] not in _NOTHING.get(key, (None, "")) for each in documents)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for key in shown:
        longest = max(len(str(each[key])) for each in documents)
        table.add_column(_title(key), no_wrap=key not in _CUT and longest <= _WHOLE, overflow="fold")
    for each in documents:
        table.add_row(*(_cell(key, each[key], now) for key in shown))
    Console(highlight=False).print(table)


def _cell(key: str, value: Any, now: datetime) -> Text:
    words = _moment(value) if isinstance(value, datetime) else friendly(key, value, now)
    if key in _CUT:
        return Text(words, _style(key, value), no_wrap=True, overflow="ellipsis")
    return Text(words, _style(key, value))


def print_list(document: Document, now: datetime) -> None:
    """Print all of one thing, a line for each key."""
    grid = Table.grid(padding=(0, 2))
    for key, value in document.items():
        grid.add_row(Text(_title(key), "bold"), Text(friendly(key, value, now), _style(key, value), overflow="fold"))
    Console(highlight=False).print(grid)


def _title(key: str) -> str:
    return key.removesuffix("_s").removesuffix("_at").replace("_", " ")


def _style(key: str, value: Any) -> str:
    return _STYLES.get(str(value), "") if key == "state" else "red" if key == "error" else ""
