"""Which files kept beside the log (see `blobs`) a line names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def attached(data: dict[str, Any]) -> Iterator[str]:
    """The SHA-256 of every file that the content in the data of an e-mail's line names."""
    for one in data.get("content", {}).get("attachments", ()):
        yield one["sha256"]


def anywhere(value: Any) -> Iterator[str]:
    """Every SHA-256 in the data of a line, be it that of a file or not."""
    if isinstance(value, dict):
        if isinstance(value.get("sha256"), str):
            yield value["sha256"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from anywhere(each)
