"""The scripted SMTP server on a thread of its own, for tests that wait without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from tests.smtpd import Received, Script, SmtpServer


class Relay:
    """A scripted SMTP server; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._server = SmtpServer()

    def __enter__(self) -> Relay:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """What the service is told."""
        return self._server.url()

    def start(self) -> None:
        """Listen; again at the same port after a `stop`."""
        self._do(self._server.start())

    def stop(self) -> None:
        """Be away, as after a crash."""
        self._do(self._server.stop())

    def script(self, script: Script) -> None:
        """Answer by *script* from here on."""

        async def change() -> None:
            self._server.rescript(script)

        self._do(change())

    def received(self, address: str) -> list[Received]:
        """The messages accepted for *address* so far."""
        return [message for message in tuple(self._server.received) if address in message.recipients]

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
