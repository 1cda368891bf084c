"""Names of files in a header, for readers of every age."""

from __future__ import annotations

from email.message import Message
from email.utils import collapse_rfc2231_value

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.mailer.parameters import parameter, plain_name, written


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.pdf", ['filename="a.pdf"']),
        ('say "hi" \\ now.txt', ['filename="say \\"hi\\" \\\\ now.txt"']),
        ("é.pdf", ["filename*=utf-8''%C3%A9.pdf"]),
        ("=?utf-8?q?a?=.pdf", ["filename*=utf-8''%3D%3Futf-8%3Fq%3Fa%3F%3D.pdf"]),
        ("tab\there", ["filename*=utf-8''tab%09here"]),
        ("é" * 12, ["filename*0*=utf-8''" + "%C3%A9" * 9, "filename*1*=" + "%C3%A9" * 3]),
    ],
)
def test_a_name_is_plain_or_rfc_2231(filename: str, expected: list[str]) -> None:
    """Never an encoded word; long ones in sections, of which none cuts a character in two."""
    assert parameter("filename", filename) == expected


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255))
def test_any_name_reads_back(filename: str) -> None:
    """In lines of at most 78 characters, unless it is plain."""
    field = written("attachment", parameter("filename", filename))
    message = Message()
    message["Content-Disposition"] = field.replace("\r\n", "")
    assert collapse_rfc2231_value(message.get_param("filename", header="Content-Disposition")) == filename  # type: ignore[arg-type]
    assert field.isascii()
    assert max(map(len, field.split("\r\n"))) <= (600 if 'filename="' in field else 78)


@pytest.mark.parametrize(
    ("filename", "plain"),
    [
        ("report 2026.pdf", "report 2026.pdf"),
        ("Übersicht.pdf", "Ubersicht.pdf"),
        ("漢字.pdf", "attachment.pdf"),
        ("漢字", "attachment"),
        (".profile", ".profile"),
        ('a"b\\c/d.txt', "a_b_c_d.txt"),
        ("=?utf-8?q?a?=.txt", "__utf-8_q_a_=.txt"),
        ("x" * 300 + ".tar.gz", "x" * 57 + ".gz"),
        ("a." + "x" * 300, "a." + "x" * 10),
    ],
)
def test_what_old_readers_see(filename: str, plain: str) -> None:
    """As much of the name as ASCII has, never empty, and the extension, by which they choose a program."""
    assert plain_name(filename) == plain
