"""One line of a file of the store: JSON, with the CRC-32 of everything before it as its last field.

{"seq":7,"at":"2026-11-24T09:30:00.000000Z","id":"em_...","rev":2,"type":"...","data":{},"end":1,"crc":"9ae0daaf"}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from zlib import crc32

import orjson

from service.store.log import Draft, Line

START = b'{"seq":'
"""Every line begins with this. The data of a line may hold it too, but no string: a quote in one is escaped."""

_TAIL = len(b',"crc":"00000000"}')


def encode(first_seq: int, drafts: Sequence[Draft]) -> bytes:
    """The bytes of one write: *drafts* numbered from *first_seq*, the last one marked ``end``."""
    last = len(drafts) - 1
    return b"".join(
        seal(
            {"seq": first_seq + n, "at": at, "id": id_, "rev": rev, "type": type_, "data": data},
            end=n == last,
        )
        for n, (at, id_, rev, type_, data) in enumerate(drafts)
    )


def seal(document: dict[str, Any], *, end: bool = False) -> bytes:
    """*document* as one line with its CRC, newline included."""
    body = orjson.dumps(document)[:-1]
    if end:
        body += b',"end":1'
    return b'%b,"crc":"%08x"}\n' % (body, crc32(body))


def unseal(raw: bytes) -> dict[str, Any] | None:
    """The document of a line without its newline, or None when it is not what `seal` wrote."""
    body = raw[:-_TAIL]
    if raw[-_TAIL:] != b',"crc":"%08x"}' % crc32(body):
        return None
    try:
        return cast("dict[str, Any]", orjson.loads(raw))
    except orjson.JSONDecodeError:
        return None


def decode(raw: bytes) -> Line | None:
    """The line in *raw* (without its newline), or None when it is damaged or only a part."""
    return cast("Line | None", unseal(raw))
