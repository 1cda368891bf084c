"""The bytes of a message, as a pure function of its record and its date.

Every attempt builds them anew and gets the same, so nothing but the record is kept and a digest is enough to prove it.
The classes of `email` in their older form (`compat32`) write the body; the header comes from `service.mailer.headers`,
since neither policy of the standard library writes every field so that it is read back.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.generator import BytesGenerator
from email.message import Message as MimePart
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from email.utils import format_datetime
from hashlib import sha256
from io import BytesIO

from service.email.record import Content, Email
from service.mailer import addresses, headers

_POLICY = compat32.clone(linesep="\r\n", max_line_length=None)
_LINE_END = re.compile(r"\r\n|\r|\n")
_UNPRINTABLE = re.compile(rb"[^\t\r\n -~]")
_OURS = frozenset(
    {
        "date",
        "from",
        "to",
        "cc",
        "bcc",
        "reply-to",
        "subject",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
    }
)


@dataclass(frozen=True, slots=True)
class Message:
    """What one transaction carries.

    Attributes:
        sender: Envelope sender, as on the wire.
        data: The message: CRLF line ends, none bare, lines of at most 998 octets, ends with CRLF, not dot-stuffed.
        digest: SHA-256 of `data`, hex.
        utf8: Its header has addresses that only SMTPUTF8 (RFC 6531) can carry.
    """

    sender: str
    data: bytes
    digest: str
    utf8: bool


def build(email: Email, date: datetime) -> Message:
    """The message of *email*, the same for the same content and *date*.

    Raises:
        ValueError: Something in the content cannot be written as a header; the message names it. What was accepted
            over HTTP has been checked for that.
    """
    fields = _header(email.content, date)
    written = BytesIO()
    for name, value in fields:
        written.write(f"{name}: {value}\r\n".encode())
    BytesGenerator(written, mangle_from_=False, policy=_POLICY).flatten(_body(email.content))
    if not written.getvalue().endswith(b"\r\n"):
        written.write(b"\r\n")
    data = written.getvalue()
    sender = addresses.to_wire(addresses.split(email.content.sender)[1])
    utf8 = any(not value.isascii() for _, value in fields)
    return Message(sender, data, sha256(data).hexdigest(), utf8)


def _header(content: Content, date: datetime) -> list[tuple[str, str]]:
    """The header fields in order, without those of the body; Bcc is never one of them."""
    fields = [
        ("Date", format_datetime(date.astimezone(UTC).replace(microsecond=0))),
        ("From", headers.mailboxes("From", [content.sender])),
    ]
    for name, values in (("To", content.to), ("Cc", content.cc), ("Reply-To", content.reply_to)):
        if values:
            fields.append((name, headers.mailboxes(name, values)))
    if not content.to and not content.cc:
        fields.append(("To", "undisclosed-recipients:;"))
    fields.append(("Subject", headers.text("Subject", content.subject)))
    fields.append(("Message-ID", headers.custom("Message-ID", content.message_id)))
    for name, value in content.headers.items():
        headers.check_name(name)
        if name.lower() in _OURS:
            raise ValueError(f"{name} cannot be set as an extra header")
        fields.append((name, headers.custom(name, value)))
    return fields


def _body(content: Content) -> MimePart:
    parts = [_text(text, kind) for text, kind in ((content.text, "plain"), (content.html, "html")) if text is not None]
    if len(parts) < 2:
        return parts[0] if parts else _text("", "plain")
    for part in parts:
        del part["MIME-Version"]
    return MIMEMultipart("alternative", _boundary(parts), parts)


def _text(text: str, kind: str) -> MIMENonMultipart:
    raw = _LINE_END.sub("\r\n", text).encode("utf-8")
    if raw and not raw.endswith(b"\r\n"):
        raw += b"\r\n"
    encoding, payload = _encoded(raw)
    part = MIMENonMultipart("text", kind, charset="utf-8")
    part["Content-Transfer-Encoding"] = encoding
    part.set_payload(payload)
    return part


def _encoded(raw: bytes) -> tuple[str, str]:
    """The transfer encoding of *raw* and *raw* in it: as it is where SMTP carries that, else the smaller of the two."""
    if not _UNPRINTABLE.search(raw) and max(map(len, raw.split(b"\r\n"))) <= headers.LONGEST_LINE:
        return "7bit", raw.decode("ascii")
    quoted = binascii.b2a_qp(raw)
    wrapped = base64.encodebytes(raw)
    if len(quoted) <= len(wrapped):
        return "quoted-printable", quoted.decode("ascii")
    return "base64", wrapped.decode("ascii")


def _boundary(parts: list[MIMENonMultipart]) -> str:
    """A line that is in none of *parts*, drawn from their hash so that it is the same every time."""
    payloads = [str(part.get_payload()) for part in parts]
    seed = sha256("\0".join(payloads).encode("ascii"))
    boundary = f"=_{seed.hexdigest()[:24]}"
    while any(boundary in payload for payload in payloads):
        seed.update(b"again")
        boundary = f"=_{seed.hexdigest()[:24]}"
    return boundary
