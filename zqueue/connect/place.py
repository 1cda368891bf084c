"""Where connections lead to, and servers that can be asked where another one is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from zqueue.connect.trouble import NOT_READY, ServerGone

T = TypeVar("T")

HOP_S: Final = 1.5
"""How long one of many servers may take to connect and answer: a frozen host must not eat the time there is."""

Dial = Callable[..., AbstractConnection]
"""Makes a connection, not yet connected, with the options of a URL; takes ``host`` and ``port``."""


class Endpoint(NamedTuple):
    """A server's address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Place(Protocol):
    """Where the server is that takes the commands.

    Attributes:
        moves: Whether another server may take its place, found by asking; else there is only this one to wait for.
    """

    moves: bool

    async def locate(self, key: bytes | None) -> AbstractConnection:
        """A new connection to the server that has *key*, not yet connected."""
        ...

    def forget(self, key: bytes | None) -> None:
        """The server last located for *key* was the wrong one, or is gone."""
        ...


class Fixed:
    """One server, always the same."""

    moves = False

    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    async def locate(self, key: bytes | None) -> AbstractConnection:
        """The only one."""
        return self._dial()

    def forget(self, key: bytes | None) -> None:
        """There is no other."""


class Guides:
    """Servers to ask where another one is. Each question begins with the next of them, so that none can mislead twice.

    Args:
        seeds: Those of the URL; they are never forgotten.
    """

    def __init__(self, dial: Dial, seeds: Iterable[Endpoint]) -> None:
        self._dial = dial
        self._seeds = tuple(seeds)
        self._known = deque(self._seeds)

    def know(self, endpoints: Iterable[Endpoint]) -> None:
        """These, and the seeds, are the ones to ask from now on."""
        self._known = deque(dict.fromkeys((*endpoints, *self._seeds)))

    async def ask(self, command: tuple[Any, ...], read: Callable[[Any, Endpoint], T]) -> T:
        """Ask one after the other, until *read* makes something of a reply.

        Args:
            read: Gets a reply and who gave it; raises a `RedisError` when another one should be asked.

        Raises:
            RedisError: Nobody answered. Of the troubles there were it is one that waiting may mend, or else the last.
        """
        known = self._known
        trouble: Exception = ServerGone("there is nobody to ask")
        for _ in range(len(known)):
            guide = known[0]
            known.rotate(-1)
            try:
                return read(await self._reply(guide, command), guide)
            except TimeoutError:
                error: Exception = ServerGone(f"no answer from {guide} within {HOP_S:g} s")
            except (RedisError, OSError) as failure:
                error = failure
            trouble = trouble if isinstance(trouble, NOT_READY) else error
        raise trouble

    async def _reply(self, guide: Endpoint, command: tuple[Any, ...]) -> Any:
        connection = self._dial(host=guide.host, port=guide.port)
        try:
            async with asyncio.timeout(HOP_S):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_packed_command(pack_command(command), check_health=False)
                return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
