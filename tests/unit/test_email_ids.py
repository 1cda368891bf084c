"""Ids of e-mails."""

from __future__ import annotations

import pytest

from service.email.ids import is_email_id, message_id, new_email_id


def test_ids_rise() -> None:
    """Every id has the shape of one and is above all that came before; `test_ids` has the rest."""
    made = [new_email_id() for _ in range(2_000)]
    assert made == sorted(set(made))
    assert all(map(is_email_id, made))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("em_01KAVWB3V3E7ZBYVG5Q8RFWT2N", True),
        ("em_81KAVWB3V3E7ZBYVG5Q8RFWT2N", False),
        ("em_01kavwb3v3e7zbyvg5q8rfwt2n", False),
        ("em_01KAVWB3V3E7ZBYVG5Q8RFWT2", False),
        ("em_01KAVWB3V3E7ZBYVG5Q8RFWT2N\n", False),
        ("01KAVWB3V3E7ZBYVG5Q8RFWT2N", False),
        ("em_../../etc/passwd", False),
    ],
)
def test_the_shape_of_an_id_is_checked(text: str, expected: bool) -> None:
    """Only the exact shape counts as an id."""
    assert is_email_id(text) is expected
    assert is_email_id(new_email_id())


def test_a_message_id_joins_id_and_domain() -> None:
    """The Message-ID is the e-mail's id at the sender's domain."""
    assert message_id("em_X", "example.com") == "<em_X@example.com>"
