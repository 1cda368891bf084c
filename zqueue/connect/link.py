"""One connection to wherever its server is, and a few of them shared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, MovedError, RedisError, ResponseError

from zqueue.connect.address import Address
from zqueue.connect.place import HOP_S
from zqueue.connect.trouble import NOT_READY, LinkLost, NotReady, is_elsewhere

TIMEOUT_S: Final = 10.0
"""How long a server may take to answer before the connection counts as lost."""


class Link:
    """One connection, used by one caller at a time; it connects when first used, and again after it broke.

    A reply that says that the server is not the right one (any more) closes it too: the next `send` looks for the
    right one.

    Args:
        timeout: Seconds within which a round trip has to end.
        key: Of a Cluster, the node that has this key.

    Attributes:
        client_id: The server's id of this connection; None until connected.
    """

    def __init__(self, address: Address, *, timeout: float = TIMEOUT_S, key: bytes | None = None) -> None:
        self._address = address
        self._timeout = timeout
        self._key = key
        self._connection: AbstractConnection | None = None
        self.client_id: int | None = None

    async def send(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Send *commands* in one write and read their replies.

        Returns:
            A reply for each; an error the server answered is in its place, not raised.

        Raises:
            LinkLost: The connection broke; whether the commands ran is unknown, unless ``sent`` is False.
        """
        sent = False
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connected()
                packed = _packed(commands)
                sent = True
                await connection.send_packed_command(packed, check_health=False)
                replies = [await _reply(connection) for _ in commands]
        except (RedisError, OSError, TimeoutError) as error:
            await self._leave()
            words = str(error).rstrip(".") or f"no answer within {self._timeout:g} s"
            refused = isinstance(error, NOT_READY)
            trouble = f"{self._address.shown} is unavailable: {words}"
            raise LinkLost(trouble, sent=sent and not refused, refused=refused) from error
        except BaseException:
            await self.close()  # cancelled between sending and reading: a reply is on its way to nobody
            raise
        if any(isinstance(reply, ResponseError) and is_elsewhere(reply) for reply in replies):
            await self._leave()
            self._need_no_other(replies)
        return replies

    async def receive(self) -> Any:
        """The next message of a subscription.

        Raises:
            LinkLost: The connection broke, or nothing came within the timeout.
        """
        if self._connection is None:
            raise LinkLost(f"{self._address.shown}: there is no subscription", sent=False)
        try:
            async with asyncio.timeout(self._timeout):
                return await _reply(self._connection)
        except (RedisError, OSError, TimeoutError) as error:
            await self._leave()
            words = str(error).rstrip(".") or f"no message within {self._timeout:g} s"
            raise LinkLost(f"{self._address.shown}: {words}", sent=False) from error

    async def _connected(self) -> AbstractConnection:
        if self._connection is None or not self._connection.is_connected:
            place = self._address.place
            self._connection = await place.locate(self._key)
            try:
                async with asyncio.timeout(HOP_S if place.moves else None):
                    self.client_id = await _greet(self._connection)
            except (RedisError, OSError, TimeoutError) as error:
                if not place.moves or isinstance(error, NOT_READY + _NO_WAITING):
                    raise
                raise NotReady(str(error) or f"the master does not answer within {HOP_S:g} s") from error
        return self._connection

    def _need_no_other(self, replies: list[Any]) -> None:
        """Whoever gave the URL of one server of several should hear of it, not wait for it to become the only one."""
        moved = sum(isinstance(reply, MovedError) for reply in replies)
        if moved and not self._address.place.moves:
            trouble = f"{self._address.shown} is a node of a Cluster, whose URL starts with redis+cluster://"
            raise LinkLost(trouble, sent=moved < len(replies))

    async def _leave(self) -> None:
        """Close, and look for the server anew next time."""
        self._address.place.forget(self._key)
        await self.close()

    async def close(self) -> None:
        """Close the socket at once; safe to call twice."""
        self.client_id = None
        if self._connection is not None:
            with contextlib.suppress(RedisError, OSError):
                await self._connection.disconnect(nowait=True)


_GREETING: Final[tuple[tuple[Any, ...], ...]] = (("ROLE",), ("CLIENT", "ID"))
_NO_WAITING: Final = (AuthenticationError, ResponseError)
"""Of a server that answers, with what waiting does not mend."""


async def _greet(connection: AbstractConnection) -> int | None:
    """Connect, and make sure that the other end takes writes: an idle claim on a demoted master *succeeds*.

    Returns:
        The server's id of the connection; None when it does not say.
    """
    await connection.connect()  # type: ignore[no-untyped-call]
    await connection.send_packed_command(_packed(_GREETING), check_health=False)
    role, client_id = await _reply(connection), await _reply(connection)
    if isinstance(role, list) and role[0] != b"master":
        raise NotReady(f"READONLY: this server is a {role[0].decode()}, not a master")
    return client_id if isinstance(client_id, int) else None


def _packed(commands: Iterable[tuple[Any, ...]]) -> bytes:
    return b"".join([pack_command(command) for command in commands])


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


class Links:
    """A few `Link`s shared by concurrent callers; a caller waits while all are in use.

    Args:
        most: Connections at the same time.
        key: Of a Cluster, the node that has this key.
    """

    def __init__(self, address: Address, most: int = 16, key: bytes | None = None) -> None:
        self._address = address
        self._key = key
        self._free: list[Link] = []
        self._closed = False
        self._places = asyncio.Semaphore(most)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Link]:
        """A link of one's own for the length of the block."""
        async with self._places:
            link = self._free.pop() if self._free else Link(self._address, key=self._key)
            try:
                yield link
            finally:
                self._free.append(link)
                if self._closed:  # while this one was in use
                    await self.close()

    async def close(self) -> None:
        """Close what is not in use, and the others when they are given back."""
        self._closed = True
        while self._free:
            await self._free.pop().close()
