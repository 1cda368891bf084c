"""Export and import: nothing is lost on the way, nothing bad is taken, and what broke off can be done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.email import edits
from service.email.edits import Edit
from service.email.ids import new_email_id
from service.email.record import Attachment, Email
from service.store import compaction, importing
from service.store.errors import StoreDamaged, StoreUnavailable
from service.store.exporting import export
from service.store.idempotency import Key
from service.store.importing import Imported, ImportRefused, import_lines
from service.store.listing import Filter
from service.store.store import Store
from tests.unit.store_emails import NOW, begin, cancel, email, opened


def now() -> Any:
    """Noon."""
    return NOW


def proper(store: Store | None = None, file: bytes | None = None) -> Email:
    """A new e-mail under a real id; with a file, if *file*."""
    made = replace(email("x"), id=new_email_id())
    if file is None or store is None:
        return made
    attachment = Attachment("a.txt", "text/plain", len(file), store.put_blob(file), "c1")
    return replace(made, content=replace(made.content, attachments=(attachment,)))


async def filled(directory: Path) -> list[str]:
    """A store of everything there is; the ids of its e-mails."""
    async with opened(directory) as store:
        made = [proper(store, b"file"), *(proper() for _ in range(5))]
        await store.accept(made[:4])
        await store.accept_once(made[4:], Key("k", "digest"), {"errors": [1]})
        ids = [one.id for one in made]
        await store.change(ids[1], begin)
        await store.change(ids[2], cancel)
        await store.change(ids[3], lambda it: edits.edit(it, Edit(content=replace(it.content, subject="Ä <b>"))))
        await store.change(ids[4], cancel)
        await store.write(lambda t: t.put("template", "t", {"text": "one"}, type="template.created"))
        await store.write(lambda t: t.put("template", "t", {"text": "two"}, type="template.updated"))
        await store.write(lambda t: t.put("key", "k1", {"sha256": "ab" * 32}, type="key.created"))
        sha = store.put_blob(b"scheduled")
        await store.write(lambda t: t.put("schedule", "s", {"files": [{"sha256": sha}]}, type="schedule.created"))
    return ids


def exported(directory: Path) -> list[bytes]:
    """The export of the store in *directory*."""
    return list(export(directory, now=now))


def imported(directory: Path, lines: list[bytes]) -> Imported:
    """Import *lines*."""
    return import_lines(directory, lines, now=now)


async def told(directory: Path, ids: list[str]) -> dict[str, Any]:
    """All that a store says, but for the numbers of its lines."""
    async with opened(directory) as store:
        kinds = ("template", "key", "schedule")
        return {
            "emails": store.page(Filter(), 100).data,
            "events": [[replace(event, seq=0) for event in store.events(one)] for one in ids],
            "documents": [store.documents(kind) for kind in kinds],
            "key": store.key("k", NOW),
            "replay": await store.accept_once([proper()], Key("k", "digest")),
            "due": sorted(one.id for one in store.due_before(NOW.replace(year=2030), 100)),
        }


@pytest.mark.parametrize("compacted", [False, True])
async def test_an_import_is_what_was_exported(tmp_path: Path, compacted: bool) -> None:
    """Records, events, documents, keys and files are the same, and so is the export of the import."""
    ids = await filled(tmp_path / "1")
    if compacted:
        compaction.compact(tmp_path / "1", now=now)
    lines = exported(tmp_path / "1")
    assert imported(tmp_path / "2", lines) == Imported(emails=6, documents=3, files=2, skipped=0)
    assert exported(tmp_path / "2") == lines
    compaction.compact(tmp_path / "2", now=now)
    assert exported(tmp_path / "2") == lines
    assert await told(tmp_path / "2", ids) == await told(tmp_path / "1", ids)
    async with opened(tmp_path / "2") as store:
        (file,) = store.page(Filter(), 100).data[-1].content.attachments
        assert store.blob(file.sha256) == b"file"
        await store.change(ids[0], cancel)
        assert [event.type for event in store.events(ids[0])] == ["email.scheduled", "email.cancelled"]


async def test_an_import_that_broke_off_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks before a bad line stay, its own does not; the same lines again add what is missing and nothing twice."""
    await filled(tmp_path / "1")
    lines = exported(tmp_path / "1")
    monkeypatch.setattr(importing, "MOST_LINES", 2)
    bad = [*lines[:-2], b'{"object":"email"}\n', lines[-1]]
    with pytest.raises(ImportRefused, match=f"line {len(lines) - 1}: id: Field required"):
        imported(tmp_path / "2", bad)
    done = imported(tmp_path / "2", lines)
    assert (done.emails + done.documents, done.skipped) == (1, 8)
    assert exported(tmp_path / "2") == lines
    assert imported(tmp_path / "2", lines) == Imported(emails=0, documents=0, files=2, skipped=9)


