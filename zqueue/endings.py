"""Hearing that jobs have ended, for whoever awaits a result: one subscribed connection, made when first needed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

from zqueue.connect import Address, Link
from zqueue.errors import QueueUnavailable
from zqueue.keys import Keys

_LOG: Final = logging.getLogger("zqueue")
_SILENCE_S: Final = 60.0
"""A subscription that heard nothing for so long is made anew: its server may be gone without a word."""
_RECONNECT_S: Final = 0.5


class Endings:
    """The endings of one shard, for one event loop."""

    def __init__(self, address: Address, keys: Keys) -> None:
        self._channel = keys.ended
        self._link = Link(address, timeout=_SILENCE_S, key=keys.wake)
        self._awaited: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def of(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job may have ended: it was told so, or may have been missed."""
        event = asyncio.Event()
        self._awaited.setdefault(job_id, set()).add(event)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen(), name="zqueue endings")
        try:
            yield event
        finally:
            self._awaited[job_id].discard(event)
            if not self._awaited[job_id]:
                del self._awaited[job_id]

    async def close(self) -> None:
        """End the subscription; who still waits is not told any more."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])

    async def _listen(self) -> None:
        try:
            while self._awaited:
                try:
                    message = (await self._link.send(("SUBSCRIBE", self._channel)))[0]
                    self._tell(list(self._awaited))  # what ended before the subscription was not heard
                    while True:
                        self._hear(message)
                        message = await self._link.receive()
                except QueueUnavailable as lost:
                    _LOG.debug("the subscription to endings is made anew: %s", lost)
                    await asyncio.sleep(_RECONNECT_S)
        finally:
            await self._link.close()

    def _hear(self, message: Any) -> None:
        if isinstance(message, list) and message[0] == b"message":
            self._tell(message[2].decode("utf-8", "replace").split("\n"))

    def _tell(self, ids: list[str]) -> None:
        for job_id in ids:
            for event in self._awaited.get(job_id, ()):
                event.set()
