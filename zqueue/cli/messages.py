"""Words to whoever is watching, on stderr; and how text that others stored is made harmless."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

import click

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    r"""*text* on one line, and harmless to a terminal: control characters become ``\t``, ``\x1b`` and the like."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def tell(message: str, *, label: str = "") -> None:
    """One message, of one or more lines, so that stdout holds data alone.

    Args:
        label: Put before it; in red on a terminal, unless ``NO_COLOR`` is set (no-color.org).
    """
    words = "\n".join(map(clean, message.split("\n")))
    if label and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        label = click.style(label, fg="red")
    click.echo(f"{label} {words}" if label else words, err=True)