async def test_another_record_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """What the store has is not overwritten; a chunk with such a line is not taken at all."""
    ids = await filled(tmp_path / "1")
    lines = exported(tmp_path / "1")
    imported(tmp_path / "2", lines)
    async with opened(tmp_path / "2") as store:
        await store.change(ids[5], cancel)
        before = store.seq
    with pytest.raises(ImportRefused, match=rf"line {len(lines) - 1}: {ids[5]} is there already, and says something"):
        imported(tmp_path / "2", lines)
    with pytest.raises(ImportRefused, match=f"{ids[5]} is there already"):
        imported(tmp_path / "3", [*lines[:-1], lines[-2], lines[-1].replace(b"12", b"13")])
    async with opened(tmp_path / "2") as store, opened(tmp_path / "3") as other:
        assert (store.seq, other.seq) == (before, 0)


def changed(line: bytes, path: str, value: object) -> bytes:
    """*line* with something else at a dotted path; what it says that is `...` is taken out."""
    document = orjson.loads(line)
    *above, last = path.split(".")
    place = document
    for name in above:
        place = place[int(name) if isinstance(place, list) else name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return orjson.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("id", "em_1", "id: is not the id of an e-mail"),
        ("rev", 0, "rev: Input should be greater than or equal to 1"),
        ("rev", "1", "rev: Input should be a valid integer"),
        ("created_at", "2026-11-24", "created_at: Value error, must be a time"),
        ("content.subject", 5, "content.subject: Input should be a valid string"),
        ("content.subject", ..., "content: lacks 'subject'"),
        ("content.more", 1, "content: is not as the store writes it"),
        ("state.status", "sent", "state: 'sent' is not a valid Status"),
        ("state.scheduled_at", "now", "state: "),
        ("events", [], "events: List should have at least 1 item"),
        ("events.0.at", "soon", "events.0.at: Value error, must be a time"),
        ("key", ["k", "d"], "first: goes with a key"),
        ("more", 1, "more: Extra inputs are not permitted"),
        ("content.attachments", [{"filename": "a", "content_type": "b", "size": 1, "sha256": "ab" * 32,
                                  "content_id": None}], "the file abab"),
    ],
)  # fmt: skip
async def test_a_bad_line_is_named(tmp_path: Path, path: str, value: object, why: str) -> None:
    """The number of the line, the field, and what is wrong with it; nothing of its chunk is taken."""
    async with opened(tmp_path / "1") as store:
        await store.accept([proper()])
    header, line, end = exported(tmp_path / "1")
    with pytest.raises(ImportRefused) as caught:
        imported(tmp_path / "2", [header, changed(line, path, value), end])
    assert str(caught.value).startswith(f"line 2: {why}")
    async with opened(tmp_path / "2") as store:
        assert store.seq == 0


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (lambda lines: lines[:-1], "line 3: the export is cut short"),
        (lambda lines: [], "line 1: the export is cut short"),
        (lambda lines: lines[1:], "line 1: an export begins with its header"),
        (lambda lines: [lines[0], *lines], "line 2: an export begins with its header"),
        (lambda lines: [*lines, lines[1]], "line 4: an export begins with its header and ends with its end"),
        (lambda lines: [lines[0], lines[2]], "line 2: there should be 2 lines before this one"),
        (lambda lines: [lines[0], b"{", *lines[1:]], "line 2: is not JSON"),
        (lambda lines: [lines[0], b"[]", *lines[1:]], "line 2: is not an object of an export"),
        (lambda lines: [lines[0], b'{"object":"file","sha256":"0","data":"AA=="}'], "line 2: data: does not have this"),
        (lambda lines: [lines[0], b'{"object":"file","sha256":"0","data":"?"}'], "line 2: data: is not base64"),
        (lambda lines: [changed(lines[0], "format", 2), *lines[1:]], "line 1: format: Input should be 1"),
    ],
)
async def test_what_is_no_export_is_refused(
    tmp_path: Path, alter: Callable[[list[bytes]], list[bytes]], why: str
) -> None:
    """Its order, its length and its form are checked."""
    async with opened(tmp_path / "1") as store:
        await store.accept([proper()])
    with pytest.raises(ImportRefused) as caught:
        imported(tmp_path / "2", alter(exported(tmp_path / "1")))
    assert str(caught.value).startswith(why)


async def test_an_import_leaves_room_and_an_export_needs_a_store(tmp_path: Path) -> None:
    """A disk that would be too full afterwards is not filled; a folder without a store is not made one."""
    await filled(tmp_path / "1")
    with pytest.raises(StoreUnavailable, match="bytes of disk are left"):
        import_lines(tmp_path / "2", exported(tmp_path / "1"), now=now, min_free=1 << 62)
    (tmp_path / "3").mkdir()
    with pytest.raises(StoreDamaged, match="there is no manifest"):
        exported(tmp_path / "3")


async def test_a_missing_file_stops_the_export(tmp_path: Path) -> None:
    """An export without the file of an e-mail would not be lossless."""
    await filled(tmp_path / "1")
    async with opened(tmp_path / "1") as store:
        (file,) = store.page(Filter(), 100).data[-1].content.attachments
    (tmp_path / "1" / "blobs" / file.sha256[:2] / file.sha256).unlink()
    with pytest.raises(StoreDamaged, match="an e-mail names this file, and it is not there"):
        exported(tmp_path / "1")
