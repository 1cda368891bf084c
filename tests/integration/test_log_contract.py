"""Both logs keep the contract: the one in files, and one in memory; and the store works on either."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from service.store.filelog import FileLog
from service.store.index import Index
from service.store.listing import Filter
from service.store.log import Log
from service.store.store import Store
from tests.integration.log_contract import LogContract, Shared
from tests.integration.memory_log import Memory
from tests.unit.store_emails import NOW, begin, cancel, email
from tests.unit.store_logs import failing


class Files:
    """A folder that holds a log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> Log:
        """Open it, and put its end in order."""
        log = FileLog.open(self._folder, now=lambda: datetime(2026, 11, 24, tzinfo=UTC))
        for _ in log.load():
            pass
        return log

    @contextmanager
    def full(self) -> Iterator[None]:
        """The disk is full meanwhile."""
        with mock.patch.object(os, "write", failing(errno.ENOSPC)):
            yield


class TestFileLog(LogContract):
    """One in files."""

    @pytest.fixture
    def shared(self, tmp_path: Path) -> Shared:
        """A folder of its own."""
        return Files(tmp_path)


class TestMemoryLog(LogContract):
    """One in memory."""

    @pytest.fixture
    def shared(self) -> Shared:
        """Memory of its own."""
        return Memory()


@pytest.mark.parametrize("kind", ["files", "memory"])
async def test_a_store_works_on_any_log(kind: str, tmp_path: Path) -> None:
    """Two stores of one log: each sees what the other did, with the same history, and one job is done once."""
    shared: Shared = Files(tmp_path) if kind == "files" else Memory()
    first, second = (Store(shared.open(), Index(), now=lambda: NOW, min_free=0) for _ in range(2))
    try:
        await first.accept([email("1"), email("2")])
        await second.change("em_1", begin)
        await first.change("em_2", cancel)
        await first.write(lambda t: t.put("template", "t", {"text": "x"}, type="template.created"))
        pages = [store.page(Filter(), 10) for store in (first, second)]
        assert pages[0] == pages[1]
        assert [(one.id, one.rev, one.state.status) for one in pages[0].data] == [
            ("em_2", 2, "cancelled"), ("em_1", 2, "sending"),
        ]  # fmt: skip
        assert [one.type for one in second.events("em_2")] == ["email.scheduled", "email.cancelled"]
        assert second.document("template", "t") == first.document("template", "t")
        assert second.read_events(0, 10) == first.read_events(0, 10)
    finally:
        await first.close()
        await second.close()
