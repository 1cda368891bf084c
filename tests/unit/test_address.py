"""The URL of a server: what it may be, and that its password is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from zqueue.connect import Address
from zqueue.errors import InvalidJob

STARTS = "a queue's URL starts with one of redis:// rediss:// unix:// embedded:// redis+sentinel:// redis+cluster://"
MASTER = "a Sentinel URL ends in the master's name and a database, like /mymaster/0"


async def _connection(url: str) -> AbstractConnection:
    """What a link would connect with."""
    return await Address(url).place.locate(None)


@pytest.mark.parametrize(
    ("url", "kind", "expected"),
    [
        ("redis://h", Connection, {"host": "h", "port": 6379, "db": 0}),
        ("redis://h:7000/3", Connection, {"host": "h", "port": 7000, "db": 3}),
        ("redis://[::1]:7000", Connection, {"host": "::1", "port": 7000}),
        ("redis://ann:p%40ss%2F@h", Connection, {"username": "ann", "password": "p@ss/"}),
        ("rediss://:pw@h", SSLConnection, {"host": "h", "password": "pw"}),
        ("unix:///run/s.sock", UnixDomainSocketConnection, {"path": "/run/s.sock"}),
        (
            "unix://ann:pw@/run/s.sock?db=2",
            UnixDomainSocketConnection,
            {"path": "/run/s.sock", "db": 2, "username": "ann"},
        ),
    ],
)
async def test_where_a_url_leads(url: str, kind: type, expected: dict[str, Any]) -> None:
    """Host, port, database, user and password, in each of the forms."""
    connection = await _connection(url)
    assert type(connection) is kind
    assert {name: getattr(connection, name) for name in expected} == expected


async def test_an_embedded_url_is_a_folder(short_folder: Path) -> None:
    """What follows the scheme is an absolute path, as it is."""
    connection = await _connection(f"embedded://{short_folder}/a b")
    assert isinstance(connection, UnixDomainSocketConnection)
    assert connection.path == f"{short_folder}/a b/server.sock"


async def test_a_url_cannot_undo_what_the_library_relies_on() -> None:
    """Retries stay off, replies stay bytes, and timeouts are the caller's, whatever options a URL carries."""
    url = "redis://h?decode_responses=true&socket_timeout=1&retry_on_timeout=true&client_name=x&protocol=3"
    connection = await _connection(url)
    assert connection.encoder.decode_responses is False
    assert connection.socket_timeout is None
    assert connection.client_name == "zqueue"
    assert connection.protocol == 2
    assert connection.retry.get_retries() == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", f"{STARTS}, not ''"),
        ("localhost:6379", f"{STARTS}, not 'localhost:6379'"),
        ("http://ann:secret@h", f"{STARTS}, not 'http://ann:***@h'"),
        ("redis+proxy://h", f"{STARTS}, not 'redis+proxy://h'"),
        ("unix+cluster:///s.sock", f"{STARTS}, not 'unix+cluster:///s.sock'"),
        ("redis+cluster://", "a host is missing in redis+cluster://"),
        ("redis+cluster://h1,,h2", "a host is missing in redis+cluster://h1,,h2"),
        ("redis+cluster://:secret@/", "a host is missing in redis+cluster://:***@/"),
        ("redis+cluster://h/1", "a Cluster has no database but 0: redis+cluster://h/1"),
        ("redis+cluster://h?db=1", "a Cluster has no database but 0: redis+cluster://h?db=1"),
        (
            "redis+cluster://h1,h2:port",
            "the URL redis+cluster://h1,h2:port does not parse: Port could not be cast to integer value as 'port'",
        ),
        (
            "redis+cluster://ann:se/cret@h1,h2",
            "the URL redis+cluster://ann:***@h1,h2 does not parse: / ? # % and @ in a password must be percent-encoded",
        ),
        ("redis+sentinel://h1,h2", f"{MASTER}, not as in redis+sentinel://h1,h2"),
        ("redis+sentinel://h1/", f"{MASTER}, not as in redis+sentinel://h1/"),
        ("redis+sentinel://h1/main/one", f"{MASTER}, not as in redis+sentinel://h1/main/one"),
        ("redis+sentinel://h1/main/0/1", f"{MASTER}, not as in redis+sentinel://h1/main/0/1"),
        (
            "redis+sentinel://h1/main?sentinel_pasword=secret",
            "the URL redis+sentinel://h1/main?sentinel_pasword=secret does not parse: "
            "AbstractConnection.__init__() got an unexpected keyword argument 'sentinel_pasword'",
        ),
        (
            "embedded://relative/path",
            "an embedded URL holds an absolute path, like embedded:///var/lib/me, not 'embedded://relative/path'",
        ),
        ("embedded://", "an embedded URL holds an absolute path, like embedded:///var/lib/me, not 'embedded://'"),
        ("redis://h:port", "the URL redis://h:port does not parse: Port could not be cast to integer value as 'port'"),
        ("redis://[::1", "the URL redis://[::1 does not parse: Invalid IPv6 URL"),
        (
            "redis://h?max_connections=3",
            "the URL redis://h?max_connections=3 does not parse: "
            "AbstractConnection.__init__() got an unexpected keyword argument 'max_connections'",
        ),
        (
            "redis://ann:se/cret@h",
            "the URL redis://ann:***@h does not parse: / ? # % and @ in a password must be percent-encoded",
        ),
        (
            "redis://:se#cret@h",
            "the URL redis://:***@h does not parse: / ? # % and @ in a password must be percent-encoded",
        ),
        (None, "a queue's URL must be a string, not None"),
        (5, "a queue's URL must be a string, not 5"),
    ],
)
def test_a_bad_url(url: Any, message: str) -> None:
    """It is refused at once, with what is wrong and without its password."""
    with pytest.raises(InvalidJob) as caught:
        Address(url)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "redis://h"),
        ("redis://ann@h", "redis://ann@h"),
        ("redis://:pw@h/0", "redis://:***@h/0"),
        ("redis://ann:pw@h:1?db=1", "redis://ann:***@h:1?db=1"),
        ("redis://ann:p@w@h", "redis://ann:***@h"),
        ("unix://:pw@/s.sock", "unix://:***@/s.sock"),
        ("redis://h?db=1&password=pw&socket_keepalive=1", "redis://h?db=1&password=***&socket_keepalive=1"),
        ("redis+cluster://ann:pw@h1:1,h2:2", "redis+cluster://ann:***@h1:1,h2:2"),
        ("redis+cluster://h1:1,h2:2", "redis+cluster://h1:1,h2:2"),
        ("redis+sentinel://:a@h/main?sentinel_password=b", "redis+sentinel://:***@h/main?sentinel_password=***"),
    ],
)
def test_how_a_url_is_shown(url: str, shown: str) -> None:
    """As it was written, but for the password, wherever it stands."""
    assert Address(url).shown == shown
