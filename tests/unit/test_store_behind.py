"""A process that slept through compactions whose files are gone by now: it reads and writes nothing any more."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from service.store import compaction, snapshots
from service.store.errors import StoreUnavailable
from service.store.filelog import FileLog
from service.store.store import Store
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


async def test_a_store_that_lost_its_place_does_not_go_on_with_half_of_what_happened(tmp_path: Path) -> None:
    """Reading on from a snapshot would miss what it merged into lines that were read: an e-mail would look unsent."""
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
