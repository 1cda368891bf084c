"""How commands fail: the server away or not to be used, the arguments wrong, a job that does not decode."""

from __future__ import annotations

import signal
import socket

import pytest

import zqueue
from tests.asking import ask_server
from tests.command_line import about, command, running
from tests.conftest import wait_until
from tests.integration.conftest import StartServer
from zqueue.cli.program import program

WORDS = {
    "show": ["x"],
    "enqueue": ["1"],
    "cancel": ["x"],
    "requeue": ["x"],
    "reschedule": ["x", "--delay", "1"],
    "limit": ["g", "--rate", "1"],
    "unrecur": ["x"],
    "purge": ["--state", "dead", "--yes"],
}
ASKING = [name for name in program.commands if name not in ("server", "worker")]


@pytest.mark.parametrize("name", ASKING)
async def test_a_server_that_is_away(name: str) -> None:
    """Status 4, what was tried, and how to get one; a password is not shown."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"redis://me:hunter2@127.0.0.1:{port}"
    ended = await command(name, *WORDS.get(name, []), ZQUEUE_URL=url, ZQUEUE_QUEUE="q")
    assert (ended.status, ended.out) == (4, "")
    assert ended.err.startswith(f"Error: redis://me:***@127.0.0.1:{port} is unavailable: ")
    assert ended.err.endswith("\n  check --url (or ZQUEUE_URL); `zqueue server` starts one here\n")


@pytest.mark.parametrize("name", ASKING)
async def test_what_every_command_needs(name: str) -> None:
    """A URL and a queue, by option or from the environment; without, status 2."""
    for variables, missing in (({"ZQUEUE_QUEUE": "q"}, "--url"), ({"ZQUEUE_URL": "redis://localhost:1"}, "--queue")):
        ended = await command(name, *WORDS.get(name, []), **variables)
        assert (ended.status, ended.out) == (2, "")
        assert f"Missing option '{missing}'" in ended.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--url", "http://x"], "a queue's URL starts with one of "),
        (["--queue", "no spaces"], "a queue name is 1 to 64 of A-Z a-z 0-9 _ . -, not 'no spaces'"),
        (["--shards", "0"], "0 is not in the range x>=1"),
        (["--shards", "9999"], "shards must be from 1 to 1,000, not 9999"),
        (["--stat"], "No such option"),
    ],
)
async def test_options_that_are_wrong(words: list[str], why: str) -> None:
    """Status 2, before anything is asked."""
    ended = await command("stats", *words, ZQUEUE_URL="redis://localhost:1", ZQUEUE_QUEUE="q")
    assert (ended.status, ended.out) == (2, "")
    assert why in ended.err


async def test_options_go_before_the_environment(queue: zqueue.Queue) -> None:
    """Of both, what the command line says counts."""
    await queue.stats()
    wrong = {"ZQUEUE_URL": "redis://localhost:1", "ZQUEUE_QUEUE": "other"}
    ended = await command("stats", "--json", "--url", queue.address.shown, "-q", queue.name, **wrong)
    assert ended.documents[0]["queue"] == queue.name


async def test_a_server_that_may_drop_jobs(start_server: StartServer) -> None:
    """Is looked at all the same, with a warning."""
    server = start_server("--maxmemory-policy", "allkeys-lru")
    async with zqueue.Queue("q", server.url, eviction="warn") as queue:
        await queue.stats()
        ended = await about(queue, "stats", "--json")
    assert (ended.status, len(ended.documents)) == (0, 1)


async def test_a_job_that_does_not_decode(queue: zqueue.Queue) -> None:
    """Is listed, and shown to be broken, with status 1."""
    await queue.enqueue(None, id="x", delay=3600)
    await ask_server(queue, "HSET", f"{queue.shards[0].keys.prefix}jobs", "x", "garbage")
    listed = await about(queue, "jobs")
    assert (listed.status, listed.rows[0][:2]) == (0, ["x", "scheduled"])
    ended = await about(queue, "show", "x")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("Error: job 'x' has an envelope that does not decode: ")


async def test_watching_outlives_the_server(start_server: StartServer) -> None:
    """It says that the server is away, and goes on when it is back."""
    server = start_server()
    async with zqueue.Queue("q", server.url) as queue:
        await queue.stats()
    url = f"unix://{server.socket}"
    arguments = ("stats", "--watch", "--every", "50ms", "--json", "--url", url, "--queue", "q")
    async with running(*arguments, cwd=server.folder) as watch:
        await watch.says('"queue":"q"', 2)
        server.stop()
        await watch.says("is unavailable", 2)
        server.ensure()
        seen = len(watch.out)
        await wait_until(lambda: len(watch.out) > seen, 30, "numbers again")
        watch.send(signal.SIGINT)
        assert await watch.ended() == 0
    assert [line for line in watch.err if "looking again in 0.05 s" not in line] == []
