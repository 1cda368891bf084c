"""How the service and the process that fills templates talk: JSON, each piece with its length before it.

The service sends a `Request`; the process answers a frame for each part of it, in the order of `PARTS`, so that the
service knows which part takes too long. The first frame of a process says that it is ready.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypedDict

PARTS: Final = ("subject", "text", "html")
"""The parts of a template, in the order they are filled."""

HEAD: Final = 4
"""Octets of the length."""


class Request(TypedDict):
    """Templates by part, and what to fill them with; None only compiles them."""

    parts: dict[str, str]
    variables: dict[str, Any] | None


class Answer(TypedDict, total=False):
    """What came of one part: its text, or what is wrong with it. After one that is `ending` the process ends."""

    text: str
    broken: str
    ending: bool


def encode(message: Any) -> bytes:
    """*message* with its length before it."""
    data = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    return len(data).to_bytes(HEAD, "big") + data


def decode(data: bytes) -> Any:
    """What `encode` made *data* of, whole numbers of any size included."""
    return json.loads(data)


def length(head: bytes) -> int:
    """Octets that follow *head*."""
    return int.from_bytes(head, "big")
