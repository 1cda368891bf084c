"""How often the store is compacted by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service import housekeeping
from service.housekeeping import Housekeeping
from service.settings import Settings
from service.store.store import Store
from tests.unit.store_emails import opened


async def test_a_compaction_that_changed_nothing_is_not_begun_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails would otherwise read the whole store every two seconds, for ever."""
    monkeypatch.setattr(Store, "wants_compaction", lambda _: True)
    began = 0

    async def nothing(*_: object, **__: object) -> asyncio.subprocess.Process:
        nonlocal began
        began += 1
        return await asyncio.subprocess.create_subprocess_exec("false")

    monkeypatch.setattr("service.housekeeping.asyncio.create_subprocess_exec", nothing)
    async with opened(tmp_path) as store:
        keeping = Housekeeping(store, Settings(_env_file=None, data_dir=tmp_path))
        for _ in "123":
            await keeping.look()
            if keeping._child is not None:
                await keeping._child.wait()
        assert began == 1
        monkeypatch.setattr(housekeeping, "PAUSE_S", 0.0)
        keeping._not_before = 0.0
        for _ in "12":
            await keeping.look()
            assert keeping._child is not None
            await keeping._child.wait()
        assert began == 3
