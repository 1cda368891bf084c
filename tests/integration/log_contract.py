"""What every implementation of `service.store.log.Log` keeps; `test_log_contract` holds two of them to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from service.store.errors import StoreUnavailable
from service.store.log import SNAPSHOT, Draft, Line, Log

AT = "2026-11-24T09:00:00.000000Z"


class Shared(Protocol):
    """One log that several may open, as processes do."""

    def open(self) -> Log:
        """Open it, ready to be written."""

    def full(self) -> AbstractContextManager[None]:
        """Nothing more can be written while this lasts."""


def draft(name: str, rev: int = 1) -> Draft:
    """A line about the record *name*."""
    return Draft(AT, name, rev, "test", {"text": name})


def names(log: Log, after: int = 0) -> list[str]:
    """The records that the lines after *after* are about; lines of the log itself left out."""
    return [line["id"] for _, line in log.read(after) if line["id"]]


def write(log: Log, *ids: str) -> None:
    """One write with a line for each of *ids*."""
    log.transact(lambda: [draft(name) for name in ids])


class LogContract:
    """Inherit it, and give it a fixture ``shared``."""

    @pytest.fixture
    def open_log(self, shared: Shared) -> Iterator[Callable[[], Log]]:
        """Opens the log, as often as it is called; closed at the end."""
        opened: list[Log] = []

        def call() -> Log:
            opened.append(shared.open())
            return opened[-1]

        yield call
        for log in opened:
            log.close()

    def test_lines_are_numbered_and_found_again(self, open_log: Callable[[], Log]) -> None:
        """From 1 without a gap, the last of a write marked; `fetch` finds what `read` showed; others see the same."""
        log, other = open_log(), open_log()
        write(log, "a")
        write(other, "b", "c")
        entries = list(log.read(0))
        assert [(line["seq"], line["id"], line.get("end")) for _, line in entries] == [
            (1, "a", 1), (2, "b", None), (3, "c", 1),
        ]  # fmt: skip
        assert [log.fetch(ref) for ref, _ in entries] == [line for _, line in entries]
        assert [line for _, line in other.read(0)] == [line for _, line in entries]
        assert names(log, 2) == ["c"]
        assert names(log, 3) == []

    def test_decide_sees_everything_and_may_write_nothing(self, open_log: Callable[[], Log]) -> None:
        """What others wrote is readable while it decides; an empty answer and an error leave the log as it was."""
        log, other = open_log(), open_log()
        write(other, "a")
        seen: list[str] = []

        def decide() -> list[Draft]:
            seen.extend(names(log))
            return []

        log.transact(decide)
        assert seen == ["a"]

        def refuse() -> list[Draft]:
            raise LookupError("no")

        with pytest.raises(LookupError):
            log.transact(refuse)
        write(log, "b")
        assert names(other) == ["a", "b"]

    def test_writers_decide_one_after_the_other(self, open_log: Callable[[], Log]) -> None:
        """Two that count up at once lose no count."""

        def count(log: Log) -> None:
            for _ in range(25):
                log.transact(lambda: [draft(str(len(list(log.read(0)))))])

        threads = [threading.Thread(target=count, args=(open_log(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert names(open_log()) == [str(n) for n in range(50)]

    def test_a_write_that_fails_is_not_there(self, open_log: Callable[[], Log], shared: Shared) -> None:
        """With no room nothing is written, all of it is told so, and later writes go on."""
        log = open_log()
        write(log, "a")
        with shared.full(), pytest.raises(StoreUnavailable) as caught:
            write(log, "b", "c")
        assert caught.value.reason == "no_space"
        write(log, "d")
        assert [(line["seq"], line["id"]) for _, line in open_log().read(0)] == [(1, "a"), (2, "d")]

    def test_waiting_ends_with_a_line(self, open_log: Callable[[], Log]) -> None:
        """At once when there is one already, soon when another writes one, and false when none comes."""
        log, other = open_log(), open_log()
        write(log, "a")
        assert names(log) == ["a"]
        assert log.wait(0, 5)
        assert not log.wait(1, 0.05)
        thread = threading.Thread(target=write, args=(other, "b"))
        thread.start()
        assert log.wait(1, 20)
        thread.join()
        assert names(log, 1) == ["b"]

    def test_who_lives_is_known(self, open_log: Callable[[], Log], shared: Shared) -> None:
        """An opened log is alive to all until it is closed; a name that nobody has is not; each has one of its own."""
        log, other = open_log(), shared.open()
        assert log.id == other.id
        assert log.by != other.by
        assert (log.alive(other.by), other.alive(log.by), log.alive("nobody")) == (True, True, False)
        other.close()
        assert not log.alive(other.by)

    def test_a_role_is_one_process_s_until_it_is_gone(self, open_log: Callable[[], Log], shared: Shared) -> None:
        """Who has it has it again; nobody else does; then it is free."""
        log, other = shared.open(), open_log()
        assert (log.lead("role"), log.lead("role"), other.lead("role"), other.lead("another")) == (
            True, True, False, True,
        )  # fmt: skip
        log.close()
        assert other.lead("role")

    def test_what_is_told_is_known_while_its_teller_lives(self, open_log: Callable[[], Log], shared: Shared) -> None:
        """The last word of each."""
        log, other = open_log(), shared.open()
        other.tell({"n": 1})
        other.tell({"n": 2})
        assert log.told() == [{"n": 2}]
        other.close()
        assert log.told() == []

    def test_files_are_kept_beside_it(self, open_log: Callable[[], Log]) -> None:
        """The same for all who open it, under the same name twice."""
        log, other = open_log(), open_log()
        name = log.blobs.put(b"data")
        assert (other.blobs.put(b"data"), other.blobs.read(name), other.blobs.size(name)) == (name, b"data", 4)
        other.blobs.touch(name)
        missing = "0" * 64
        assert log.blobs.size(missing) is None
        for call in (log.blobs.read, log.blobs.touch):
            with pytest.raises(KeyError):
                call(missing)

    def test_a_compaction_stands_for_what_was_sealed(self, open_log: Callable[[], Log]) -> None:
        """New readers read the merged lines and then what came after; those that were there miss and repeat nothing."""
        log, other, reader = open_log(), open_log(), open_log()
        write(log, "a")
        write(log, "b", "c")
        assert names(reader) == ["a", "b", "c"]
        seq = log.seal()
        write(other, "d")
        count = log.compact(seq, [(3, draft("c", 7))])
        write(other, "e")
        fresh = list(open_log().read(0))
        assert next((line["seq"], line["id"], line["rev"]) for _, line in fresh if line["id"]) == (3, "c", 7)
        assert [line["id"] for _, line in fresh if line["id"]] == ["c", "d", "e"]
        merged: list[Line] = [line for _, line in fresh if line["seq"] <= seq]
        assert (len(merged), merged[-1]["type"], merged[-1]["seq"]) == (count, SNAPSHOT, seq)
        assert names(reader, 3) == ["d", "e"]
        numbers = [line["seq"] for _, line in fresh if line["seq"] > seq]
        assert numbers == list(range(seq + 1, seq + 1 + len(numbers)))

    def test_a_compaction_that_fails_changes_nothing(self, open_log: Callable[[], Log]) -> None:
        """What merges may fail; who opens the log then reads what was there."""
        log = open_log()
        write(log, "a")
        seq = log.seal()

        def merged() -> Iterator[tuple[int, Draft]]:
            yield 1, draft("a")
            raise LookupError("no")

        with pytest.raises(LookupError):
            log.compact(seq, merged())
        write(log, "b")
        assert names(open_log()) == ["a", "b"]
