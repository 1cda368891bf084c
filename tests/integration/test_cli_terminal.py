"""What a person sees: tables, colour and questions, on a real (pseudo-)terminal; and pipes that close."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import zqueue
from tests.command_line import ROOT, measured
from tests.conftest import wait_until
from zqueue.testing import seed

LATER = datetime(2100, 1, 1, tzinfo=UTC)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command at a terminal.

    Attributes:
        screen: All it wrote so far, escape sequences included.
    """

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.screen = ""
        self._master = master
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            self.screen += os.read(self._master, 65536).decode()
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._master)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    async def shows(self, text: str) -> None:
        """Wait until it was written."""
        await wait_until(lambda: text in self.screen, 30, f"{text!r} in {self.screen!r}")

    async def ended(self) -> tuple[int, list[str]]:
        """Its status, and the lines of the screen without escape sequences."""
        async with asyncio.timeout(30):
            status = await self.process.wait()
        with contextlib.suppress(OSError):  # until nothing is left of what it wrote last
            while True:
                self.screen += os.read(self._master, 65536).decode()
        return status, [line.rstrip() for line in ESCAPE.sub("", self.screen).replace("\r\n", "\n").split("\n")]


@contextlib.asynccontextmanager
async def terminal(
    queue: zqueue.Queue, *arguments: str, columns: int = 160, **variables: str
) -> AsyncIterator[Terminal]:
    """Run ``python -m zqueue ARGUMENTS`` about a queue at a terminal for the length of the block."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    own = {"ZQUEUE_URL": queue.address.shown, "ZQUEUE_QUEUE": queue.name, "TERM": "xterm-256color"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "zqueue", *arguments),
        cwd=ROOT,
        env=inherited | measured() | own | variables,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    opened = Terminal(process, master)
    try:
        yield opened
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
        process._transport.close()  # type: ignore[attr-defined]  # else it ends with the loop, noisily


async def populate(queue: zqueue.Queue) -> None:
    """Two dead jobs, one of them hostile, and one that waits."""
    hostile = "[red]no markup[/red] \x1b[2J\x9b31m :boom:"
    dead = [zqueue.NewJob({"to": "you"}, "a"), zqueue.NewJob(hostile, "b")]
    await seed(queue, dead=dead, scheduled=[zqueue.NewJob(None, "w", at=LATER)])


async def test_jobs_are_a_table(queue: zqueue.Queue) -> None:
    """Of the columns that say something, in colour, and what others stored only as text."""
    await populate(queue)
    async with terminal(queue, "jobs", "--state", "dead") as shown:
        status, lines = await shown.ended()
    heading, *rows = [line for line in lines if line]
    assert status == 0
    assert heading.split() == ["id", "ended", "attempts", "error", "payload"]
    assert [row.split()[0] for row in rows] == ["a", "b"]
    assert '{"to":"you"}' in rows[0]
    assert '"[red]no markup[/red] \\u001b[2J\\x9b31m :boom:"' in rows[1]
    assert "\x1b[31mseeded" in shown.screen


async def test_ids_are_whole_on_a_narrow_terminal(queue: zqueue.Queue) -> None:
    """Each job is one line of 80 columns: what is cut is the payload, and the error."""
    dead = [zqueue.NewJob("long " * 50, name="send") for _ in range(3)]
    await seed(queue, dead=dead)
    async with terminal(queue, "jobs", "--state", "dead", columns=80) as shown:
        _, lines = await shown.ended()
    _heading, *rows = [line for line in lines if line]
    assert [row.split()[0] for row in rows] == [job.id for job in await queue.jobs(zqueue.JobState.DEAD)]
    assert [row for row in rows if len(row) > 80 or not row.endswith("…")] == []


async def test_no_color(queue: zqueue.Queue) -> None:
    """Takes the colours away, of tables and of errors, and leaves the table."""
    await populate(queue)
    async with terminal(queue, "jobs", "--state", "dead", NO_COLOR="1") as plain, terminal(queue, "show", "x") as red:
        (status, lines), (error, _) = await plain.ended(), await red.ended()
    heading = next(line for line in lines if line)
    assert (status, error, heading.split()[:2]) == (0, 3, ["id", "ended"])
    assert [code for code in ESCAPE.findall(plain.screen) if code in ("\x1b[31m", "\x1b[32m", "\x1b[36m")] == []
    assert "\x1b[31mError:" in red.screen
    async with terminal(queue, "show", "x", NO_COLOR="1") as colourless:
        await colourless.ended()
    assert "\x1b[" not in colourless.screen


async def test_one_job_is_a_list(queue: zqueue.Queue) -> None:
    """With how far away its times are."""
    await populate(queue)
    async with terminal(queue, "show", "w") as shown:
        _, lines = await shown.ended()
    values = {line[: line.index("  ")]: line[line.index("  ") :].strip() for line in lines if "  " in line}
    assert (values["id"], values["state"], values["payload"], values["parked"]) == ("w", "scheduled", "-", "no")
    assert re.fullmatch(r"2100-01-01 00:00:00Z \(in [\d,]+ d \d+ h\)", values["due"])


async def test_json_is_for_programs_at_a_terminal_too(queue: zqueue.Queue) -> None:
    """Plain lines."""
    await populate(queue)
    async with terminal(queue, "jobs", "--json") as shown:
        _, lines = await shown.ended()
    assert lines[0].startswith('{"id":"w","name":"",')
    assert ESCAPE.findall(shown.screen) == []


async def test_a_question_before_many_jobs_go(queue: zqueue.Queue) -> None:
    """Yes does it, anything else does nothing."""
    await populate(queue)
    question = f"Delete 2 dead jobs of queue '{queue.name}' for good? [y/N]:"
    async with terminal(queue, "purge", "--state", "dead") as shown:
        await shown.shows(question)
        shown.type("n\r")
        status, lines = await shown.ended()
    assert (status, "Aborted!" in lines, (await queue.stats()).dead) == (1, True, 2)
    async with terminal(queue, "purge", "--state", "dead") as shown:
        await shown.shows(question)
        shown.type("y\r")
        assert (await shown.ended())[0] == 0
    assert (await queue.stats()).dead == 0


async def test_watching(queue: zqueue.Queue) -> None:
    """Shows the numbers again and again; Ctrl-C ends it, and that is no failure."""
    await populate(queue)
    async with terminal(queue, "stats", "--watch", "--every", "50ms") as shown:
        await wait_until(lambda: shown.screen.count("oldest due age") >= 3, 30, "three times")
        shown.process.send_signal(signal.SIGINT)
        status, _ = await shown.ended()
    assert status == 0


async def test_a_pipe_that_closes(queue: zqueue.Queue) -> None:
    """``zqueue jobs --all | head -1`` ends without a traceback."""
    await queue.enqueue_many(zqueue.NewJob("x" * 1000, at=LATER) for _ in range(2000))
    own = {"ZQUEUE_URL": queue.address.shown, "ZQUEUE_QUEUE": queue.name}
    pipeline = f"{sys.executable} -m zqueue jobs --all --json | head -1"
    process = await asyncio.create_subprocess_shell(pipeline, cwd=ROOT, env=os.environ | own, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    assert (process.returncode, out.count(b"\n"), err) == (0, 1, b"")
