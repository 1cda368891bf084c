"""What a server can answer instead of doing its work, and a server that is not there at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.conftest import unique_name
from tests.integration.conftest import StartServer
from tests.queue_state import command
from zqueue import Queue, QueueUnavailable, sending
from zqueue.connect import TIMEOUT_S, Address, Link, LinkLost
from zqueue.embedded import Server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused call is given up after a moment."""
    monkeypatch.setattr(sending, "PATIENCE_S", 0.2)


Connect = Callable[..., Link]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`connect(server, timeout=...)`: a link of the test's own, which does not start the server when it is gone."""
    async with contextlib.AsyncExitStack() as stack:

        def one(server: Server, *, timeout: float = TIMEOUT_S) -> Link:
            link = Link(Address(f"unix://{server.socket}"), timeout=timeout)
            stack.push_async_callback(link.close)
            return link

        yield one


async def test_scripts_are_loaded_when_the_server_forgets_them(
    start_server: StartServer, kind: str, connect: Connect
) -> None:
    """After SCRIPT FLUSH, as after a restart, each call runs as if nothing had happened."""
    server = start_server(kind=kind)
    link = connect(server)
    async with Queue("q", server.url) as queue:
        for n in range(3):
            await command(link, "SCRIPT", "FLUSH")
            assert (await queue.enqueue(n, id=f"{n}", delay=60)).created
            await command(link, "SCRIPT", "FLUSH")
            assert await queue.missing(["0", "x"]) == ["x"]


async def test_a_server_that_takes_no_scripts(start_server: StartServer, connect: Connect) -> None:
    """A user who may not load scripts gets the server's words at once, not an endless wait."""
    server = start_server()
    link = connect(server)
    await command(link, "ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-script")
    async with Queue("q", f"unix://bob:pw@{server.socket}") as queue:
        with pytest.raises(QueueUnavailable, match=r"^the server does not take the scripts: .*no permissions"):
            await queue.enqueue(1)


async def test_a_replica_is_refused_until_it_is_a_master(
    start_server: StartServer, kind: str, impatient: None, connect: Connect
) -> None:
    """Nothing connects to a replica, whose reads are stale; the message says what is wrong. As a master it works."""
    server = start_server(kind=kind)
    link = connect(server)
    await command(link, "REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(LinkLost, match=r"this server is a slave, not a master; the call had no effect$"):
        await connect(server).send(("PING",))
    async with Queue("q", server.url) as queue:
        with pytest.raises(QueueUnavailable, match="this server is a slave, not a master"):
            await queue.enqueue(1, id="a")
        await command(link, "REPLICAOF", "NO", "ONE")
        assert (await queue.enqueue(1, id="a")).created


async def test_a_demoted_master_is_waited_for(start_server: StartServer, kind: str, connect: Connect) -> None:
    """A write that a connected server refuses as a replica is sent again until it is a master once more."""
    server = start_server(kind=kind)
    link = connect(server)
    async with Queue("q", server.url) as queue:
        await queue.enqueue(1, id="a", delay=60)
        await command(link, "REPLICAOF", "127.0.0.1", "1")
        waiting = asyncio.create_task(queue.enqueue(2, id="b", delay=60))
        for _ in range(20):
            await command(link, "PING")
        assert not waiting.done()
        await command(link, "REPLICAOF", "NO", "ONE")
        assert (await waiting).created
        assert await queue.missing(["a", "b"]) == []


async def test_a_demoted_master_is_given_up_in_the_end(
    start_server: StartServer, kind: str, impatient: None, connect: Connect
) -> None:
    """When patience ends the call fails, with the server's refusal in it, and it had no effect."""
    server = start_server(kind=kind)
    link = connect(server)
    async with Queue("q", server.url) as queue:
        await queue.enqueue(1, id="a", delay=60)
        await command(link, "REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(QueueUnavailable, match=r"a slave, not a master; the call had no effect$"):
            await queue.enqueue(2, id="b", delay=60)
        await command(link, "REPLICAOF", "NO", "ONE")
        assert await queue.missing(["a", "b"]) == ["b"]


@pytest.mark.parametrize("kind", ["valkey", "redis-7.0"])  # 6.2 cannot be made to load a small file slowly
async def test_a_loading_server_is_waited_for(start_server: StartServer, kind: str, connect: Connect) -> None:
    """A server that still reads its file answers LOADING: the first call of a new queue waits until it is done."""
    server = start_server("--appendonly", "no", kind=kind)
    link = connect(server)
    await command(link, "MSET", *(word for n in range(2000) for word in (f"k{n}", "value")))
    async with Queue("q", server.url) as queue:
        await queue.enqueue(1, id="a", delay=60)
    await command(link, "SAVE")
    server.stop()
    slowly = ("--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024")
    server = start_server("--appendonly", "no", *slowly, kind=kind)
    with pytest.raises(LinkLost, match=r"loading the dataset in memory; the call had no effect$") as caught:
        await connect(server).send(("GET", "k1"))
    assert (caught.value.refused, caught.value.sent) == (True, False)
    async with Queue("q", server.url) as queue:
        assert not (await queue.enqueue(1, id="a")).created


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (":wrong-secret@", "invalid username-password pair"),
        ("", "Authentication required"),
        ("ann:wrong-secret@", "invalid"),
    ],
)
async def test_a_wrong_password(start_server: StartServer, user: str, words: str) -> None:
    """The message says that it is the password, and does not say the password; nothing is sent again and again."""
    server = start_server("--requirepass", "right-secret")
    async with Queue("q", f"unix://{user}{server.socket}") as queue:
        with pytest.raises(QueueUnavailable, match=words) as caught:
            await queue.enqueue(1)
        assert "secret" not in str(caught.value)
        assert str(caught.value).endswith("; the call had no effect")
    async with Queue("q", f"unix://:right-secret@{server.socket}") as queue:
        assert (await queue.enqueue(1)).created


