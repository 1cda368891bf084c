"""FileLog after failures: a torn write is cut, damage stops, and a disk in doubt is not trusted."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store import lines
from service.store.errors import StoreDamaged, StoreUnavailable
from service.store.filelog import FileLog
from tests.unit.store_logs import JOURNAL, draft, failing, ids, opened, short_write, write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that is not there yet."""
    return tmp_path / "deep" / "data"


@pytest.fixture
def log(data: Path) -> Iterator[FileLog]:
    """An open, empty log in *data*."""
    log, _ = opened(data)
    yield log
    log.close()


def three_writes(data: Path) -> tuple[bytes, list[int]]:
    """A journal of three writes (one line, three lines, one line), and where each of them ends."""
    log, _ = opened(data)
    ends = []
    for names in (["a"], ["b", "c", "d"], ["e"]):
        write(log, *names)
        ends.append((data / JOURNAL).stat().st_size)
    log.close()
    return (data / JOURNAL).read_bytes(), ends


@pytest.mark.parametrize("last", [["a"], ["a", "b", "c"]])
def test_a_write_torn_at_any_byte_is_cut_and_kept_aside(data: Path, last: list[str]) -> None:
    """Whatever part of the last write is there, the writes before it are read, and the part goes to corrupt/."""
    log, _ = opened(data)
    write(log, "before")
    start = (data / JOURNAL).stat().st_size
    write(log, *last)
    log.close()
    whole = (data / JOURNAL).read_bytes()
    for size in range(start, len(whole)):
        (data / JOURNAL).write_bytes(whole[:size])
        assert ids(data) == ["before"], size
        assert (data / JOURNAL).read_bytes() == whole[:start], size
        kept = list((data / "corrupt").iterdir()) if size > start else []
        assert [path.read_bytes() for path in kept] == ([whole[start:size]] if size > start else []), size
        for path in kept:
            path.unlink()


def test_a_tail_torn_by_another_process_is_cut_by_the_next_write(data: Path, log: FileLog) -> None:
    """A living process finds the torn write of one that died, cuts it under the lock, and writes on."""
    write(log, "a")
    whole = (data / JOURNAL).read_bytes()
    with (data / JOURNAL).open("ab") as journal:
        journal.write(lines.encode(2, [draft("torn"), draft("torn too")])[:-20])
    assert list(log.read(1)) == list(log.read(1))
    write(log, "b")
    assert [line["id"] for _, line in log.read(0)] == ["a", "b"]
    assert (data / JOURNAL).read_bytes() == whole + lines.encode(2, [draft("b")])


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
def test_a_flipped_byte_anywhere_is_never_a_silent_loss(data: Path, mask: int) -> None:
    """Damage before the last write refuses to open, naming file and line; in the last write it cuts that alone."""
    whole, ends = three_writes(data)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= mask
        (data / JOURNAL).write_bytes(damaged)
        line = whole[:position].count(b"\n") + 1
        if position < ends[1]:
            with pytest.raises(StoreDamaged) as caught:
                ids(data)
            assert (caught.value.path, caught.value.line) == (data / JOURNAL, line), position
            assert (data / JOURNAL).read_bytes() == damaged, position
        else:
            assert ids(data) == ["a", "b", "c", "d"], position
            (kept,) = (data / "corrupt").iterdir()
            assert kept.read_bytes() == damaged[ends[1] :], position
            kept.unlink()


def test_a_missing_line_is_damage(data: Path) -> None:
    """A write that vanished from the middle is noticed by its number."""
    whole, ends = three_writes(data)
    (data / JOURNAL).write_bytes(whole[: ends[0]] + whole[ends[1] :])
    with pytest.raises(StoreDamaged, match=r"journal-0-0000.jsonl:2: line 2 is missing; here is 5"):
        ids(data)


def test_damage_that_appears_later_is_named_by_fetch_and_stops_writing(data: Path, log: FileLog) -> None:
    """A line that was read once and cannot be read again is named."""
    write(log, "a")
    write(log, "b")
    entries = list(log.read(0))
    damaged = bytearray((data / JOURNAL).read_bytes())
    damaged[-40] ^= 1
    (data / JOURNAL).write_bytes(damaged)
    with pytest.raises(StoreDamaged, match=r"journal-0-0000.jsonl:2: the line is damaged"):
        log.fetch(entries[1][0])


