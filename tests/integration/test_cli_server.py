"""``zqueue server``: a Valkey in the foreground."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import zqueue
from tests.asking import ask_server
from tests.command_line import command, running
from tests.conftest import wait_until
from zqueue.embedded import Server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_runs_until_a_signal(short_folder: Path, number: int) -> None:
    """Its URL is all it prints to stdout; what was enqueued is there when it runs again."""
    folder = short_folder / "data"
    url = f"embedded://{folder}"
    for round_ in (1, 2):
        async with running("server", "--dir", "data", cwd=short_folder) as server:
            await server.says("Ctrl-C stops it")
            assert server.out == [url]
            async with zqueue.Queue("q", url) as queue:
                await queue.enqueue(None, delay=3600)
                assert len(await queue.jobs(zqueue.JobState.SCHEDULED)) == round_
            server.send(number)
            assert await server.ended() == 0
            assert server.err[-1] == "stopped"
        assert not Server(folder).answers()


async def test_a_second_one_in_the_same_folder(short_folder: Path) -> None:
    """Is refused with status 5, and the first one goes on; ``--stop`` ends that."""
    folder = short_folder / "data"
    async with running("server", "--dir", str(folder), cwd=short_folder) as first:
        await first.says("Ctrl-C stops it")
        ended = await command("server", "--dir", str(folder))
        assert (ended.status, ended.out) == (5, "")
        assert ended.err == f"Error: a server runs in {folder} already\n  use it: --url embedded://{folder}\n"
        assert Server(folder).answers()
        first.send(signal.SIGTERM)
        assert await first.ended() == 0

    with Server(folder):
        assert await command("server", "--dir", str(folder), "--stop") == (0, "", f"no server runs in {folder}\n")
        assert not Server(folder).answers()


async def test_a_server_that_dies_is_started_again(short_folder: Path) -> None:
    """Under the same URL."""
    folder = short_folder / "data"
    async with running("server", "--dir", str(folder), cwd=short_folder) as server:
        await server.says("Ctrl-C stops it")
        async with zqueue.Queue("q", f"unix://{Server(folder).socket}") as queue:
            await queue.enqueue(None, delay=3600)
            words = (await ask_server(queue, "INFO", "server")).decode().split()
            (pid,) = [word.removeprefix("process_id:") for word in words if word.startswith("process_id:")]
        os.kill(int(pid), signal.SIGKILL)
        await wait_until(lambda: not Server(folder).answers(), what="its death")
        await wait_until(lambda: Server(folder).answers(), what="another one")
        server.send(signal.SIGTERM)
        assert await server.ended() == 0


async def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """Status 4 and why: a file is in its way, or its server does not start."""
    (tmp_path / "file").write_text("")
    async with running("server", "--dir", "file/data", cwd=tmp_path) as server:
        assert (await server.ended(), server.out) == (4, [])
    assert server.err[0].startswith(f"Error: the embedded server cannot use {tmp_path}/file/data: ")
    async with running("server", "--dir", "data", cwd=tmp_path, ZQUEUE_SERVER="/bin/false") as server:
        assert (await server.ended(), server.out) == (4, [])
    assert "did not start" in server.err[0]
