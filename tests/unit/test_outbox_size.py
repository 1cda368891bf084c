"""The estimate of a message's size is never below what the message has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.email.record import Attachment, Content
from service.mailer import mime
from service.outbox.size import most_bytes
from tests.unit.email_records import NOW, fresh

FILES = {"0" * 64: b"\xff" * 100_000}
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=2_000)
_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=300)


def content(**fields: object) -> Content:
    """A content with *fields*."""
    return replace(fresh().content, **fields)  # type: ignore[arg-type]


def size(of: Content) -> int:
    """The size of its message."""
    return len(mime.build(replace(fresh(), content=of), NOW, FILES.__getitem__).data)


@given(_TEXT, st.none() | _TEXT, _WORDS, st.dictionaries(st.sampled_from(["X-A", "X-B", "Keywords"]), _WORDS))
def test_a_message_is_never_larger_than_estimated(
    text: str, html: str | None, subject: str, headers: dict[str, str]
) -> None:
    """Whatever has to be encoded: line ends, long lines, other scripts."""
    sample = content(text=text, html=html, subject=subject, headers=headers)
    assert size(sample) <= most_bytes(sample)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "\n" * 10_000},
        {"text": "\r" * 10_000},
        {"text": "ü" * 10_000, "html": "=" * 10_000},
        {"text": "😀" * 1_000, "subject": "😀" * 998},
        {"to": tuple(f'"{"ü" * 200}" <u{n}@example.com>' for n in range(100))},
        {"attachments": tuple(Attachment("\U0001f600" * 255, "a/" + "b" * 198, 100_000, "0" * 64) for _ in range(5))},
        {"headers": {f"X-{n}": "ü" * 5_000 for n in range(50)}},
    ],
)
def test_the_worst_of_each_kind(fields: dict[str, object]) -> None:
    """What grows most is estimated high enough, and not absurdly high."""
    sample = content(**fields)
    assert size(sample) <= most_bytes(sample) <= 3 * size(sample)
