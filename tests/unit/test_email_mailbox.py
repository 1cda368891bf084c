"""Addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.email.mailbox import InvalidMailbox, Mailbox, parse
from service.mailer.addresses import split


@pytest.mark.parametrize(
    ("text", "name", "address", "written"),
    [
        ("a@example.com", "", "a@example.com", "a@example.com"),
        (" a@EXAMPLE.com ", "", "a@example.com", "a@example.com"),
        ("<a@example.com>", "", "a@example.com", "a@example.com"),
        ("Ann Lee <a@example.com>", "Ann Lee", "a@example.com", "Ann Lee <a@example.com>"),
        ("Zoë <zoë@bücher.example>", "Zoë", "zoë@bücher.example", "Zoë <zoë@bücher.example>"),
        ('"Lee, Ann" <a@example.com>', "Lee, Ann", "a@example.com", '"Lee, Ann" <a@example.com>'),
        ("Lee, Ann <a@example.com>", "Lee, Ann", "a@example.com", '"Lee, Ann" <a@example.com>'),
        ("J. Doe (Ops) <j@example.com>", "J. Doe (Ops)", "j@example.com", '"J. Doe (Ops)" <j@example.com>'),
        (r'"a \"b\" \\c" <a@example.com>', r'a "b" \c', "a@example.com", r'"a \"b\" \\c" <a@example.com>'),
        ('"<script>" <a@example.com>', "<script>", "a@example.com", '"<script>" <a@example.com>'),
        ("a@xn--bcher-kva.example", "", "a@bücher.example", "a@bücher.example"),
        ("a+b@sub.example.test", "", "a+b@sub.example.test", "a+b@sub.example.test"),
    ],
)
def test_addresses_are_read_and_written(text: str, name: str, address: str, written: str) -> None:
    """Name and address are told apart, and written so that they read back the same."""
    found = parse(text)
    assert (found.name, found.address, str(found)) == (name, address, written)
    assert parse(written) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not an e-mail address"),
        ("nobody", "is not an e-mail address"),
        ("@example.com", "is not an e-mail address"),
        ("a@", "is not an e-mail address"),
        ("a@b@example.com", "is not an e-mail address"),
        ("a..b@example.com", "is not an e-mail address"),
        ("a@localhost", "is not an e-mail address"),
        ("a@[127.0.0.1]", "is not an e-mail address"),
        ("a b@example.com", "is not an e-mail address"),
        ("a@example.com, b@example.com", "is not an e-mail address"),
        ("a@example.com, B <b@example.com>", "give several addresses as a list"),
        ("friends: a@example.com, b@example.com;", "is not an e-mail address"),
        ("x" * 65 + "@example.com", "is not an e-mail address"),
        ("a@" + "x" * 64 + ".com", "is not an e-mail address"),
        ("Ann <a@example.com", "is not an e-mail address"),
        ("<script> <a@example.com>", "put the name in quotes"),
        ('"a"b" <a@example.com>', "quoted name"),
        ("a\nBcc: x@example.com <a@example.com>", "line break"),
        ("a@example.com\n", "line break"),
        ("a@exam\u2028ple.com", "line break"),
        ("x" * 201 + " <a@example.com>", "a name of 201 characters"),
        ("x" * 1001, "too long for an address"),
    ],
)
def test_what_is_not_one_address_is_refused(text: str, says: str) -> None:
    """Anything but one address is refused, and the message says why."""
    with pytest.raises(InvalidMailbox, match=says):
        parse(text)


def test_the_domain_is_also_known_in_ascii() -> None:
    """The Message-ID is made from the domain in A-labels."""
    assert parse("a@Bücher.example").domain == "xn--bcher-kva.example"


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Zs")), min_size=1, max_size=30))
def test_every_name_survives_writing(name: str) -> None:
    """Whatever the name, the header form reads back the same, here and where the message is built."""
    written = str(Mailbox(name, "a@example.com", "example.com"))
    assert parse(written) == Mailbox(name, "a@example.com", "example.com")
    assert split(written) == (name, "a@example.com")
