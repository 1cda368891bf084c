"""The store is compacted by itself, and by command, while it is in use."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from service.housekeeping import Housekeeping
from service.settings import Settings
from service.store import manifest
from service.store.store import Store
from service.webhooks.endpoint import KIND, Endpoint, to_data
from service.webhooks.registry import one_is_behind
from tests.unit.store_emails import NOW, cancel, email, opened


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """``python -m service`` with these arguments on the store in *folder*."""
    environment = os.environ | {"SERVICE_DATA_DIR": str(folder), **settings}
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def finished(housekeeping: Housekeeping) -> int | None:
    """Wait for its compaction; the status."""
    child = housekeeping._child
    assert child is not None
    return await asyncio.wait_for(child.wait(), 60)


async def test_a_store_that_has_grown_is_compacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, one at a time; the store that is open goes on, and nothing is done without a reason."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        housekeeping = Housekeeping(store, Settings(_env_file=None, data_dir=tmp_path))
        await housekeeping.look()
        assert housekeeping._child is None
        monkeypatch.setattr(Store, "wants_compaction", lambda _: True)
        await housekeeping.look()
        child = housekeeping._child
        await housekeeping.look()
        assert housekeeping._child is child
        assert await finished(housekeeping) == 0
        start = manifest.read(tmp_path)
        assert start is not None
        assert start.snapshot == "snapshot-1.jsonl"
        await store.change("em_1", cancel)
        monkeypatch.undo()
        await housekeeping.look()
        assert housekeeping._child is None
    async with opened(tmp_path) as store:
        found = store.get("em_1")
        assert found is not None
        assert found.rev == 2


async def test_a_worker_that_ends_ends_its_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the store is whole."""
    monkeypatch.setattr(Store, "wants_compaction", lambda _: True)
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        housekeeping = Housekeeping(store, Settings(_env_file=None, data_dir=tmp_path))
        await housekeeping.look()
        await housekeeping.close()
        child = housekeeping._child
        assert child is not None
        assert child.returncode is not None
    async with opened(tmp_path) as store:
        assert store.get("em_1") == email("1")


async def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    """How many lines there were and are, and how many e-mails went to the archive."""
    async with opened(tmp_path) as store:
        await store.accept([email("1"), email("2")])
        await store.change("em_1", cancel)
    done = await asyncio.to_thread(run, tmp_path, "compact", SERVICE_RETENTION="36500d")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Lines before: 4, now: 3\n", "")
    old = NOW - timedelta(days=400)
    store = await Store.open(tmp_path, now=lambda: old, min_free=0)
    await store.change("em_2", cancel)
    await store.close()
    done = await asyncio.to_thread(run, tmp_path, "compact", SERVICE_RETENTION="365d")
    assert done.stdout == "Lines before: 6, now: 2\nE-mails that went to the archive: 1\n"


@pytest.mark.parametrize("value", ["0d", "90", "d", "36501d", "1w", "-1d"])
def test_a_retention_that_is_none(tmp_path: Path, value: str) -> None:
    """The setting is named, with what it may be."""
    done = run(tmp_path, "compact", SERVICE_RETENTION=value)
    assert done.returncode == 2
    assert f"SERVICE_RETENTION={value} is not allowed: it must be how long e-mails that are over stay" in done.stderr
    assert not (tmp_path / "LOCK").exists()


async def test_what_somebody_has_still_to_be_told_is_not_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an endpoint of a webhook takes nothing, the log stays as it is; one that is disabled holds up nothing."""
    monkeypatch.setattr(Store, "wants_compaction", lambda _: True)
    failing = Endpoint("wh_1", "https://example.com", ("email.*",), None, "key", 0, failures=1)

    async with opened(tmp_path) as store:

        async def keep(endpoint: Endpoint) -> None:
            await store.write(lambda t: t.put(KIND, "wh_1", to_data(endpoint), type="webhook.updated"))

        settings = Settings(_env_file=None, data_dir=tmp_path)
        housekeeping = Housekeeping(store, settings, hold=lambda: one_is_behind(store))
        await keep(failing)
        await housekeeping.look()
        assert housekeeping._child is None
        await keep(replace(failing, enabled=False))
        await housekeeping.look()
        assert await finished(housekeeping) == 0
        await keep(replace(failing, failures=0))
        assert not one_is_behind(store)


async def test_what_is_over_leaves_a_small_store_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a day, where it is said how long it stays."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        settings = Settings(_env_file=None, data_dir=tmp_path, retention=timedelta(days=1))
        housekeeping = Housekeeping(store, settings)
        await housekeeping.look()
        assert housekeeping._child is None
        monkeypatch.setattr("service.housekeeping.RETENTION_S", 0.0)
        kept = Housekeeping(store, Settings(_env_file=None, data_dir=tmp_path))
        await kept.look()
        assert kept._child is None
        housekeeping = Housekeeping(store, settings)
        await housekeeping.look()
        assert await finished(housekeeping) == 0
