"""Messages with files: how their parts are nested, named and encoded."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import MIMEPart
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.email.record import Attachment
from service.mailer import mime
from service.mailer.builder import Builder
from tests.unit.test_mime import an_email, check_wire

NOW = datetime(2026, 11, 24, 12, 30, 15, tzinfo=UTC)
DATA = {name: name.encode() * 100 for name in ("logo", "photo", "report")}
FILES = {sha256(data).hexdigest(): data for data in DATA.values()}


def a_file(name: str, *, inline: bool = False, kind: str = "application/pdf", filename: str = "") -> Attachment:
    """One of `DATA`."""
    data = DATA[name]
    content_id = f"{name}@example.com" if inline else None
    return Attachment(filename or f"{name}.pdf", kind, len(data), sha256(data).hexdigest(), content_id)


LOGO, PHOTO = a_file("logo", inline=True), a_file("photo", inline=True)
REPORT = a_file("report")


def built(*files: Attachment, **content: Any) -> bytes:
    """The bytes of an e-mail with these files."""
    return mime.build(an_email(attachments=files, **content), NOW, FILES.__getitem__).data


def outline(part: MIMEPart) -> Any:
    """The types of *part* and of what is in it."""
    kind = part.get_content_subtype()
    return (kind, *map(outline, part.iter_parts())) if part.is_multipart() else kind


@pytest.mark.parametrize(
    ("content", "files", "expected"),
    [
        ({}, [REPORT], ("mixed", "plain", "pdf")),
        ({"text": None, "html": "x"}, [REPORT], ("mixed", "html", "pdf")),
        ({"text": None, "html": "x"}, [LOGO], ("related", "html", "pdf")),
        ({"html": "x"}, [LOGO, PHOTO], ("related", ("alternative", "plain", "html"), "pdf", "pdf")),
        (
            {"html": "x"},
            [REPORT, LOGO],
            ("mixed", ("related", ("alternative", "plain", "html"), "pdf"), "pdf"),
        ),
        ({"html": "x"}, [REPORT], ("mixed", ("alternative", "plain", "html"), "pdf")),
        ({}, [LOGO], ("mixed", "plain", "pdf")),
        ({"text": None}, [REPORT], ("mixed", "plain", "pdf")),
    ],
)
def test_parts_are_nested_as_needed(content: dict[str, Any], files: list[Attachment], expected: Any) -> None:
    """Alternatives within what they show within what is beside them; a picture without HTML is beside the text."""
    data = built(*files, **content)
    check_wire(data)
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert outline(message) == expected


def test_the_bytes_of_a_message_with_a_file() -> None:
    """A small one, byte for byte."""
    file = a_file("logo", filename="Ü.pdf", kind="text/plain; charset=utf-8", inline=True)
    data = mime.build(an_email(attachments=(file,)), NOW, lambda _: b"\x00" * 58).data
    boundary = data.partition(b'boundary="')[2].partition(b'"')[0]
    assert data.partition(b"Message-ID: <em_1@example.com>\r\n")[2] == (
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed;\r\n"
        b' boundary="%(it)b"\r\n'
        b"\r\n"
        b"--%(it)b\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Hi\r\n"
        b"\r\n"
        b"--%(it)b\r\n"
        b"Content-Type: text/plain; charset=utf-8;\r\n"
        b' name="U.pdf"\r\n'
        b"Content-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment;\r\n"
        b" filename*=utf-8''%%C3%%9C.pdf\r\n"
        b"Content-ID: <logo@example.com>\r\n"
        b"\r\n"
        b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"
        b"AA==\r\n"
        b"\r\n"
        b"--%(it)b--\r\n"
    ) % {b"it": boundary}


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=600), repeat=st.sampled_from([1, 57, 997]))
def test_any_file_reads_back(data: bytes, repeat: int) -> None:
    """Whatever its length, in lines of 76 characters, and it hides no boundary."""
    whole = data * repeat
    file = Attachment("a.bin", "application/octet-stream", len(whole), sha256(whole).hexdigest())
    message = mime.build(an_email(attachments=(file,)), NOW, lambda _: whole).data
    check_wire(message)
    assert max(map(len, message.split(b"\r\n"))) <= 78
    (attached,) = email.message_from_bytes(message, policy=email.policy.SMTP).iter_attachments()
    assert attached.get_payload(decode=True) == whole


def test_a_text_cannot_end_its_part() -> None:
    """A text that quotes every boundary of the message it would be in is given others, at each level."""
    first = built(REPORT, LOGO, text="x", html="y")
    hostile = "x\n" + "".join(
        line + "\n" for line in first.decode("ascii").split("\r\n") if line.startswith("--=_") or "boundary=" in line
    )
    again = email.message_from_bytes(built(REPORT, LOGO, text=hostile, html="y"), policy=email.policy.SMTP)
    assert outline(again) == ("mixed", ("related", ("alternative", "plain", "html"), "pdf"), "pdf")
    body = again.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == hostile


def test_the_same_files_make_the_same_bytes() -> None:
    """Boundaries are drawn from what they part, and so differ with it."""
    assert built(REPORT, LOGO, html="x") == built(REPORT, LOGO, html="x")
    one, other = built(REPORT), built(LOGO)
    assert one.partition(b"boundary=")[2][:30] != other.partition(b"boundary=")[2][:30]


@pytest.mark.parametrize(
    "file",
    [
        Attachment("a", "text/plain\r\nX: y", 1, "f" * 64),
        Attachment("a", "nothing", 1, "f" * 64),
        Attachment("a", "text/plain", 1, "f" * 64, "a>\r\nX: y"),
    ],
)
def test_what_would_break_the_header_is_refused(file: Attachment) -> None:
    """Types and ids with line ends, though no request gets so far."""
    with pytest.raises(ValueError, match=r"media type|Content-ID"):
        mime.build(an_email(attachments=(file,)), NOW, lambda _: b"x")


def test_a_name_with_line_ends_stays_a_name() -> None:
    """They are written as what they are, and begin no header."""
    data = mime.build(an_email(attachments=(Attachment("a\r\nX: y", "a/b", 1, "f" * 64),)), NOW, lambda _: b"x").data
    check_wire(data)
    (attached,) = email.message_from_bytes(data, policy=email.policy.SMTP).iter_attachments()
    assert "X" not in attached


async def test_a_builder_makes_the_same() -> None:
    """Small ones at once and large ones in a thread, the bytes are those of `mime.build`."""
    builder = Builder(FILES.__getitem__)
    for one in (an_email(), an_email(attachments=(REPORT,)), an_email(text="x" * 100_000)):
        assert await builder.build(one, NOW) == mime.build(one, NOW, FILES.__getitem__)


async def test_a_lost_file_is_told() -> None:
    """What the store has not any more cannot be sent."""
    with pytest.raises(KeyError):
        await Builder(dict[str, bytes]().__getitem__).build(an_email(attachments=(REPORT,)), NOW)
