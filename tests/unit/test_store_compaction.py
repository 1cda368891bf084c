"""Compaction: fewer lines that say the same, for who opens the log then and for who has it open."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from service.email import edits
from service.email.edits import Edit
from service.email.record import Attachment, Email
from service.store import compaction, snapshots
from service.store.compaction import Compacted
from service.store.filelog import FileLog
from service.store.idempotency import Key
from service.store.index import FEWEST_LINES, Index
from service.store.listing import Filter
from service.store.log import COMPACTED, Draft
from service.store.records import Event
from service.store.store import Store
from tests.unit.store_emails import NOW, begin, cancel, email, opened
from tests.unit.store_logs import failing, write
from tests.unit.store_logs import opened as opened_log

EVERYTHING = Filter()


async def filled(store: Store) -> list[Email]:
    """A store with some e-mails in different states, documents, a key and a note; the e-mails as they are."""
    await store.accept([email(str(n)) for n in range(4)])
    await store.accept_once([email("4"), email("5")], Key("k", "digest"), {"errors": []})
    await store.change("em_1", begin)
    await store.change("em_2", cancel)
    await store.change("em_3", lambda it: edits.edit(it, Edit(content=replace(it.content, subject="Better"))))
    await store.change("em_4", cancel)
    await store.write(lambda t: t.put("template", "t", {"text": "one"}, type="template.created"))
    await store.write(lambda t: t.put("template", "t", {"text": "two"}, type="template.updated"))
    await store.write(lambda t: t.put("template", "gone", {}, type="template.created"))
    await store.write(lambda t: t.delete("template", "gone", type="template.deleted"))
    await store.write(lambda t: t.note("key:k", "audit.login", {}))
    return store.page(EVERYTHING, 100).data


def compact(folder: Path, retention: timedelta | None = None) -> Compacted | None:
    """Compact the store in *folder* in this process."""
    return compaction.compact(folder, now=lambda: NOW, retention=retention)


def histories(store: Store, ids: Iterable[str]) -> list[list[Event]]:
    """The events of each e-mail."""
    return [store.events(email_id) for email_id in ids]


async def test_a_compacted_store_says_the_same(tmp_path: Path) -> None:
    """Records, their order and histories, documents and keys are as they were; there is a line for each."""
    async with opened(tmp_path) as store:
        emails = await filled(store)
        before = histories(store, [one.id for one in emails])
        document = store.document("template", "t")
    done = compact(tmp_path)
    assert done == Compacted(lines_before=16, lines=8, archived=0, files=0)
    async with opened(tmp_path) as store:
        page = store.page(EVERYTHING, 100)
        assert page.data == emails
        assert histories(store, [one.id for one in emails]) == before
        assert store.document("template", "t") == document
        assert (store.has("template", "gone"), store.count("template")) == (False, 1)
        again = await store.accept_once([email("9")], Key("k", "digest"))
        assert (again.replayed, again.emails, again.extra) == (True, [email("4"), email("5")], {"errors": []})
        changed = await store.change("em_0", cancel)
        assert (changed.rev, [event.rev for event in store.events("em_0")]) == (2, [1, 2])
        assert store.events("em_1")[-1].type == "email.sending"


async def test_a_request_that_comes_again_is_answered_as_the_first_time(tmp_path: Path) -> None:
    """Though its e-mail was edited, and its lines were merged, and merged again."""
    key = Key("k", "digest")
    async with opened(tmp_path) as store:
        await store.accept_once([email("1")], key)
        for subject in ("Better", "Best"):
            content = replace(email("1").content, subject=subject)
            await store.change("em_1", partial(edits.edit, edit=Edit(content=content)))
            compact(tmp_path)
    compact(tmp_path)
    async with opened(tmp_path) as store:
        found = store.get("em_1")
        assert found is not None
        assert (found.rev, found.content.subject) == (3, "Best")
        assert (await store.accept_once([email("1")], key)).emails == [email("1")]


async def test_compacting_again_changes_nothing_but_the_files(tmp_path: Path) -> None:
    """A line that was merged is merged again, with what came since."""
    async with opened(tmp_path) as store:
        emails = await filled(store)
        compact(tmp_path)
        await store.change("em_5", cancel)
        before = histories(store, [one.id for one in emails])
    for _ in "12":
        compact(tmp_path)
    async with opened(tmp_path) as store:
        assert histories(store, [one.id for one in emails]) == before
        assert [event.type for event in store.events("em_5")] == ["email.scheduled", "email.cancelled"]


async def test_who_has_the_log_open_goes_on(tmp_path: Path) -> None:
    """Two stores write on and read each other's lines over any number of compactions, and then old files may go."""
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        await one.accept([email("1")])
        for n in range(2, 6):
            assert compact(tmp_path) is not None
            await (one if n % 2 else other).accept([email(str(n))])
            assert one.get(f"em_{n}") == other.get(f"em_{n}") == email(str(n))
        await other.change("em_1", cancel)
        log = FileLog.open(tmp_path, now=lambda: NOW)
        log.close()
        assert (one.get("em_1"), one.seq) == (other.get("em_1"), other.seq)
    async with opened(tmp_path) as store:
        assert [each.id for each in store.page(EVERYTHING, 9).data] == ["em_5", "em_4", "em_3", "em_2", "em_1"]


