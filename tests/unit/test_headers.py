"""Single header fields; whole messages are in `test_mime`."""

from __future__ import annotations

import pytest

from service.mailer import headers


@pytest.mark.timeout(10)
@pytest.mark.parametrize("blanks", [" " * 5_000, "\t " * 2_500, "x" + " " * 4_998 + "y"])
def test_a_header_of_blanks_is_no_work(blanks: str) -> None:
    """Reading one is linear in its length: fifty such headers of one request once held a process for 20 s."""
    for _ in range(100):
        assert headers.custom("X-Note", blanks)


@pytest.mark.parametrize("value", ["a", "a b", "a  b", "a \t b", "a b  ", "a\tb\t"])
def test_blanks_of_a_plain_header_are_kept(value: str) -> None:
    """A short value is on one line as it was given, unless it ends in blanks, which a reader would drop."""
    written = headers.custom("X-Note", value)
    assert (written == value) is (value == value.strip())
