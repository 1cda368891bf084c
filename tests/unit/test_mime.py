"""The bytes of a message, read back with the standard library."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.email import request
from service.email.faults import InvalidRequest
from service.email.record import Content, Email, Recipient, State, Status
from service.email.terms import Terms
from service.mailer import headers, mime

FILES: dict[str, bytes] = {}
NOW = datetime(2026, 11, 24, 12, 30, 15, 123456, tzinfo=UTC)


def an_email(**content: Any) -> Email:
    """An e-mail with this content and defaults for the rest."""
    values: dict[str, Any] = {
        "sender": "Shop <shop@example.com>",
        "to": ("ann@example.org",),
        "subject": "Hello",
        "message_id": "<em_1@example.com>",
        "text": "Hi\n",
    }
    state = State(Status.SCHEDULED, (Recipient("ann@example.org"),), NOW, 3, NOW + timedelta(days=5))
    return Email("em_1", 1, NOW, Content(**{**values, **content}), state)


def built(**content: Any) -> bytes:
    """The bytes of an e-mail with this content and defaults for the rest."""
    return mime.build(an_email(**content), NOW, FILES.__getitem__).data


def read(data: bytes) -> EmailMessage:
    """The message as a modern reader sees it."""
    return email.message_from_bytes(data, policy=email.policy.SMTP)


def mailboxes(data: bytes, name: str) -> list[tuple[str, str]]:
    """Display names and addresses of a header (newer policies put spaces between the encoded words of a name)."""
    raw = re.sub(r"\r\n(?=[ \t])", "", email.message_from_bytes(data)[name])
    return [(str(make_header(decode_header(name))), address) for name, address in getaddresses([raw])]


def check_wire(data: bytes) -> None:
    """The invariants of every message, whatever is in it."""
    assert data.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", data)
    assert max(map(len, data.split(b"\r\n"))) <= 998
    head = data.partition(b"\r\n\r\n")[0]
    assert not re.search(rb"\r\n[ \t]*(\r\n|$)", head)
    for line in head.split(b"\r\n"):
        assert b"=?utf-8?" not in line or len(line) <= 76
        assert all(len(word) <= 75 for word in re.findall(rb"=\?utf-8\?\S+", line))


def test_plain_message() -> None:
    """A plain ASCII message comes out byte for byte as expected, without encodings."""
    data = built(cc=("Bob <bob@example.org>",), reply_to=("help@example.com",), headers={"X-Order": "17"})
    assert data == (
        b"Date: Tue, 24 Nov 2026 12:30:15 +0000\r\n"
        b"From: Shop <shop@example.com>\r\n"
        b"To: ann@example.org\r\n"
        b"Cc: Bob <bob@example.org>\r\n"
        b"Reply-To: help@example.com\r\n"
        b"Subject: Hello\r\n"
        b"Message-ID: <em_1@example.com>\r\n"
        b"X-Order: 17\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Hi\r\n"
    )


def test_same_bytes_every_time() -> None:
    """The bytes and the digest depend on the content and the date alone, not on the state or the revision."""
    first = an_email(text="a", html="<p>a</p>")
    later = replace(first, rev=9, state=replace(first.state, run=4, attempts=2, status=Status.RETRYING))
    assert mime.build(first, NOW, FILES.__getitem__) == mime.build(later, NOW, FILES.__getitem__)
    assert (
        mime.build(first, NOW, FILES.__getitem__).digest
        != mime.build(first, NOW + timedelta(seconds=1), FILES.__getitem__).digest
    )


def test_bcc_is_never_written() -> None:
    """Blind recipients appear nowhere; with nobody else to name, To says so."""
    data = built(bcc=("secret@example.org",))
    assert b"secret" not in data
    alone = built(to=(), bcc=("secret@example.org",))
    assert b"secret" not in alone
    assert read(alone)["To"] == "undisclosed-recipients:;"


def test_alternative() -> None:
    """Text and HTML become multipart/alternative, text first, and both read back."""
    data = built(text="Grüße\n", html="<p>Grüße</p>\n")
    check_wire(data)
    message = read(data)
    assert message.get_content_type() == "multipart/alternative"
    parts = [(part.get_content_type(), part.get_content()) for part in message.iter_parts()]
    assert parts == [("text/plain", "Grüße\r\n"), ("text/html", "<p>Grüße</p>\r\n")]


def test_boundary_is_not_in_the_body() -> None:
    """A body that quotes the boundary it would get is given another one."""
    message = built(text="x", html="y")
    boundary = re.search(rb'boundary="([^"]+)"', message)
    assert boundary
    hostile = built(text=f"x\n--{boundary[1].decode()}--\n", html="y")
    assert [part.get_content() for part in read(hostile).iter_parts()][1] == "y\r\n"


@pytest.mark.parametrize(
    "text",
    [
        "a\rb\nc\r\nd\n\r\n\n",
        ".\n..\n.leading\n...\n",
        "x" * 2000 + "\n",
        "no end of line",
        "trailing space \n\t\n",
        "null \x00 bell \x07 del \x7f\n",
        "vt \x0b ff \x0c fs \x1c nel \x85 ls \u2028 ps \u2029 end\n",
        "emoji 👩‍👩‍👧‍👦 and 漢字\n" * 50,
        "é" * 5000,
        "From here\nFrom there\n",
        "",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_body_reads_back(text: str) -> None:
    """Any text reads back the same, but for line ends, which become CRLF, and one at the end."""
    data = built(text=text)
    check_wire(data)
    expected = re.sub(r"\r\n|\r|\n", "\r\n", text)
    if expected and not expected.endswith("\r\n"):
        expected += "\r\n"
    part = read(data)
    assert cast(bytes, part.get_payload(decode=True)).decode("utf-8") == expected


def test_smaller_encoding_is_chosen() -> None:
    """Text that is mostly ASCII goes as quoted-printable, the rest as base64."""
    assert b"\r\nContent-Transfer-Encoding: quoted-printable\r\n" in built(text="Grüße from Frankfurt am Main\n")
    assert b"\r\nContent-Transfer-Encoding: base64\r\n" in built(text="漢字漢字漢字\n")


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "plain",
        "  spaces  around  ",
        "a  b   c\td " * 20 + "end",
        "word " * 400 + "end",
        "x" * 2000,
        "Grüße " * 60 + "Köln",
        "👋🏽" * 300,
        "=?utf-8?q?already?= encoded",
        "vt \x0b nel \x85 ls \u2028 end",
    ],
    ids=lambda subject: repr(subject[:12]),
)
def test_subject_reads_back(subject: str) -> None:
    """Any subject reads back the same, whitespace included, in legal lines."""
    data = built(subject=subject)
    check_wire(data)
    raw = email.message_from_bytes(data, policy=email.policy.compat32)["Subject"]
    decoded = "".join(
        part.decode(charset or "ascii") if isinstance(part, bytes) else part
        for part, charset in decode_header(re.sub(r"\r\n(?=[ \t])", "", raw))
    )
    assert decoded == subject


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("ann@example.org", "", "ann@example.org"),
        ("Ann <ann@example.org>", "Ann", "ann@example.org"),
        ('"Doe, Ann" <ann@example.org>', "Doe, Ann", "ann@example.org"),
        ("Doe, Ann <ann@example.org>", "Doe, Ann", "ann@example.org"),
        (r'"Ann \"A\" \\ Doe" <ann@example.org>', 'Ann "A" \\ Doe', "ann@example.org"),
        ("Änne Müller <ann@example.org>", "Änne Müller", "ann@example.org"),
        ("<b>Ann</b> <ann@example.org>", "<b>Ann</b>", "ann@example.org"),
        ("=?utf-8?q?fake?= <ann@example.org>", "=?utf-8?q?fake?=", "ann@example.org"),
        ("漢字" * 60 + " <ann@example.org>", "漢字" * 60, "ann@example.org"),
        ("Ann " * 100 + "<ann@example.org>", ("Ann " * 100).strip(), "ann@example.org"),
        ("Ann <ann@bücher.example>", "Ann", "ann@xn--bcher-kva.example"),
        ('"a b"@example.org', "", '"a b"@example.org'),
    ],
)
def test_address_reads_back(written: str, name: str, address: str) -> None:
    """The name reads back as given, and the address is never part of an encoded word."""
    data = built(to=(written, "Last, One <last@example.org>"))
    check_wire(data)
    assert address.encode() in data
    assert mailboxes(data, "To") == [(name, address), ("Last, One", "last@example.org")]


def test_hundred_recipients_fold_between_addresses() -> None:
    """A long list is folded at 78 characters and loses nobody."""
    to = tuple(f"Person Number {n} <person{n}@example.org>" for n in range(100))
    data = built(to=to)
    check_wire(data)
    assert max(len(line) for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")) <= 78
    assert [str(one) for one in read(data)["To"].addresses] == list(to)


def test_structured_headers_stay_in_one_piece() -> None:
    """A long List-Unsubscribe or References keeps its URL and its ids whole, on one line, without encoded words."""
    url = f"<https://example.com/unsubscribe/{'t' * 300}>, <mailto:unsubscribe@example.com?subject={'u' * 200}>"
    references = " ".join(f"<{n}{'r' * 60}@example.com>" for n in range(40))
    data = built(headers={"List-Unsubscribe": url, "References": references, "X-Json": '{"a": [1, 2]}' * 20})
    check_wire(data)
    assert f"\r\nList-Unsubscribe: {url}\r\n".encode() in data
    message = email.message_from_bytes(data)
    assert message["References"].replace("\r\n", "") == references
    assert b"\r\nX-Json: " + b'{"a": [1, 2]}' * 20 + b"\r\n" in data


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"subject": "a\r\nBcc: x@example.org"}, "Subject"),
        ({"subject": "a\nb"}, "Subject"),
        ({"subject": "a\x00b"}, "Subject"),
        ({"sender": "A\r\nX: y <a@example.com>"}, "From"),
        ({"to": ("ann@example.org>\r\nX: y <b@example.org>",)}, "To"),
        ({"to": ("a b@example.org",)}, "a b@example.org"),
        ({"headers": {"X-A": "b\r\nc"}}, "X-A"),
        ({"headers": {"X-A\r\nY": "b"}}, "header name"),
        ({"headers": {"X A": "b"}}, "header name"),
        ({"headers": {"Bcc": "x@example.org"}}, "Bcc"),
        ({"headers": {"subject": "again"}}, "subject"),
        ({"headers": {"List-Unsubscribe": "<https://example.com/ü>"}}, "List-Unsubscribe"),
        ({"headers": {"References": "x" * 1200}}, "References"),
    ],
)
def test_what_no_header_can_carry_is_refused(content: dict[str, Any], names: str) -> None:
    """Line ends, NUL and values that would have to be broken are a ValueError that names the header."""
    with pytest.raises(ValueError, match=re.escape(names)):
        built(**content)


def test_international_local_part_is_raw_utf8() -> None:
    """A local part outside ASCII is written as UTF-8 and marks the message as one for SMTPUTF8."""
    message = mime.build(an_email(to=("Jörg <jörg@bücher.example>",)), NOW, FILES.__getitem__)
    assert message.utf8
    assert "<jörg@xn--bcher-kva.example>".encode() in message.data
    assert not mime.build(an_email(to=("Jörg <joerg@bücher.example>",)), NOW, FILES.__getitem__).utf8


@settings(max_examples=150, deadline=None)
@given(
    subject=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"), max_size=400),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=400),
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=120),
)
def test_anything_reads_back(subject: str, text: str, name: str) -> None:
    """Whatever characters a subject, a name and a text have, the wire stays legal and the address intact."""
    data = built(subject=subject, text=text, to=(f'"{name}" <ann@example.org>',))
    check_wire(data)
    assert [address for _, address in mailboxes(data, "To")] == ["ann@example.org"]
    decoded = cast(bytes, read(data).get_payload(decode=True)).decode("utf-8")
    assert decoded.rstrip("\r\n") == re.sub(r"\r\n|\r|\n", "\r\n", text).rstrip("\r\n")


@settings(max_examples=150, deadline=None)
@given(
    subject=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=998),
    name=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=250),
    domain=st.sampled_from(["example.org", "bücher.example", "例え.test"]),
    value=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=3000),
    header=st.sampled_from(["X-Anything", "List-Unsubscribe", "References", "Disposition-Notification-To", "Comments"]),
)
def test_what_is_accepted_can_be_written(subject: str, name: str, domain: str, value: str, header: str) -> None:
    """Whatever the API accepts has a message: a refusal comes at the request, never when it is due."""
    quoted = re.sub(r'([\\"])', r"\\\1", name)
    body = {
        "from": "shop@example.com",
        "to": f'"{quoted}" <ann@{domain}>',
        "subject": subject,
        "text": "x",
        "headers": {header: value},
    }
    try:
        draft = request.read(body, Terms(NOW, headers.custom))
    except InvalidRequest:
        return
    data = built(to=(str(draft.to[0]),), subject=draft.subject, headers=draft.headers)
    check_wire(data)
    assert mailboxes(data, "To") == [(draft.to[0].name, f"ann@{draft.to[0].domain}")]
