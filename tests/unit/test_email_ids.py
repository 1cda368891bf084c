"""Ids of e-mails."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from service.email.ids import is_email_id, message_id, new_email_id


def test_ids_are_unique_and_rise_within_a_process() -> None:
    """Every id is above all that came before, also from several threads."""
    made: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        into.extend(new_email_id() for _ in range(2_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(into == sorted(into) for into in made)
    assert len({one for into in made for one in into}) == 8_000


def test_ids_rise_though_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock set back an hour does not bring back lower ids."""
    before = new_email_id()
    an_hour_ago = time.time_ns() - 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: an_hour_ago)
    assert before < new_email_id() < new_email_id()


def test_an_id_is_a_uuid_of_version_7() -> None:
    """The 26 characters decode to a UUIDv7 of the present millisecond."""
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    earliest = time.time_ns() // 1_000_000
    text = new_email_id()
    number = 0
    for character in text.removeprefix("em_"):
        number = number * 32 + digits.index(character)
    assert (number >> 76 & 0xF, number >> 62 & 0b11) == (7, 0b10)
    assert earliest <= number >> 80 <= earliest + 3_600_001  # the test above may have counted a clock back up


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


def test_a_forked_child_makes_other_ids() -> None:
    """After a fork parent and child draw anew, and do not count on from the same number within a millisecond."""
    script = """
import os, time
from service.email.ids import new_email_id
time.time_ns = lambda: 1_764_000_000_000_000_000
new_email_id()
child = os.fork()
if child:
    os.waitpid(child, 0)
print(new_email_id())
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    mine, theirs = output.split()
    assert is_email_id(mine)
    assert is_email_id(theirs)
    assert mine[14:20] != theirs[14:20]  # high random bits: counting on would have left them alike


def test_a_message_id_joins_id_and_domain() -> None:
    """The Message-ID is the e-mail's id at the sender's domain."""
    assert message_id("em_X", "example.com") == "<em_X@example.com>"
