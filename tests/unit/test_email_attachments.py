"""Attachments in a request: what may be attached, and what is said of the rest."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.email.draft import File
from service.email.faults import InvalidRequest
from service.email.record import Attachment
from service.email.request import read
from service.email.terms import Terms
from service.mailer import headers
from tests.unit.test_email_request import LEAST, NOW

UPLOADED = sha256(b"uploaded").hexdigest()
SIZES = {UPLOADED: 8}


def files(*attachments: Any, most_bytes: int = 1000) -> tuple[File, ...]:
    """What a request with *attachments* attaches."""
    terms = Terms(NOW, headers.custom, most_bytes=most_bytes, uploaded_size=SIZES.get)
    return read(LEAST | {"attachments": list(attachments)}, terms).files


def faults(*attachments: Any, most_bytes: int = 1000) -> list[tuple[str, str]]:
    """What is wrong with *attachments*; pointers below ``/attachments``."""
    with pytest.raises(InvalidRequest) as caught:
        files(*attachments, most_bytes=most_bytes)
    return [(one.pointer.removeprefix("/attachments"), one.detail) for one in caught.value.faults]


def test_bytes_come_in_base64() -> None:
    """The content is decoded, counted and hashed."""
    (file,) = files({"filename": "a b.pdf", "content": "QUI=", "content_type": "application/pdf", "content_id": "x@y"})
    digest = sha256(b"AB").hexdigest()
    assert file == File(Attachment("a b.pdf", "application/pdf", 2, digest, "x@y"), b"AB")


def test_uploaded_files_are_named_by_their_hash() -> None:
    """Their size is looked up, and there is nothing more to keep."""
    assert files({"filename": "a", "sha256": UPLOADED}) == (
        File(Attachment("a", "application/octet-stream", 8, UPLOADED, None)),
    )


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.pdf", "application/pdf"),
        ("a.html", "text/html"),
        ("A.PNG", "image/png"),
        ("a", "application/octet-stream"),
        ("a.tar.gz", "application/octet-stream"),
        ("a.eml", "application/octet-stream"),
        ("a.no-such-type", "application/octet-stream"),
    ],
)
def test_the_type_is_guessed_from_the_name(filename: str, expected: str) -> None:
    """Where none is given; what may not be sent in base64, or is compressed, stays opaque."""
    (file,) = files({"filename": filename, "content": ""})
    assert file.attachment.content_type == expected


@pytest.mark.parametrize(
    "content_type",
    ["text/calendar; method=REQUEST", 'text/csv;charset="utf-8"', "application/vnd.ms-excel", "image/svg+xml"],
)
def test_types_may_have_parameters(content_type: str) -> None:
    """A type is kept as it was given."""
    (file,) = files({"filename": "a", "content": "", "content_type": content_type})
    assert file.attachment.content_type == content_type


@pytest.mark.parametrize(
    ("attachment", "where", "says"),
    [
        ({"content": ""}, "/0/filename", "is required"),
        ({"filename": "", "content": ""}, "/0/filename", "String should have at least 1 character"),
        ({"filename": "x" * 256, "content": ""}, "/0/filename", "must be at most 255 characters long"),
        ({"filename": "../a", "content": ""}, "/0/filename", "must be the name of a file, without a path"),
        ({"filename": "C:\\a", "content": ""}, "/0/filename", "must be the name of a file, without a path"),
        ({"filename": "..", "content": ""}, "/0/filename", "must be the name of a file, without a path"),
        ({"filename": "a"}, "/0", "must have either content or sha256"),
        ({"filename": "a", "content": "", "sha256": UPLOADED}, "/0", "must have either content or sha256"),
        ({"filename": "a", "content": 5}, "/0/content", "must be a string"),
        (
            {"filename": "a", "sha256": "0" * 64},
            "/0/sha256",
            "is not the SHA-256 of an uploaded file; upload it with POST /v1/attachments",
        ),
        ({"filename": "a", "sha256": "../x"}, "/0/sha256", "must be 64 hexadecimal digits in lower case"),
        ({"filename": "a", "sha256": UPLOADED.upper()}, "/0/sha256", "must be 64 hexadecimal digits in lower case"),
        (
            {"filename": "a", "content": "", "content_type": "pdf"},
            "/0/content_type",
            "must be a media type such as application/pdf",
        ),
        (
            {"filename": "a", "content": "", "content_type": "Message/RFC822"},
            "/0/content_type",
            "may not be multipart/ or message/, which cannot be sent in base64; use application/octet-stream",
        ),
        (
            {"filename": "a", "content": "", "content_id": "<x@y>"},
            "/0/content_id",
            "must be an id such as logo or logo@example.com, without angle brackets",
        ),
        ({"filename": "a", "contents": ""}, "/0/contents", "does not exist; did you mean content?"),
        ("a.pdf", "/0", "must be an object"),
    ],
)
def test_a_bad_attachment_says_what_is_right(attachment: Any, where: str, says: str) -> None:
    """Each kind of mistake has its own sentence, and its pointer."""
    assert (where, says) in faults(attachment)


@pytest.mark.parametrize("content", ["QUI", "Q U I=", "QUI=\n", "QUI-", "Q===", "ÄÄÄÄ", "====", "QUI=QUI="])
def test_base64_is_strict(content: str) -> None:
    """Nothing is skipped or made up: what is not base64 would be another file than was meant."""
    assert faults({"filename": "a", "content": content}) == [
        ("/0/content", "must be base64 (RFC 4648, section 4), padded and without line breaks")
    ]


@pytest.mark.parametrize("character", ["\r", "\n", "\x00", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("field", ["filename", "content_type", "content_id"])
def test_no_header_takes_a_line_break(field: str, character: str) -> None:
    """What reaches a header has no line break in it."""
    good = {"filename": "a.txt", "content": "", "content_type": "text/plain", "content_id": "x"}
    found = faults(good | {field: good[field] + character + "X: y"})
    assert [where for where, _ in found] == [f"/0/{field}"]


def test_content_ids_are_unique() -> None:
    """One id names one file."""
    one = {"filename": "a", "content": "", "content_id": "logo"}
    assert faults(one, {"filename": "b", "content": ""}, one) == [
        ("/2/content_id", "is that of attachment 0, too; each needs its own")
    ]


def test_the_size_is_bounded() -> None:
    """Attachments that cannot fit into the largest message are refused together."""
    big = {"filename": "a", "content": base64.b64encode(b"x" * 501).decode()}
    assert len(files(big)) == 1
    assert faults(big, big) == [("", "have 1,002 bytes together; a message may have 1,000")]


def test_the_number_is_bounded() -> None:
    """At most a hundred, counted before each is looked at."""
    assert faults(*[0] * 101) == [("", "must have at most 100 entries")]


@given(st.binary(max_size=300))
def test_what_was_encoded_is_decoded(data: bytes) -> None:
    """Any bytes come through."""
    (file,) = files({"filename": "a", "content": base64.b64encode(data).decode()})
    assert (file.data, file.attachment.size) == (data, len(data))


def test_long_content_is_decoded_in_slices() -> None:
    """Content longer than a slice is whole, and padding before its end is still refused."""
    data = bytes(range(256)) * 8_000
    content = base64.b64encode(data).decode()
    (file,) = files({"filename": "a", "content": content}, most_bytes=len(data))
    assert file.data == data
    broken = content[: 1024 * 1024 - 4] + "QUI=" + content[1024 * 1024 :]
    assert [where for where, _ in faults({"filename": "a", "content": broken})] == ["/0/content"]
