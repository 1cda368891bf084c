"""One message on its way to one endpoint: a POST, and what came of it in words that hold nothing secret."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpcore

from service.webhooks import signing
from service.webhooks.connector import Connector, NameUnknown, Resolve, TargetRefused, resolve
from service.webhooks.message import Message
from service.webhooks.targets import parse_url

TIMEOUT = timedelta(seconds=15)
"""For all of it, from the name's resolution to the end of the answer."""

MOST_READ = 64 * 1024
"""Bytes of an answer's body that are read; it says nothing, but a connection is used again only after its end."""

_KEEP_S = 4.0
_LONGEST_WAIT = timedelta(days=1)
_GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt.

    Attributes:
        status: Of the answer; None where there was none.
        error: Why the message was not taken; None if it was.
        wait: How long the endpoint asks to be left alone.
        duration: How long it took.
    """

    status: int | None
    error: str | None
    wait: timedelta
    duration: timedelta

    @property
    def gone(self) -> bool:
        """Whether the endpoint wants nothing any more."""
        return self.status == _GONE


class Sender:
    """Sends messages, each on a connection that no redirect and no new address of a name leads elsewhere."""

    def __init__(
        self,
        *,
        allow_private: bool,
        connections: int,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        """Send with these.

        Args:
            allow_private: Whether a message may go to an address of this machine or its network.
            connections: Most at the same time.
            resolve: Finds the addresses of a name.
            tls: Says whose certificates are trusted; None for those that everybody trusts.
            timeout: See `TIMEOUT`.
        """
        self.allow_private = allow_private
        self._timeout = timeout
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpcore.default_ssl_context(),  # which takes a while, and not for each connection
            max_connections=connections,
            keepalive_expiry=_KEEP_S,
            network_backend=Connector(allow_private=allow_private, resolve=resolve),
        )

    async def send(self, url: str, message: Message, keys: Sequence[str], now: datetime) -> Answer:
        """Deliver *message* to *url*, signed with each of *keys*; never raises for what the endpoint does."""
        began = time.monotonic()
        status, wait = None, timedelta(0)
        try:
            target = parse_url(url, allow_private=self.allow_private)
            signed = signing.headers(message.id, int(now.timestamp()), message.body, keys)
            async with asyncio.timeout(self._timeout.total_seconds()):
                status, wait = await self._post(target, message.body, signed)
            error = _complaint(status)
        except ValueError as refused:
            error = f"its URL {refused}"
        except TimeoutError:
            error = f"no answer within {self._timeout.total_seconds():g} s"
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as trouble:
            error = _words(trouble)
        return Answer(status, error, wait, timedelta(seconds=time.monotonic() - began))

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _post(self, url: httpcore.URL, body: bytes, signed: dict[str, str]) -> tuple[int, timedelta]:
        headers = {"content-type": "application/json", "user-agent": "zqueue-webhooks/1", **signed}
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with self._pool.stream("POST", url, headers=fields, content=body) as response:
            left = MOST_READ
            async for chunk in response.aiter_stream():
                left -= len(chunk)
                if left < 0:
                    break
        after = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
        seconds = int(after) if after.isdigit() and len(after) < 8 else 0
        return response.status, min(timedelta(seconds=seconds), _LONGEST_WAIT)


def _complaint(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    return f"answered {status}" + ("; redirects are not followed" if 300 <= status < 400 else "")


def _words(trouble: Exception) -> str:
    """In our own words, as far as possible: those of a library may hold what was sent."""
    cause = trouble.__cause__ or trouble.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or 'no reason given'}"
    if isinstance(trouble, TargetRefused | NameUnknown):
        return str(trouble)
    if isinstance(trouble, httpcore.ConnectError | httpcore.ConnectTimeout):
        return "it cannot be connected to"
    if isinstance(trouble, httpcore.ProtocolError):
        return "its answer is not HTTP"
    return "the connection broke"
