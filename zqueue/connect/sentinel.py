"""Sentinel: the master that the sentinels agree on, asked for at each connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection

from zqueue.connect.place import Dial, Endpoint, Guides
from zqueue.connect.trouble import ServerGone


class Sentinel:
    """The master of one name.

    Args:
        dial: Makes connections to the master.
        dial_sentinel: Makes connections to a sentinel, which may want another password.
    """

    moves = True

    def __init__(self, dial: Dial, dial_sentinel: Dial, sentinels: Iterable[Endpoint], master: str) -> None:
        self._dial = dial
        self._guides = Guides(dial_sentinel, sentinels)
        self._master = master

    async def locate(self, key: bytes | None) -> AbstractConnection:
        """A connection to the present master.

        Raises:
            RedisError: No sentinel answers, or none knows the master.
        """
        host, port = await self._guides.ask(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master), self._read)
        return self._dial(host=host, port=port)

    def forget(self, key: bytes | None) -> None:
        """Nothing is remembered."""

    def _read(self, reply: Any, guide: Endpoint) -> Endpoint:
        if reply is None:
            raise ServerGone(f"the sentinel {guide} knows no master named {self._master!r}")
        return Endpoint(reply[0].decode(), int(reply[1]))
