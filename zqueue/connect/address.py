"""URLs: what a queue may be given, parsed and checked once."""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any, Final
from urllib.parse import unquote

from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry as ClientRetry
from redis.backoff import NoBackoff

from zqueue import embedded
from zqueue.connect.cluster import Cluster
from zqueue.connect.place import Dial, Endpoint, Fixed, Place
from zqueue.connect.sentinel import Sentinel
from zqueue.errors import InvalidJob

_CONNECT_TIMEOUT_S: Final = 5.0
_PASSWORD: Final = re.compile(r"(://[^:@]*:).*@")
_QUERY_PASSWORD: Final = re.compile(r"([?&]\w*password=)[^&]*")
_SCHEMES: Final = "redis:// rediss:// unix:// embedded:// redis+sentinel:// redis+cluster://"

_Kind = type[AbstractConnection]


class Address:
    """Where a server is and how to talk to it.

    May be shared by event loops and threads; the place remembers what it learnt of a Cluster for all of them.

    Attributes:
        shown: The URL without its passwords, for messages.
        place: Where its connections lead.

    Raises:
        InvalidJob: The URL is not one this library can use; the message says what is wrong with it.
    """

    def __init__(self, url: str) -> None:
        if not isinstance(url, str):
            raise InvalidJob(f"a queue's URL must be a string, not {url!r}")
        self.shown = _without_password(url)
        try:
            self.place = _place(url, self.shown)
        except InvalidJob:
            raise
        except (ValueError, TypeError) as error:
            words = "/ ? # % and @ in a password must be percent-encoded" if "@" in url else error  # never show it
            raise InvalidJob(f"the URL {self.shown} does not parse: {words}") from None


def _without_password(url: str) -> str:
    """*url* to show: also where a password with an unescaped ``/`` or ``?`` makes it another URL."""
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


def _place(url: str, shown: str) -> Place:
    scheme, _, rest = url.partition("://")
    if scheme == "embedded":
        if not rest.startswith("/"):
            raise InvalidJob(f"an embedded URL holds an absolute path, like embedded:///var/lib/me, not {url!r}")
        return Fixed(_dial(_EmbeddedConnection, {"folder": rest}))
    if scheme in ("redis", "rediss", "unix"):
        return Fixed(_dial(*_parsed(url)))
    single, _, many = scheme.partition("+")
    if single not in ("redis", "rediss") or many not in ("sentinel", "cluster"):
        raise InvalidJob(f"a queue's URL starts with one of {_SCHEMES}, not {shown!r}")
    rest, _, query = rest.partition("?")
    rest, _, path = rest.partition("/")
    user, at, hosts = rest.rpartition("@")
    parsed = [_parsed(f"{single}://{user}{at}{host}?{query}") for host in hosts.split(",")]
    kind, options = parsed[0]
    endpoints = _endpoints(parsed, 6379 if many == "cluster" else 26379, shown)
    if many == "cluster":
        if path not in ("", "0") or options.get("db"):
            raise InvalidJob(f"a Cluster has no database but 0: {shown}")
        return Cluster(_dial(kind, options), endpoints)
    return _sentinel(kind, options, endpoints, path, shown)


def _sentinel(kind: _Kind, options: dict[str, Any], sentinels: list[Endpoint], path: str, shown: str) -> Place:
    master, _, db = path.partition("/")
    if not master or not (db or "0").isdecimal():
        raise InvalidJob(
            f"a Sentinel URL ends in the master's name and a database, like /mymaster/0, not as in {shown}"
        )
    to_sentinel = {name: value for name, value in options.items() if name not in ("username", "password", "db")}
    for name in ("username", "password"):
        to_sentinel[name] = options.pop(f"sentinel_{name}", None)
        to_sentinel.pop(f"sentinel_{name}", None)
    options["db"] = int(db or options.get("db", 0))
    return Sentinel(_dial(kind, options), _dial(kind, to_sentinel), sentinels, unquote(master))


def _parsed(url: str) -> tuple[_Kind, dict[str, Any]]:
    options: dict[str, Any] = {**parse_url(url)}
    return options.pop("connection_class", Connection), options


def _endpoints(parsed: list[tuple[_Kind, dict[str, Any]]], port: int, shown: str) -> list[Endpoint]:
    """Each host's; taken out of the options, which are common to all."""
    endpoints = [Endpoint(options.pop("host", ""), options.pop("port", port)) for _, options in parsed]
    if not all(endpoint.host for endpoint in endpoints):
        raise InvalidJob(f"a host is missing in {shown}")
    return endpoints


def _dial(kind: _Kind, options: dict[str, Any]) -> Dial:
    """Makes connections with *options*, without a timeout or a retry of their own.

    Raises:
        TypeError, ValueError: There is no such option.
    """
    ours = {"retry": ClientRetry(NoBackoff(), 0), "client_name": "zqueue", "protocol": 2, "decode_responses": False}
    timeouts = {"socket_timeout": None, "socket_connect_timeout": _CONNECT_TIMEOUT_S}
    dial = functools.partial(kind, **(options | timeouts | ours))
    dial()  # which does no I/O, and knows its options
    return dial


class _EmbeddedConnection(UnixDomainSocketConnection):
    """A Unix socket whose server is started when nobody answers."""

    def __init__(self, *, folder: str, **options: Any) -> None:
        self._server = embedded.server(folder)
        super().__init__(path=str(self._server.socket), **options)

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.to_thread(self._server.ensure)
            await super()._connect()  # type: ignore[no-untyped-call]
