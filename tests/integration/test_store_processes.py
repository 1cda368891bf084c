"""One store, several processes: they interleave, see each other, and wait for a stopped holder of the lock."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.email.record import Email
from service.store import lines
from service.store.errors import StoreUnavailable
from service.store.listing import Filter
from tests.unit.store_emails import cancel, email, opened
from tests.unit.store_logs import JOURNAL

ROOT = Path(__file__).parents[2]


async def start(directory: Path, name: str, count: int, *more: int) -> Process:
    """Start a writer; see `store_writer`."""
    arguments = (str(directory), name, str(count), *map(str, more))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.store_writer", *arguments, stdin=PIPE, stdout=PIPE, cwd=ROOT
    )


async def line(process: Process) -> str:
    """The next line that *process* prints; empty when it has ended."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def go(process: Process) -> None:
    """Let *process* begin."""
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def stopped(process: Process) -> None:
    """Wait until *process* has stopped itself."""
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


async def test_processes_interleave_without_loss(tmp_path: Path) -> None:
    """Three processes accept at once; every one of them sees all, numbered without a gap."""
    async with opened(tmp_path) as store:
        writers = [await start(tmp_path, name, 150) for name in ("a", "b")]
        owners = [await line(writer) for writer in writers]
        assert [store.alive(by) for by in owners] == [True, True]
        for writer in writers:
            go(writer)
        for n in range(150):
            await store.accept([email(f"c{n}")])
        for writer in writers:
            while name := await line(writer):
                assert store.get(name) is not None
        assert [await writer.wait() for writer in writers] == [0, 0]
        assert [store.alive(by) for by in owners] == [False, False]
        expected = {f"em_{name}{n}" for name in "abc" for n in range(150)}
        found, after = [], None
        while (page := store.page(Filter(), 100, after=after)).data:
            found += [one.id for one in page.data]
            after = page.last
        assert (len(found), set(found)) == (450, expected)
    written = [lines.decode(raw) for raw in (tmp_path / JOURNAL).read_bytes().splitlines()]
    assert [one and one["seq"] for one in written] == list(range(1, 451))


async def test_a_stopped_holder_keeps_the_lock(tmp_path: Path) -> None:
    """Nobody writes past a process that stands still in its write: 503 with its pid, until it goes on or dies."""
    async with opened(tmp_path, lock_timeout=0.2) as store:
        await store.accept([email("before")])
        writer = await start(tmp_path, "a", 2, 2)
        by = await line(writer)
        go(writer)
        assert await line(writer) == "em_a0"
        await stopped(writer)
        with pytest.raises(StoreUnavailable, match=f"locked by process {writer.pid}") as caught:
            await store.accept([email("refused")])
        assert (caught.value.reason, store.health().reason, store.alive(by)) == ("store_locked", "store_locked", True)
        assert store.get("em_before") == email("before")

        writer.send_signal(signal.SIGCONT)
        assert (await line(writer), await writer.wait()) == ("em_a1", 0)
        await store.accept([email("after")])
        found = [one.id for one in store.page(Filter(), 100).data]
        assert found == ["em_after", "em_a1", "em_a0", "em_before"]


async def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    """A write waits for a stopped holder and goes on the moment that one is killed."""
    async with opened(tmp_path, lock_timeout=60) as store:
        writer = await start(tmp_path, "a", 1, 1)
        by = await line(writer)
        go(writer)
        await stopped(writer)
        waiting = asyncio.create_task(store.accept([email("b")]))
        writer.kill()
        await writer.wait()
        assert await waiting == [email("b")]
        assert not store.alive(by)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a file system (run as root to try it): {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """Accepts are refused with `no_space`, what was acknowledged stays, and writing goes on once there is room."""
    async with opened(small_disk) as store:
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 100_000)
        accepted: list[Email] = []

        async def fill() -> None:
            for n in range(100):
                accepted.extend(await store.accept([email(str(n), text="x" * 50_000)]))

        with pytest.raises(StoreUnavailable, match="No space left") as caught:
            await fill()
        assert caught.value.reason == "no_space"
        assert 0 < len(accepted) < 100
        ballast.unlink()
        cancelled = await store.change("em_0", cancel)
        again = await store.accept([email("again")])
    async with opened(small_disk) as store:
        expected = [*again, *reversed(accepted[1:]), cancelled]
        assert store.page(Filter(), 100).data == expected
    assert not (small_disk / "corrupt").exists()