async def test_events_from_before_are_gone_from_the_stream(tmp_path: Path) -> None:
    """Who opens the store afterwards can follow only what came after, and is told so; e-mails keep their own."""
    async with opened(tmp_path) as store:
        await filled(store)
    compact(tmp_path)
    async with opened(tmp_path) as store:
        await store.change("em_0", cancel)
        found = store.read_events(3, 100)
        assert ([event.type for event in found.events], found.reset) == (["email.cancelled"], True)
        assert store.read_events(found.last, 100).reset is False


async def test_files_that_were_replaced_go_later(tmp_path: Path) -> None:
    """An hour later, with the next compaction, and not before; what is in use stays."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
    compact(tmp_path)
    assert compact(tmp_path) is not None
    old = {"journal-0-0000.jsonl", "journal-1-0000.jsonl", "snapshot-1.jsonl"}
    assert files(tmp_path) == old | {"journal-2-0000.jsonl", "snapshot-2.jsonl"}
    for name in old:
        os.utime(tmp_path / name, (0, 0))
    compact(tmp_path)
    assert files(tmp_path) == {"journal-2-0000.jsonl", "snapshot-2.jsonl", "journal-3-0000.jsonl", "snapshot-3.jsonl"}


async def test_an_hour_counts_from_when_a_file_was_replaced(tmp_path: Path) -> None:
    """However old it is: somebody may have begun to read it a moment ago."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
    compact(tmp_path)
    os.utime(tmp_path / "snapshot-1.jsonl", (0, 0))
    for _ in "12":
        compact(tmp_path)
    assert "snapshot-1.jsonl" in files(tmp_path)


