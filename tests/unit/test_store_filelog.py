"""FileLog: what is written is read again, by every process, whatever the last writer left behind."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.store import lines, manifest
from service.store.cursor import SEALED, SNAPSHOT
from service.store.errors import StoreDamaged, StoreUnavailable
from service.store.filelog import FileLog
from service.store.log import Draft
from service.store.manifest import Manifest

AT = "2026-11-24T09:00:00.000000Z"
JOURNAL = "journal-0-0000.jsonl"


def now() -> datetime:
    """The one moment at which these tests happen."""
    return datetime(2026, 11, 24, 9, tzinfo=UTC)


def draft(name: str, rev: int = 1) -> Draft:
    """A line about the record *name*."""
    return Draft(AT, name, rev, "test", {"text": name})


def opened(directory: Path) -> tuple[FileLog, list[str]]:
    """The log in *directory* with the ids of its lines."""
    log = FileLog.open(directory, now=now, lock_timeout=timedelta(seconds=0.2))
    try:
        return log, [line["id"] for _, line in log.load()]
    except BaseException:
        log.close()
        raise


def ids(directory: Path) -> list[str]:
    """The ids of the lines of the log in *directory*, as a new process reads them."""
    log, found = opened(directory)
    log.close()
    return found


def write(log: FileLog, *names: str) -> None:
    """One write with a line for each of *names*."""
    log.transact(lambda: [draft(name) for name in names])


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


def test_an_empty_directory_becomes_a_private_log(data: Path, log: FileLog) -> None:
    """Opening makes the folders (0700) and the files (0600), and an id that the next opening finds again."""
    other, found = opened(data)
    assert (found, other.id, len(log.id)) == ([], log.id, 16)
    assert other.by != log.by
    other.close()
    modes = {path.relative_to(data).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in data.rglob("*")}
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert modes == {
        "LOCK": 0o600,
        "MANIFEST.json": 0o600,
        JOURNAL: 0o600,
        "procs": 0o700,
        f"procs/{log.by}": 0o600,
    }


def test_lines_have_the_documented_form(data: Path, log: FileLog) -> None:
    """A write numbers its lines, marks the last one with `end`, and ends each with the crc of what is before it."""
    log.transact(lambda: [Draft(AT, "a", 1, "x.y", {"n": 1}), Draft(AT, "b", 2, "x.z", {})])
    bodies = [
        b'{"seq":1,"at":"2026-11-24T09:00:00.000000Z","id":"a","rev":1,"type":"x.y","data":{"n":1}',
        b'{"seq":2,"at":"2026-11-24T09:00:00.000000Z","id":"b","rev":2,"type":"x.z","data":{},"end":1',
    ]
    expected = b"".join(body + f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode() for body in bodies)
    assert (data / JOURNAL).read_bytes() == expected


def test_a_reader_goes_on_where_it_was(data: Path, log: FileLog) -> None:
    """`read(after)` answers what is new; an older *after* reads again; `fetch` finds each line by its reference."""
    write(log, "a")
    write(log, "b", "c")
    entries = list(log.read(0))
    assert [line["id"] for _, line in entries] == ["a", "b", "c"]
    assert [log.fetch(ref) for ref, _ in entries] == [line for _, line in entries]
    assert list(log.read(3)) == []
    write(log, "d")
    assert [line["id"] for _, line in log.read(3)] == ["d"]
    assert [line["id"] for _, line in log.read(1)] == ["b", "c", "d"]


def test_a_line_longer_than_a_block_of_reading_is_found(log: FileLog) -> None:
    """Lines of any length are read and fetched as a whole."""
    text = "x" * 5_000_000
    log.transact(lambda: [Draft(AT, "big", 1, "test", {"text": text}), draft("small")])
    (ref, _), _ = entries = list(log.read(0))
    assert [line["id"] for _, line in entries] == ["big", "small"]
    assert log.fetch(ref)["data"] == {"text": text}


def test_two_logs_see_each_other(data: Path, log: FileLog) -> None:
    """Each transaction sees what another process wrote before it, and numbers go on from there."""
    other, _ = opened(data)
    write(log, "a")
    seen: list[str] = []

    def decide() -> list[Draft]:
        seen.extend(line["id"] for _, line in other.read(0))
        return [draft("b")]

    other.transact(decide)
    other.close()
    assert (seen, [(line["seq"], line["id"]) for _, line in log.read(0)]) == (["a"], [(1, "a"), (2, "b")])
    assert not log.alive(other.by)


def test_waiting_ends_with_a_new_line(data: Path, log: FileLog) -> None:
    """`wait` answers whether there is something after a line."""
    other, _ = opened(data)
    assert not log.wait(0, 0)
    write(other, "a")
    assert log.wait(0, 5)
    assert [line["id"] for _, line in log.read(0)] == ["a"]
    assert (log.wait(0, 0), log.wait(1, 0)) == (True, False)
    other.close()


def test_an_error_of_decide_writes_nothing(data: Path, log: FileLog) -> None:
    """What `decide` raises comes out, the lock is free again, and nothing was written."""

    def decide() -> list[Draft]:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        log.transact(decide)
    write(log, "a")
    assert ids(data) == ["a"]


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


def test_reading_follows_sealed_segments(data: Path, log: FileLog) -> None:
    """A `sealed` line leads to the next segment, for who reads from the start and for who is reading and writing."""
    write(log, "a")
    journal = data / JOURNAL
    (data / "journal-0-0001.jsonl").touch()
    with journal.open("ab") as file:
        file.write(lines.encode(2, [Draft(AT, "", 0, SEALED, {"next": "journal-0-0001.jsonl"})]))
    write(log, "b")
    assert (data / "journal-0-0001.jsonl").read_bytes() == lines.encode(3, [draft("b")])
    assert [line["id"] for _, line in log.read(0)] == ["a", "", "b"]
    assert ids(data) == ["a", "", "b"]

    journal.write_bytes(lines.encode(1, [draft("a")]))
    with pytest.raises(StoreDamaged, match=r"journal-0-0000.jsonl:2: the line that leads to the next segment is"):
        ids(data)
    journal.write_bytes(lines.encode(1, [draft("a")]) + b'{"seq":2,')
    with pytest.raises(StoreDamaged, match=r"journal-0-0000.jsonl:2: the segment is cut short, and another one"):
        ids(data)


def snapshot(data: Path, drafts: bytes) -> None:
    """A data directory whose journal goes on from line 9 of a snapshot."""
    data.mkdir(parents=True)
    (data / "snapshot-1.jsonl").write_bytes(drafts)
    (data / "journal-1-0000.jsonl").write_bytes(lines.encode(10, [draft("c")]))
    manifest.write(data, Manifest("id", "snapshot-1.jsonl", 9, "journal-1-0000.jsonl"))


def snapshot_lines(*numbers: int, last: str = SNAPSHOT) -> bytes:
    """The lines of a snapshot: a record for each number but the last."""
    return b"".join(
        lines.seal({"seq": number, "at": AT, "id": str(number), "rev": 1, "type": "test", "data": {}})
        for number in numbers[:-1]
    ) + lines.encode(numbers[-1], [Draft(AT, "", 0, last, {})])


def test_a_snapshot_comes_before_the_journal(data: Path) -> None:
    """Reading begins with the snapshot, whose numbers have gaps, and goes on with the journal after it."""
    snapshot(data, snapshot_lines(2, 5, 9))
    log, found = opened(data)
    assert found == ["2", "5", "", "c"]
    write(log, "d")
    assert [line["seq"] for _, line in log.read(10)] == [11]
    log.close()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 1),
        (snapshot_lines(2, 5, 9)[:-1], 3),
        (snapshot_lines(2, 5, 9) + b"x", 4),
        (snapshot_lines(2, 5, 9) + snapshot_lines(2, 5, 9), 4),
        (snapshot_lines(5, 2, 9), 2),
        (snapshot_lines(2, 5, 8), 4),
        (snapshot_lines(2, 5, 10), 3),
        (snapshot_lines(2, 5, 9, last="test"), 4),
        (snapshot_lines(2, 5, 9).replace(b'"5"', b'"6"'), 2),
    ],
)
def test_a_damaged_snapshot_is_named(data: Path, content: bytes, line: int) -> None:
    """A snapshot is whole, in order, and reaches the line that the manifest says, or it is damage."""
    snapshot(data, content)
    with pytest.raises(StoreDamaged) as caught:
        ids(data)
    assert (caught.value.path, caught.value.line) == (data / "snapshot-1.jsonl", line)


def short_write(keep: int) -> Callable[[int, bytes], int]:
    """An `os.write` that writes *keep* bytes and stops there, as on a full disk."""
    real = os.write
    return lambda fd, content: real(fd, content[:keep])


def failing(number: int) -> Callable[..., int]:
    """A system call that fails with *number*."""

    def call(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return call


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


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The answer says which path, and what the system said."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"/file: Not a directory") as caught:
        opened(tmp_path / "file" / "data")
    assert caught.value.reason == "not_writable"
