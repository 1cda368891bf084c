"""Writing under trouble: a lock that is held, a disk that is full or in doubt, and what readers see meanwhile."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.store.errors import StoreDamaged, StoreError, StoreUnavailable
from service.store.store import Health, Store
from tests.unit.store_emails import NOW, cancel, email, opened
from tests.unit.store_logs import JOURNAL, failing


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the write lock as another process would."""
    with (directory / "LOCK").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(b"%10d\n" % 4242)
        lock.flush()
        yield


async def test_a_held_lock_is_waited_for_and_then_named(tmp_path: Path) -> None:
    """Writers give up after the timeout, naming the holder; readers answer; what was refused is never written."""
    async with opened(tmp_path, lock_timeout=0.1) as store:
        await store.accept([email("1")])
        with locked(tmp_path):
            answers = await asyncio.gather(
                store.change("em_1", cancel), store.accept([email("2")]), return_exceptions=True
            )
            reasons = [answer.reason for answer in answers if isinstance(answer, StoreUnavailable)]
            assert (reasons, store.get("em_1")) == (["store_locked"] * 2, email("1"))
            assert "process 4242" in str(answers[0])
            health = store.health()
            assert (health.durable, health.reason, health.detail) == (False, "store_locked", str(answers[0]))
        await store.accept([email("3")])
        assert store.health().durable
        assert (store.get("em_1"), store.get("em_2"), store.get("em_3")) == (email("1"), None, email("3"))


async def test_opening_waits_for_a_held_lock_only_so_long(tmp_path: Path) -> None:
    """Opening gives up, naming the holder, rather than to hang."""
    async with opened(tmp_path):
        pass
    with locked(tmp_path), pytest.raises(StoreUnavailable, match="process 4242") as caught:
        async with opened(tmp_path, lock_timeout=0.1):
            pass
    assert caught.value.reason == "store_locked"


async def test_closing_does_not_wait_for_a_held_lock_for_ever(tmp_path: Path) -> None:
    """Requests that are pending then are answered, and so are later ones."""
    async with opened(tmp_path, lock_timeout=0.1) as store:
        with locked(tmp_path):
            waiting = asyncio.create_task(store.accept([email("1")]))
            await asyncio.sleep(0)
            await store.close()
            with pytest.raises(StoreUnavailable, match="locked"):
                await waiting
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.accept([email("1")])


async def test_a_caller_that_goes_away_disturbs_nobody(tmp_path: Path) -> None:
    """A cancelled caller's request may be written; its neighbours get their answers."""
    async with opened(tmp_path) as store:
        gone = asyncio.create_task(store.accept([email("1")]))
        kept = asyncio.create_task(store.accept([email("2")]))
        await asyncio.sleep(0)
        gone.cancel()
        assert await kept == [email("2")]


async def test_accepts_leave_room_for_outcomes(tmp_path: Path) -> None:
    """With less than `min_free` bytes left nothing is accepted, and changes go on."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
    async with opened(tmp_path, min_free=1 << 60) as store:
        with pytest.raises(StoreUnavailable, match="bytes of disk are left") as caught:
            await store.accept([email("2")])
        assert (caught.value.reason, store.health().reason) == ("no_space", "no_space")
        assert (await store.change("em_1", cancel)).state.status == "cancelled"


async def test_a_full_disk_refuses_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everyone in the failed write is told so; nothing of it is there; the next write succeeds."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing(errno.ENOSPC))
            answers = await asyncio.gather(
                store.change("em_1", cancel), store.accept([email("2")]), return_exceptions=True
            )
        assert [getattr(answer, "reason", answer) for answer in answers] == ["no_space", "no_space"]
        assert (store.get("em_1"), store.get("em_2")) == (email("1"), None)
        await store.accept([email("2")])
        assert store.health().durable


async def test_a_disk_in_doubt_ends_this_process_s_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fdatasync every write is refused, whoever runs the process is told, reads go on."""
    told: list[StoreError] = []
    store = await Store.open(tmp_path, now=lambda: NOW, min_free=0, on_dead=told.append)
    await store.accept([email("1")])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(errno.EIO))
        with pytest.raises(StoreUnavailable, match="could not be made durable"):
            await store.accept([email("2")])
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="could not be made durable") as caught:
            await store.accept([email("2")])
    assert [str(one) for one in told] == [str(caught.value)]
    assert store.health() == Health(store.health().free, "write_failed", str(caught.value))
    assert store.get("em_1") == email("1")
    await store.close()
    async with opened(tmp_path) as again:
        await again.accept([email("2")])
        assert (again.get("em_1"), again.get("em_2")) == (email("1"), email("2"))


async def test_damage_found_while_running_ends_writing(tmp_path: Path) -> None:
    """A process that meets damage at the end of the journal writes nothing behind it, and says where it is."""
    async with opened(tmp_path, lock_timeout=1) as store:
        await store.accept([email("1")])
        async with opened(tmp_path) as other:
            await other.accept([email("2")])
            await other.accept([email("3")])
        content = (tmp_path / JOURNAL).read_bytes()
        lines = content.splitlines(keepends=True)
        (tmp_path / JOURNAL).write_bytes(lines[0] + lines[1].replace(b"em_2", b"em_X") + lines[2])
        for _ in range(2):
            with pytest.raises(StoreDamaged) as caught:
                await store.accept([email("4")])
            assert (caught.value.path, caught.value.line) == (tmp_path / JOURNAL, 2)
        assert store.health().reason == "damaged"


async def test_a_fault_of_a_write_does_not_end_the_writer(tmp_path: Path) -> None:
    """The requests of that write get the error, it is logged, and the next write works."""
    moments = iter([NOW])
    store = await Store.open(tmp_path, now=lambda: next(moments), min_free=0, lock_timeout=timedelta(seconds=5))
    await store.accept([email("1")])
    with capture_logs() as logs:
        answers = await asyncio.gather(store.accept([email("2")]), store.accept([email("3")]), return_exceptions=True)
    # A clock that has run out raises StopIteration, which no future may carry.
    assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError]
    assert {entry["event"] for entry in logs} == {"the writer failed"}
    moments = iter([NOW])
    await store.accept([email("2")])
    assert store.get("em_2") == email("2")
    await store.close()