async def test_out_of_memory(start_server: StartServer, kind: str, connect: Connect) -> None:
    """A full server refuses an enqueue with its own words and has written nothing; room made, it works again."""
    server = start_server(kind=kind)
    link = connect(server)
    async with Queue("q", server.url) as queue:
        await queue.enqueue(1, id="a", delay=60)
        await command(link, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(QueueUnavailable, match=r"^the server answered an error: .*'maxmemory'"):
            await queue.enqueue(2, id="b", delay=60)
        assert await queue.missing(["a", "b"]) == ["b"], "reading goes on"
        assert await queue.cancel("a"), "and so does taking away"
        await command(link, "CONFIG", "SET", "maxmemory", "0")
        assert (await queue.enqueue(2, id="b", delay=60)).created


async def test_a_new_queue_on_a_full_server(start_server: StartServer, connect: Connect) -> None:
    """The very first call names the server's reason, and no wrong format."""
    server = start_server("--maxmemory", "1")
    async with Queue("q", server.url) as queue:
        with pytest.raises(QueueUnavailable, match=r"^the server answered an error: .*'maxmemory'"):
            await queue.enqueue(1)
        link = connect(server)
        await command(link, "CONFIG", "SET", "maxmemory", "0")
        assert await queue.missing(["a"]) == ["a"]
        await command(link, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(QueueUnavailable, match="'maxmemory'"):
            await queue.incarnation()


async def test_a_server_that_cannot_save(
    start_server: StartServer, short_folder: Path, kind: str, connect: Connect
) -> None:
    """MISCONF: a server that stopped taking writes because it cannot save says so."""
    gone = short_folder / "gone"
    gone.mkdir()
    server = start_server("--appendonly", "no", "--dir", str(gone), kind=kind)
    link = connect(server)
    async with Queue("q", server.url) as queue:
        await queue.enqueue(1, id="a", delay=60)
        await command(link, "CONFIG", "SET", "save", "3600 1")
        gone.rmdir()
        await command(link, "BGSAVE")
        async with asyncio.timeout(10):
            while b"rdb_last_bgsave_status:err" not in await command(link, "INFO", "persistence"):  # noqa: ASYNC110 - it has to be asked
                await asyncio.sleep(0.01)
        with pytest.raises(QueueUnavailable, match=r"^the server answered an error: .*MISCONF"):
            await queue.enqueue(2, id="b", delay=60)
        await command(link, "CONFIG", "SET", "save", "")
        assert (await queue.enqueue(2, id="b", delay=60)).created


async def test_a_server_that_is_gone(short_folder: Path) -> None:
    """Nobody listens: a sentence with the address, what happened, and that nothing was done."""
    for url in (f"unix://{short_folder}/none.sock", "redis://127.0.0.1:1", "redis://ann:secret@localhost:1/0"):
        async with Queue("q", url) as queue:
            with pytest.raises(QueueUnavailable) as caught:
                await queue.enqueue(1)
            message = str(caught.value)
            assert message.startswith(f"{url.replace('secret', '***')} is unavailable: ")
            assert "onnect" in message
            assert message.endswith("; the call had no effect")


async def test_a_name_that_does_not_resolve() -> None:
    """A host nobody knows is unavailable like any other."""
    async with Queue("q", "redis://no-such-host.invalid") as queue:
        with pytest.raises(QueueUnavailable, match=r"^redis://no-such-host\.invalid is unavailable: "):
            await queue.stats()


async def test_a_server_that_restarts_is_found_again(start_server: StartServer) -> None:
    """A queue whose connections were cut by a restart connects anew for the next call; its jobs are there."""
    server = start_server()
    async with Queue("q", server.url) as queue:
        await queue.enqueue(1, id="a", delay=60)
        for _ in range(2):
            server.stop()
            assert await queue.missing(["a", "b"]) == ["b"]
            assert not (await queue.enqueue(1, id="a")).created


async def test_a_silent_server_times_out(start_server: StartServer, connect: Connect) -> None:
    """A server that takes the command and does not answer: lost, and it may have run."""
    server = start_server()
    link = connect(server)
    impatient = connect(server, timeout=0.1)
    await impatient.send(("PING",))
    await command(link, "CLIENT", "PAUSE", "300", "ALL")
    with pytest.raises(LinkLost, match=r"no answer within 0\.1 s; the call may have taken effect$") as caught:
        await impatient.send(("INCR", "n"))
    assert caught.value.sent
    assert impatient.client_id is None


async def test_a_cancelled_call_leaves_no_reply_to_the_next(valkey: Server, connect: Connect) -> None:
    """Who is cancelled between sending and reading takes the connection along: the next caller reads its own reply."""
    link = connect(valkey)
    key = unique_name()
    waiting = asyncio.create_task(link.send(("BLPOP", key, 30)))
    other = connect(valkey)
    async with asyncio.timeout(10):
        while b"blocked_clients:0" in await command(other, "INFO", "clients"):  # noqa: ASYNC110 - it has to be asked
            await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await link.send(("ECHO", "mine")) == [b"mine"]


async def test_an_error_is_in_the_place_of_its_reply(valkey: Server, connect: Connect) -> None:
    """One command of several fails: the others have their replies, and the connection lives."""
    link = connect(valkey)
    replies = await link.send(("ECHO", "a"), ("LPUSH",), ("ECHO", "b"))
    number = link.client_id
    assert replies[0::2] == [b"a", b"b"]
    assert "wrong number of arguments" in str(replies[1])
    assert await link.send(("CLIENT", "GETNAME")) == [b"zqueue"]
    assert link.client_id == number is not None
    await link.close()
    assert link.client_id is None
