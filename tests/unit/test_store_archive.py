"""E-mails that leave the log for the archive, while somebody changes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from service.email.record import Change, Email
from service.store import compaction, lines
from service.store.errors import EmailArchived
from service.store.filelog import FileLog
from service.store.store import Store
from tests.unit.store_emails import NOW, cancel, email, opened


def compact(folder: Path, *, after: timedelta = timedelta(days=3)) -> int:
    """Archive what was over for a day, some days later; how many e-mails that were."""
    done = compaction.compact(folder, now=lambda: NOW + after, retention=timedelta(days=1))
    assert done is not None
    return done.archived


def archived(folder: Path) -> list[str]:
    """The ids in all archives."""
    found = [
        lines.unseal(raw) for path in sorted(folder.glob("archive-*")) for raw in path.read_bytes().split(b"\n")[:-1]
    ]
    return [line["id"] for line in found if line is not None]


def touch(current: Email) -> Change | None:
    """A change that may come however late, such as a bounce."""
    return Change("email.touched", replace(current.state, reason="touched"))


async def test_a_process_with_the_store_open_changes_nothing_that_was_archived(tmp_path: Path) -> None:
    """Its line would have no beginning: whoever opened the store would find an e-mail without a content."""
    async with opened(tmp_path) as store:
        await store.accept([email("1"), email("2")])
        await store.change("em_1", cancel)
        assert compact(tmp_path) == 1
        with pytest.raises(EmailArchived, match="archive"):
            await store.change("em_1", touch)
        assert await store.write(lambda t: t.get("em_1")) is None
        await store.change("em_2", cancel)
        await store.change("em_2", touch)
        await store.accept([email("3")])
    async with opened(tmp_path) as store:
        assert (store.get("em_1"), store.get("em_3")) == (None, email("3"))


async def test_what_leaves_is_settled_before_it_is_read_again(tmp_path: Path) -> None:
    """A change between the last look of a compaction and its end would be lost: it is refused from the seal on."""
    async with opened(tmp_path) as store:
        await store.accept([email("1"), email("2")])
        await store.change("em_1", cancel)
        await store.change("em_2", cancel)
        log = FileLog.open(tmp_path, now=lambda: NOW)
        list(log.load())
        log.seal("2026-11-24T12:00:00.000001Z")
        log.close()
        with pytest.raises(EmailArchived, match="archive"):
            await store.change("em_1", touch)
    async with opened(tmp_path) as store:
        with pytest.raises(EmailArchived, match="archive"):
            await store.change("em_2", touch)


async def test_retention_counts_from_the_last_change_of_a_merged_e_mail(tmp_path: Path) -> None:
    """A merged line has the moment of the accept, which may have been months before the e-mail was over."""
    store = await Store.open(tmp_path, now=lambda: NOW + timedelta(days=3), min_free=0)
    await store.accept([email("1")])
    await store.change("em_1", cancel)
    await store.close()
    assert [compact(tmp_path), compact(tmp_path)] == [0, 0]
    assert compact(tmp_path, after=timedelta(days=5)) == 1
    assert archived(tmp_path) == ["em_1"]


async def test_an_archive_that_was_cut_short_takes_whole_lines(tmp_path: Path) -> None:
    """A crash leaves a part of a line; the next one does not begin behind it."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        await store.change("em_1", cancel)
    (tmp_path / "archive-2026-11.jsonl").write_bytes(b'{"at":"2026-11-2')
    assert compact(tmp_path) == 1
    assert archived(tmp_path) == ["em_1"]
