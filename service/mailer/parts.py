"""The parts that a message's body is made of, and how they are put together.

They are written here, not by `email.generator`: that splits and joins a body several times over (a message with a 20 MB
file takes it seconds), while a part here is a list of pieces that are joined once.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from service.email.record import Attachment
from service.mailer import headers
from service.mailer.parameters import parameter, plain_name, written

_LINE_END = re.compile(r"\r\n|\r|\n")
_UNPRINTABLE = re.compile(rb"[^\t\r\n -~]")
_TYPE = re.compile(r"[!-~]+/[ -~]+")
_LINE = 76  # characters of base64 in a line (RFC 2045, section 6.8)
_SLICE = 57 * 4 * 1024  # octets encoded at a time, between which other threads get a turn; fills its lines


@dataclass(frozen=True, slots=True)
class Part:
    """A body with the header fields that describe it.

    Attributes:
        fields: Content-Type and what else says how to read it.
        pieces: The body, in pieces.
        mark: Tells it from other bodies; boundaries are drawn from it.
    """

    fields: tuple[tuple[str, str], ...]
    pieces: list[bytes]
    mark: bytes

    @property
    def content_type(self) -> str:
        """Without parameters."""
        return self.fields[0][1].partition(";")[0]


def of_text(text: str, kind: str) -> Part:
    """``text/KIND``; line ends become CRLF, and it ends with one unless it is empty."""
    raw = _LINE_END.sub("\r\n", text).encode("utf-8")
    if raw and not raw.endswith(b"\r\n"):
        raw += b"\r\n"
    encoding, pieces = _encoded(raw)
    fields = (("Content-Type", f'text/{kind}; charset="utf-8"'), ("Content-Transfer-Encoding", encoding))
    return Part(fields, pieces, sha256(raw).digest())


def of_file(file: Attachment, data: bytes, *, inline: bool) -> Part:
    """A file, in base64.

    Raises:
        ValueError: Its type or its id cannot be written.
    """
    if not _TYPE.fullmatch(file.content_type):
        raise ValueError(f"{file.content_type[:80]!r} is not a media type")
    names = [] if "name=" in file.content_type.lower() else parameter("name", plain_name(file.filename))
    disposition = written("inline" if inline else "attachment", parameter("filename", file.filename))
    fields = [
        ("Content-Type", written(file.content_type, names)),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", disposition),
    ]
    if file.content_id is not None:
        fields.append(("Content-ID", headers.custom("Content-ID", f"<{file.content_id}>")))
    return Part(tuple(fields), base64_lines(data), file.sha256.encode())


def multipart(kind: str, parts: Sequence[Part], parameters: Sequence[str] = ()) -> Part:
    """``multipart/KIND`` of *parts*; the boundary is the same for the same parts."""
    mark = sha256(b"\0".join([kind.encode(), *(part.mark for part in parts)]))
    boundary = f"=_{mark.hexdigest()[:24]}"
    while any(boundary.encode() in piece for part in parts for piece in part.pieces):
        mark.update(b"again")
        boundary = f"=_{mark.hexdigest()[:24]}"
    pieces = []
    for part in parts:
        pieces += [f"--{boundary}\r\n".encode(), header(part.fields), b"\r\n", *part.pieces, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    content_type = written(f"multipart/{kind}", [*parameters, f'boundary="{boundary}"'])
    return Part((("Content-Type", content_type),), pieces, mark.digest())


def header(fields: Sequence[tuple[str, str]]) -> bytes:
    """*fields* as lines."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()


def base64_lines(data: bytes) -> list[bytes]:
    """*data* in base64, in lines of 76 characters with CRLF."""
    return [_wrapped(data[start : start + _SLICE]) for start in range(0, len(data), _SLICE)]


def _wrapped(data: bytes) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
    return b"\r\n".join([*lines, b""])


def _encoded(raw: bytes) -> tuple[str, list[bytes]]:
    """The transfer encoding of *raw* and *raw* in it: as it is where SMTP carries that, else the smaller of the two.

    Never 8bit: whether a relay takes that is known only once there is a connection, and the bytes are to be the same
    for each of them.
    """
    if not _UNPRINTABLE.search(raw) and max(map(len, raw.split(b"\r\n"))) <= headers.LONGEST_LINE:
        return "7bit", [raw]
    quoted = binascii.b2a_qp(raw)
    wrapped = base64_lines(raw)
    if len(quoted) <= sum(map(len, wrapped)):
        return "quoted-printable", [quoted]
    return "base64", wrapped