def test_it_never_starts_empty_by_default(data: Path) -> None:
    """A journal without its manifest, or a manifest without its journal, is not taken for a new store."""
    three_writes(data)
    there = (data / "MANIFEST.json").read_bytes()
    (data / "MANIFEST.json").unlink()
    with pytest.raises(StoreDamaged, match=r"MANIFEST.json:1: the manifest is missing, but there is journal-0-0000"):
        ids(data)
    (data / "MANIFEST.json").write_bytes(there.replace(b"journal", b"jOurnal"))
    with pytest.raises(StoreDamaged, match=r"MANIFEST.json:1: the manifest is damaged"):
        ids(data)
    (data / "MANIFEST.json").write_bytes(there)
    (data / JOURNAL).unlink()
    with pytest.raises(StoreDamaged, match=r"MANIFEST.json:1: a file that it names is missing"):
        ids(data)


def test_a_full_disk_leaves_nothing_half_written(data: Path, log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write and ENOSPC are cut off again and answered as `no_space`; later writes go on."""
    write(log, "a")
    before = (data / JOURNAL).read_bytes()
    for broken in (short_write(30), failing(errno.ENOSPC)):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", broken)
            with pytest.raises(StoreUnavailable, match="No space left") as caught:
                write(log, "b")
        assert (caught.value.reason, (data / JOURNAL).read_bytes()) == ("no_space", before)
    write(log, "c")
    assert ids(data) == ["a", "c"]


def test_a_failed_fdatasync_is_never_tried_again(data: Path, log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is cut, this process writes no more, and the next one goes on in a new segment."""
    write(log, "a")
    before = (data / JOURNAL).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(errno.EIO))
        with pytest.raises(StoreUnavailable, match="could not be made durable") as caught:
            write(log, "b")
    assert (caught.value.reason, (data / JOURNAL).read_bytes()) == ("write_failed", before)
    with pytest.raises(StoreUnavailable, match="could not be made durable"):
        write(log, "c")
    successor, found = opened(data)
    write(successor, "d")
    successor.close()
    assert (found, ids(data)) == (["a", ""], ["a", "", "d"])
    assert (data / "journal-0-0001.jsonl").read_bytes() == lines.encode(3, [draft("d")])


def test_who_read_a_write_that_was_cut_stops(data: Path, log: FileLog) -> None:
    """A process that saw a write which its author could not make durable goes no further with it in memory."""
    write(log, "a")
    size = (data / JOURNAL).stat().st_size
    with (data / JOURNAL).open("ab") as journal:
        journal.write(lines.encode(2, [draft("phantom")]))
    assert [line["id"] for _, line in log.read(0)] == ["a", "phantom"]
    os.truncate(data / JOURNAL, size)
    for call in (lambda: list(log.read(2)), lambda: write(log, "b")):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert caught.value.reason == "journal_cut"


def test_what_a_dead_writer_left_is_made_durable_before_it_is_relied_on(
    data: Path, log: FileLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that writes nothing still syncs what another process wrote and may not have synced."""
    synced: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", synced.append)
        log.transact(list)
        log.transact(list)
        assert len(synced) == 1
        with (data / JOURNAL).open("ab") as journal:
            journal.write(lines.encode(1, [draft("a")]))
        log.transact(list)
        assert len(synced) == 2


def test_a_lock_that_cannot_be_signed_is_given_back(data: Path, log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk too full for the name of the lock's holder writers still write in turn, and none keeps the lock."""
    other, _ = opened(data)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.ENOSPC))
        write(log, "a")
        write(other, "b")
    write(log, "c")
    assert ids(data) == ["a", "b", "c"]
    other.close()


def test_a_fault_of_the_disk_while_deciding_is_told_as_one(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the operating system refuses under the lock, the caller gets an error of the store."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", failing(errno.EIO))
        with pytest.raises(StoreUnavailable) as caught:
            log.transact(lambda: [draft(str(log.free()))])
    assert caught.value.reason == "not_writable"
    write(log, "a")
