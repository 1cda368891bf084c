"""The bytes of a message, as a pure function of its record and its date.

Every attempt builds them anew and gets the same, so nothing but the record is kept and a digest is enough to prove it.
The header comes from `service.mailer.headers`, since neither policy of the standard library writes every field so that
it is read back; the body from `service.mailer.parts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from io import BytesIO

from service.email import header_fields
from service.email.record import Attachment, Content, Email
from service.mailer import addresses, headers, parts
from service.mailer.parts import Part


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


def build(email: Email, date: datetime, blob: Callable[[str], bytes]) -> Message:
    """The message of *email*, the same for the same content and *date*.

    It takes some 20 ms for each megabyte of files, during which other threads get their turns: an event loop leaves a
    message with files to a thread.

    Args:
        email: What is sent.
        date: Its ``Date``.
        blob: The bytes of a file by their SHA-256.

    Raises:
        ValueError: Something in the content cannot be written as a header; the message names it. What was accepted
            over HTTP has been checked for that.
        KeyError: *blob* has not the bytes of a file.
    """
    content = email.content
    fields = _header(content, date)
    body = _body(content, blob)
    written = BytesIO()
    # Piece by piece: one join of them all would keep other threads from running for as long as it copies.
    for piece in (parts.header([*fields, ("MIME-Version", "1.0"), *body.fields]), b"\r\n", *body.pieces):
        written.write(piece)
    data = written.getvalue()
    sender = addresses.to_wire(addresses.split(content.sender)[1])
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
        if header_fields.is_owned(name):
            raise ValueError(f"{name} cannot be set as an extra header")
        fields.append((name, headers.custom(name, value)))
    return fields


def _body(content: Content, blob: Callable[[str], bytes]) -> Part:
    """Text and HTML are alternatives; pictures that the HTML shows are related to them; files are beside all that."""
    inline = [file for file in content.attachments if file.content_id is not None and content.html is not None]
    beside = [file for file in content.attachments if file not in inline]

    def filed(file: Attachment) -> Part:
        return parts.of_file(file, blob(file.sha256), inline=file in inline)

    body = _texts(content)
    if inline:
        body = parts.multipart("related", [body, *map(filed, inline)], [f'type="{body.content_type}"'])
    if beside:
        body = parts.multipart("mixed", [body, *map(filed, beside)])
    return body


def _texts(content: Content) -> Part:
    texts = ((content.text, "plain"), (content.html, "html"))
    found = [parts.of_text(text, kind) for text, kind in texts if text is not None]
    if len(found) > 1:
        return parts.multipart("alternative", found)
    return found[0] if found else parts.of_text("", "plain")
