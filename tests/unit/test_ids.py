"""Ids: UUIDv7 in Crockford's Base32, in order."""

from __future__ import annotations

import os
import threading
import time

import pytest

from zqueue.ids import _ALPHABET, _IdSource, new_id


def _number(text: str) -> int:
    value = 0
    for char in text:
        value = value * 32 + _ALPHABET.index(char)
    return value


def test_an_id_is_a_uuid7_with_the_time_in_front() -> None:
    """48 bits of milliseconds, version 7, variant 10 (RFC 9562 section 5.7), in 26 characters."""
    before = time.time_ns() // 1_000_000
    text = _IdSource().text()  # a new one: another test may have set the clock of this process ahead
    after = time.time_ns() // 1_000_000
    value = _number(text)
    assert len(text) == 26
    assert before <= value >> 80 <= after
    assert value >> 76 & 0xF == 7
    assert value >> 62 & 0b11 == 0b10


def test_ids_of_a_process_ascend_and_differ() -> None:
    """Ten thousand ids made in a row are sorted as they are, as text."""
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))


def test_ids_ascend_when_the_wall_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock set back does not let a later id sort before an earlier one."""
    now = [2_000_000_000_000_000_000]
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    source = _IdSource()
    ids = [source.text()]
    for step in (-3600, -1, 0, 0, 1, 7200):
        now[0] += step * 1_000_000_000
        ids.append(source.text())
    assert ids == sorted(set(ids))


def test_ids_of_threads_differ() -> None:
    """Eight threads at once never make the same id."""
    made: list[list[str]] = [[] for _ in range(8)]

    def make(into: list[str]) -> None:
        into.extend(new_id() for _ in range(500))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each for into in made for each in into}) == 4000
    assert all(into == sorted(into) for into in made)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_forgets_the_last_id_and_a_held_lock() -> None:
    """A child made while another thread was inside the lock makes ids all the same, and not its parent's."""
    source = _IdSource()
    source.text()
    reading, writing = os.pipe()
    with source._lock:
        child = os.fork()
        if child == 0:
            os.write(writing, source.text().encode() if source._last == 0 else b"the parent's state")
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert len(pipe.read()) == 26
