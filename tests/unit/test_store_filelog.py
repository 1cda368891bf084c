"""FileLog: what is written is read again, by every process."""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store import lines, manifest
from service.store.cursor import SEALED
from service.store.errors import StoreDamaged, StoreUnavailable
from service.store.filelog import FileLog
from service.store.log import SNAPSHOT, Draft
from service.store.manifest import Manifest
from tests.unit.store_logs import AT, JOURNAL, draft, ids, opened, write


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


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The answer says which path, and what the system said."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"/file: Not a directory") as caught:
        opened(tmp_path / "file" / "data")
    assert caught.value.reason == "not_writable"


def test_a_part_of_a_write_is_not_news_again_and_again(tmp_path: Path) -> None:
    """Its writer may be dead: who waits is told once, and again when there is more or less of it."""
    log, _ = opened(tmp_path)
    write(log, "a")
    assert [line["id"] for _, line in log.read(0)] == ["a"]
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"seq":2,')
    told = log.wait(1, 0)
    assert (told, list(log.read(1)), log.wait(1, 0)) == (True, [], False)
    write(log, "b")
    assert (log.wait(1, 0), [line["id"] for _, line in log.read(1)], log.wait(2, 0)) == (True, ["b"], False)
    log.close()
