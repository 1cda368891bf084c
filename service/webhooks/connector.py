"""Connections to endpoints: a name is judged by the address that is connected to, at the moment it is.

It may resolve to another one than before, or than a check a moment ago saw.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable

import httpcore

from service.webhooks.targets import ALLOW, is_public

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, for a port."""

_CONNECT_S = 5.0
_MOST_ADDRESSES = 3


class TargetRefused(httpcore.ConnectError):
    """The host has no address that a webhook may go to."""


class NameUnknown(httpcore.ConnectError):
    """The host has no address at all."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of *host*, as the system has them.

    Raises:
        OSError: It has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Connector(httpcore.AsyncNetworkBackend):
    """Connects to what may be connected to: names are resolved here, and what is connected to is an address."""

    def __init__(self, *, allow_private: bool, resolve: Resolve = resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to *host*; TLS, where there is some, is still about its name.

        Raises:
            TargetRefused: It has no address that is allowed.
            NameUnknown: It has none.
            httpcore.ConnectError: Nobody answers there.
        """
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise NameUnknown("its host name cannot be resolved") from error
        allowed = [one for one in addresses if self._allow_private or is_public(one)]
        if not allowed:
            raise TargetRefused(f"its host leads into a private network; the setting {ALLOW}=1 allows it")
        trouble: Exception | None = None
        for address in allowed[:_MOST_ADDRESSES]:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout=_CONNECT_S, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
        assert trouble is not None
        raise trouble

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never: a webhook goes to no file."""
        raise TargetRefused("a webhook cannot go to a Unix socket")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)
