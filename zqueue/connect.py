"""Connections: one `Link` is one socket to the server, with nothing re-sent behind anybody's back.

The client library's connections do the socket, the protocol (hiredis), TLS and AUTH. Its retries are off: it would send
a script again though the first one ran (`docs/architecture.md`, "Connections and re-sending"). What to do after a
failure is decided in `sending`, where it is known what may be sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry as ClientRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ServerGone

from zqueue import embedded
from zqueue.errors import InvalidJob, QueueUnavailable

TIMEOUT_S: Final = 10.0
"""How long a server may take to answer before the connection counts as lost."""

_CONNECT_TIMEOUT_S: Final = 5.0
_PASSWORD: Final = re.compile(r"(://[^:@]*:).*@")
_QUERY_PASSWORD: Final = re.compile(r"([?&]password=)[^&]*")
_SCHEMES: Final = "redis:// rediss:// unix:// embedded://"

ServerError = ResponseError
"""An error that the server answered: it is in the place of the reply."""

_REFUSALS: Final = (NoScriptError, ReadOnlyError, TryAgainError, ClusterDownError, AskError)
_REFUSAL_WORDS: Final = ("READONLY", "LOADING", "BUSY ")


class LinkLost(QueueUnavailable):
    """The connection could not be made, or broke.

    Attributes:
        trouble: What happened, in words.
        sent: False when it is certain that the server has not executed the commands.
        refused: True when a server is there but not ready (loading its data, or a replica): worth waiting for.
    """

    def __init__(self, trouble: str, *, sent: bool, refused: bool = False) -> None:
        super().__init__(f"{trouble}; the call {'may have taken' if sent else 'had no'} effect")
        self.trouble = trouble
        self.sent = sent
        self.refused = refused


def is_refusal(error: ServerError) -> bool:
    """Whether the server says that it executed nothing and may well do so later.

    Redis 6.2 wraps such an error in a generic one when it comes up in a script, so the words count too.
    """
    return isinstance(error, _REFUSALS) or any(word in str(error) for word in _REFUSAL_WORDS)


def is_script_unknown(error: ServerError) -> bool:
    """Whether the server does not know the script: it restarted, or was told to forget."""
    return isinstance(error, NoScriptError)


class _NotMaster(ServerGone):
    """The server at the other end is a replica: reads would be stale and writes refused."""


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


class Address:
    """Where a server is and how to talk to it, parsed and checked once.

    Attributes:
        shown: The URL without its password, for messages.

    Raises:
        InvalidJob: The URL is not one this library can use.
    """

    def __init__(self, url: str) -> None:
        if not isinstance(url, str):
            raise InvalidJob(f"a queue's URL must be a string, not {url!r}")
        self.shown = _without_password(url)
        self._kind: type[AbstractConnection] = Connection
        self._options: dict[str, Any]
        scheme, _, rest = url.partition("://")
        if scheme == "embedded":
            if not rest.startswith("/"):
                raise InvalidJob(f"an embedded URL holds an absolute path, like embedded:///var/lib/me, not {url!r}")
            self._kind, self._options = _EmbeddedConnection, {"folder": rest}
        elif scheme in ("redis", "rediss", "unix"):
            try:
                self._options = dict(parse_url(url))
                self._kind = self._options.pop("connection_class", Connection)
                self.connection()  # which does no I/O, and knows its options
            except (ValueError, TypeError) as error:
                words = "/ ? # % and @ in a password must be percent-encoded" if "@" in url else error  # never show it
                raise InvalidJob(f"the URL {self.shown} does not parse: {words}") from None
        else:
            raise InvalidJob(f"a queue's URL starts with one of {_SCHEMES}, not {self.shown!r}")

    def connection(self) -> AbstractConnection:
        """A new connection, not yet connected, without a timeout or a retry of its own."""
        ours = {"retry": ClientRetry(NoBackoff(), 0), "client_name": "zqueue", "protocol": 2, "decode_responses": False}
        timeouts = {"socket_timeout": None, "socket_connect_timeout": _CONNECT_TIMEOUT_S}
        return self._kind(**(self._options | timeouts | ours))


def _without_password(url: str) -> str:
    """*url* to show: also where a password with an unescaped ``/`` or ``?`` makes it another URL."""
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


class Link:
    """One connection, used by one caller at a time; it connects when first used, and again after it broke.

    Args:
        timeout: Seconds within which a round trip has to end.

    Attributes:
        client_id: The server's id of this connection; None until connected.
    """

    def __init__(self, address: Address, *, timeout: float = TIMEOUT_S) -> None:
        self._address = address
        self._timeout = timeout
        self._connection = address.connection()
        self.client_id: int | None = None

    async def send(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Send *commands* in one write and read their replies.

        Returns:
            A reply for each; an error the server answered is in its place, not raised.

        Raises:
            LinkLost: The connection broke; whether the commands ran is unknown, unless ``sent`` is False.
        """
        connection = self._connection
        sent = False
        try:
            async with asyncio.timeout(self._timeout):
                if not connection.is_connected:
                    await self._connect()
                packed = b"".join([pack_command(command) for command in commands])
                sent = True
                await connection.send_packed_command(packed, check_health=False)
                return [await self._reply() for _ in commands]
        except (RedisError, OSError, TimeoutError) as error:
            await self.close()
            words = str(error).rstrip(".") or f"no answer within {self._timeout:g} s"
            refused = isinstance(error, BusyLoadingError | _NotMaster)
            trouble = f"{self._address.shown} is unavailable: {words}"
            raise LinkLost(trouble, sent=sent and not refused, refused=refused) from error
        except BaseException:
            await self.close()  # cancelled between sending and reading: a reply is on its way to nobody
            raise

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error

    async def _connect(self) -> None:
        """Connect, and make sure that the other end takes writes: an idle claim on a demoted master *succeeds*."""
        await self._connection.connect()  # type: ignore[no-untyped-call]
        greetings: tuple[tuple[Any, ...], ...] = (("ROLE",), ("CLIENT", "ID"))
        await self._connection.send_packed_command(
            b"".join([pack_command(each) for each in greetings]), check_health=False
        )
        role, client_id = await self._reply(), await self._reply()
        if isinstance(role, list) and role[0] != b"master":
            raise _NotMaster(f"READONLY: this server is a {role[0].decode()}, not a master")
        self.client_id = client_id if isinstance(client_id, int) else None

    async def close(self) -> None:
        """Close the socket at once; safe to call twice."""
        self.client_id = None
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)


class Links:
    """A few `Link`s shared by concurrent callers; a caller waits while all are in use.

    Args:
        most: Connections at the same time.
    """

    def __init__(self, address: Address, most: int = 16) -> None:
        self._address = address
        self._free: list[Link] = []
        self._places = asyncio.Semaphore(most)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Link]:
        """A link of one's own for the length of the block."""
        async with self._places:
            link = self._free.pop() if self._free else Link(self._address)
            try:
                yield link
            finally:
                self._free.append(link)

    async def close(self) -> None:
        """Close what is not in use."""
        while self._free:
            await self._free.pop().close()