def test_a_snapshot_that_could_not_be_finished_leaves_its_room_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk it is what fills it; what a compaction left that was killed goes with the next one."""
    compact(tmp_path)
    (tmp_path / "snapshot-9.jsonl.tmp").touch()
    compact(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing(errno.ENOSPC))
        with pytest.raises(OSError, match="No space left"):
            snapshots.write(tmp_path / "snapshot-9.jsonl", 1, "", [])
    assert not list(tmp_path.glob("*.tmp"))


async def test_old_final_emails_go_to_an_archive(tmp_path: Path) -> None:
    """Those that have been final for longer than they are kept; by the month of their last change."""
    async with opened(tmp_path) as store:
        await filled(store)
    assert compact(tmp_path, timedelta(days=1)) == Compacted(16, 8, 0, 0)
    done = compaction.compact(tmp_path, now=lambda: NOW + timedelta(days=2), retention=timedelta(days=1))
    assert done is not None
    assert (done.archived, done.lines) == (2, 6)
    archived = (tmp_path / "archive-2026-11.jsonl").read_text().splitlines()
    assert [line[:60].count("em_") for line in archived] == [1, 1]
    async with opened(tmp_path) as store:
        assert [each.id for each in store.page(EVERYTHING, 9).data] == ["em_5", "em_3", "em_1", "em_0"]
        assert store.get("em_2") is None


async def test_files_that_nothing_names_are_removed(tmp_path: Path) -> None:
    """A day after they were last asked for; those of an e-mail or of a document stay."""
    async with opened(tmp_path) as store:
        used, named, unused, fresh = (store.put_blob(data) for data in (b"used", b"named", b"unused", b"fresh"))
        content = replace(email("1").content, attachments=(Attachment("a", "text/plain", 4, used),))
        await store.accept([replace(email("1"), content=content)])
        await store.write(
            lambda t: t.put("schedule", "s", {"email": {"attachments": [{"sha256": named}]}}, type="schedule.created")
        )
    for name in (used, named, unused):
        os.utime(tmp_path / "blobs" / name[:2] / name, (0, 0))
    done = compact(tmp_path)
    assert done is not None
    assert done.files == 1
    async with opened(tmp_path) as store:
        assert [store.blob_size(name) for name in (used, named, unused, fresh)] == [4, 5, None, 5]


def files(folder: Path) -> set[str]:
    """The names of the snapshots and segments in *folder*."""
    return {path.name for path in folder.glob("*-?*.jsonl")}


class Dies(BaseException):
    """What a process dies of."""


@pytest.mark.parametrize("at", ["seal", "snapshot", "half a snapshot", "manifest", "compacted"])
async def test_a_compaction_that_dies_leaves_a_log_that_opens(
    tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it dies, the store says the same, is written on, and the next compaction succeeds."""

    def die(*_args: object, **_more: object) -> int:
        raise Dies

    def die_half_way(path: Path, seq: int, at_: str, merged: Iterable[tuple[int, Draft]]) -> int:
        path.with_name(path.name + ".tmp").write_bytes(b'{"seq":1,')
        raise Dies

    async with opened(tmp_path) as store:
        emails = await filled(store)
        with monkeypatch.context() as patch:
            if at == "seal":
                patch.setattr(FileLog, "compact", die)
            elif at == "snapshot":
                patch.setattr(snapshots, "write", die)
            elif at == "half a snapshot":
                patch.setattr(snapshots, "write", die_half_way)
            elif at == "manifest":
                patch.setattr("service.store.filelog.manifest.write", die)
            else:
                patch.setattr(FileLog, "_append", _dies_at_compacted(FileLog._append))
            with pytest.raises(Dies):
                compact(tmp_path)
        await store.accept([email("8")])
    async with opened(tmp_path) as store:
        assert store.page(EVERYTHING, 100).data == [email("8"), *emails]
    assert compact(tmp_path) is not None
    async with opened(tmp_path) as store:
        assert store.page(EVERYTHING, 100).data == [email("8"), *emails]


def _dies_at_compacted(append: Callable[[FileLog, Sequence[Draft]], None]) -> Callable[..., None]:
    def dying(log: FileLog, drafts: Sequence[Draft]) -> None:
        if drafts[0].type == COMPACTED:
            raise Dies
        append(log, drafts)

    return dying


async def test_one_compaction_at_a_time(tmp_path: Path) -> None:
    """While one is under way another does nothing."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        log = FileLog.open(tmp_path, now=lambda: NOW)
        assert log.lead(compaction.ROLE)
        assert compact(tmp_path) is None
        log.close()
        assert compact(tmp_path) is not None


def test_a_log_is_left_alone_until_it_has_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than twice as many lines as records, and many."""
    index = Index()
    found = [index.is_bloated]
    index.lines = FEWEST_LINES + 1
    found.append(index.is_bloated)
    monkeypatch.setattr(Index, "records", property(lambda _: index.lines))
    assert [*found, index.is_bloated] == [False, True, False]


async def test_lines_are_counted_from_the_last_compaction(tmp_path: Path) -> None:
    """Also by who had the log open all the while."""
    async with opened(tmp_path) as store:
        await filled(store)
        done = compact(tmp_path)
        assert done is not None
        await store.accept([email("7")])
        assert store.lines == done.lines + 2  # the line that tells of the compaction, and this one


def test_what_was_written_during_a_compaction_is_not_read_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be much, and whoever wants to write would wait for that."""
    (log, _), (other, _) = opened_log(tmp_path), opened_log(tmp_path)
    seq = log.seal()
    write(other, "a", "b")
    settle, seen = log._settle, []

    def watched() -> None:
        seen.append(log._tail.seq)
        settle()

    monkeypatch.setattr(log, "_settle", watched)
    log.compact(seq, [])
    assert seen == [seq + 2]
    log.close()
    other.close()
