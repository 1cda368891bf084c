"""A message of whoever sends one, taken apart as far as reports need it: header fields, and the parts of a multipart.

The standard library's parser is not used: it spends time that grows with the square of the nesting, and recurses as
deep as a message tells it to. This one looks at each byte a few times, whatever it is given.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

DEEPEST = 3
"""Multiparts in one another that are looked into."""

MOST = 100
"""Parts of one multipart that are looked at."""

MOST_BLOCKS = 200
"""Groups of fields that are looked at."""

_LONGEST_TYPE = 2_000
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_MAILBOX_LINE = re.compile(rb"From [^\n]*\n")  # what deliveries into files put before a message
_FOLD = re.compile(r"\r?\n[ \t]+")
_LINE_END = re.compile(r"\r?\n")


@dataclass(frozen=True, slots=True)
class Fields:
    """A block of header fields: (name in lower case, value on one line), in their order."""

    pairs: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The first value of a field; empty if there is none."""
        return next(self.all(name), "")

    def all(self, name: str) -> Iterator[str]:
        """Every value of a field."""
        return (value for known, value in self.pairs if known == name)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is no multipart, or a whole message.

    Attributes:
        kind: Its media type, in lower case.
        body: With its transfer encoding taken off.
    """

    kind: str
    body: bytes


def open_message(data: bytes) -> tuple[Fields, list[Part]]:
    """The header of a message, and its parts in their order; a message without any is one."""
    data = data[match.end() :] if (match := _MAILBOX_LINE.match(data)) else data
    head, body = head_and_body(data)
    top = fields(head)
    return top, list(_parts(top, body, DEEPEST))


def head_and_body(data: bytes) -> tuple[bytes, bytes]:
    """What comes before the first blank line, and what comes after it."""
    if data[:1] in (b"\r", b"\n"):  # a header without fields
        return b"", data.lstrip(b"\r\n")
    match = _BLANK_LINE.search(data)
    return (data, b"") if match is None else (data[: match.start()], data[match.end() :])


def fields(block: bytes) -> Fields:
    """The fields in *block*; what is none is passed over."""
    text = _FOLD.sub(" ", block.decode("utf-8", "replace"))
    pairs = (line.partition(":") for line in _LINE_END.split(text))
    return Fields(tuple((name.strip().lower(), value.strip()) for name, colon, value in pairs if colon))


def blocks(body: bytes) -> list[Fields]:
    """The first groups of fields of a delivery status (RFC 3464, section 2.1), which blank lines part."""
    return [fields(block) for block in re.split(rb"(?:\r?\n){2,}", body.strip(), maxsplit=MOST_BLOCKS)[:MOST_BLOCKS]]


def _parts(header: Fields, body: bytes, depth: int) -> Iterator[Part]:
    kind, boundary = _type(header.get("content-type"))
    if not kind.startswith("multipart/") or boundary is None:
        yield Part(kind, _decoded(body, header.get("content-transfer-encoding").lower()))
        return
    for part in _split(body, boundary) if depth else ():
        head, inner = head_and_body(part)
        yield from _parts(fields(head), inner, depth - 1)


def _split(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """The parts of a multipart (RFC 2046, section 5.1.1); of one that is cut off, what there is."""
    line = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    start = None
    for number, match in enumerate(line.finditer(body)):
        if start is not None:
            yield _without_line_end(body[start : match.start()])
        start = match.end()
        if match[1] or number >= MOST:
            return
    if start is not None:
        yield _without_line_end(body[start:])


def _without_line_end(part: bytes) -> bytes:
    """*part* without the end of the boundary's own line."""
    return part.removeprefix(b"\r").removeprefix(b"\n")


def _type(value: str) -> tuple[str, bytes | None]:
    """Media type and boundary (RFC 2045, section 5.1)."""
    header = Message()
    header["Content-Type"] = value[:_LONGEST_TYPE]
    boundary = header.get_boundary()
    return header.get_content_type(), None if not boundary else boundary.encode("utf-8", "replace")


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            return body
    return binascii.a2b_qp(body) if encoding == "quoted-printable" else body
