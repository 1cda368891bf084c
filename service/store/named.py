"""Which files kept beside the log (see `blobs`) a line names: an e-mail's, or those in what a document holds of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def files_named(data: dict[str, Any]) -> Iterator[str]:
    """The SHA-256 of every file that the data of a line, or a part of it, names."""
    if "content" in data:
        for one in data["content"].get("attachments", ()):
            yield one["sha256"]
    elif "doc" in data:
        yield from _anywhere(data["doc"])


def _anywhere(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("sha256"), str) and "content_type" in value:
            yield value["sha256"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _anywhere(each)
