"""A process that slept through compactions whose files are gone by now: it reads and writes nothing any more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from service.store import compaction, snapshots, writer
from service.store.errors import StoreError, StoreUnavailable
from service.store.filelog import FileLog
from service.store.store import Store
from tests.conftest import wait_until
from tests.unit.store_emails import NOW, cancel, email, opened
from tests.unit.store_logs import ids, now, write
from tests.unit.store_logs import opened as opened_log


def compact_twice(folder: Path) -> None:
    """Leave the segment behind, and the one that it leads to; both are removed at once."""
    for _ in "12":
        compaction.compact(folder, now=lambda: NOW)
    log = FileLog.open(folder, now=now, lock_timeout=timedelta(seconds=0.2))
    snapshots.sweep(folder, log._open_start()[0], older_than=0)
    log.close()


def test_a_log_that_lost_its_place_writes_nothing_however_often_it_is_asked(tmp_path: Path) -> None:
    """Its last segment is sealed and removed: what it wrote there would be gone."""
    behind, _ = opened_log(tmp_path)
    write(behind, "a")
    compact_twice(tmp_path)
    for _ in "123":
        with pytest.raises(StoreUnavailable, match="slept through a compaction"):
            write(behind, "b")
    behind.close()
    assert "b" not in ids(tmp_path)


async def test_a_store_that_lost_its_place_does_not_go_on_with_half_of_what_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading on from a snapshot would miss what it merged into lines that were read: an e-mail would look unsent."""
    monkeypatch.setattr(writer, "_LOOK_S", 1000)
    behind = await Store.open(tmp_path, now=lambda: NOW, min_free=0)
    await behind.accept([email("1")])
    assert behind.get("em_1") == email("1")
    async with opened(tmp_path) as store:
        await store.change("em_1", cancel)
        await store.accept([email("2")])
    compact_twice(tmp_path)
    for _ in "123":
        with pytest.raises(StoreUnavailable, match="slept through a compaction"):
            behind.get("em_1")
    for _ in "123":
        with pytest.raises(StoreUnavailable, match="slept through a compaction"):
            await behind.accept([email("3")])
    await behind.close()


async def test_a_store_that_nobody_asks_follows_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle process does not sleep through compactions, and the first to ask does not wait for all that happened."""
    monkeypatch.setattr(writer, "_LOOK_S", 0.01)
    async with opened(tmp_path) as idle, opened(tmp_path) as busy:
        await busy.accept([email("1")])
        await wait_until(lambda: idle.seq == busy.seq)


async def test_a_store_that_nobody_writes_to_says_that_it_lost_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is replaced by a new process though it is only read from."""
    monkeypatch.setattr(writer, "_LOOK_S", 0.01)
    dead: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
    behind = await Store.open(tmp_path, now=lambda: NOW, min_free=0, on_dead=dead.set_result)
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        with behind._mutex:  # it is stopped meanwhile
            compact_twice(tmp_path)
    async with asyncio.timeout(10):
        assert "slept through a compaction" in str(await dead)
    assert behind.health().reason == "journal_cut"
    await behind.close()
