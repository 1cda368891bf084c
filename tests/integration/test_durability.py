"""Enqueues that wait for the append-only file: what they ask, and what they hear of a server that has none."""

from __future__ import annotations

import pytest

import zqueue
from tests.conftest import unique_name
from tests.integration.conftest import StartServer
from tests.proxy import Proxy
from zqueue import NotReplicated
from zqueue.embedded import Server


async def test_a_job_is_on_disk_before_enqueue_returns(valkey: Server) -> None:
    """The file is asked for behind the jobs, in the same round trip and so on their connection; it has them."""
    async with Proxy(valkey) as proxy, zqueue.Queue(unique_name(), proxy.url, fsync=True) as queue:
        jobs = await queue.enqueue_many(zqueue.NewJob(number, delay=60) for number in range(250))
        asked = [request.names for request, _fault in proxy.requests if "enqueue" in request.names]
    assert asked[-1] == ("enqueue", "enqueue", "enqueue", "WAITAOF")
    assert [job.created for job in jobs] == [True] * 250


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("valkey", ("--appendonly", "no"), "appendonly is disabled"),
        ("redis-7.0", (), "unknown command"),
    ],
)
async def test_a_server_without_the_file_is_told(
    start_server: StartServer, kind: str, options: tuple[str, ...], reason: str
) -> None:
    """The jobs are there, and their caller hears that they are not safe, and why; the same id is as safe as before."""
    server = start_server(*options, kind=kind)
    async with zqueue.Queue(unique_name(), server.url, fsync=True) as queue:
        for _again in range(2):
            with pytest.raises(NotReplicated, match=f"^the jobs are enqueued, but it cannot be known .*{reason}"):
                await queue.enqueue(0, id="x", delay=60)
        assert (await queue.stats()).scheduled == 1
