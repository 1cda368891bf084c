"""How much of the bodies of requests is in memory at a time, whatever number of clients send large ones."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL = 1024 * 1024
"""Bytes of a body that are not counted."""


class Crowded(Exception):
    """Too many large requests are in memory; the same one may be taken a moment later."""


class BodyMemory:
    """Counts the bytes of all bodies until their requests are answered, and refuses to read on above *most*."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass *scope* on; what reads its body may meet `Crowded`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size = held = 0

        async def counted() -> Message:
            nonlocal size, held
            message = await receive()
            size += len(message.get("body", b""))
            more = max(0, size - SMALL) - held
            if more and self._held + more > self._most:
                # At once, not when it is answered: else all others that come at the same time would be refused with it.
                self._held -= held
                held = 0
                raise Crowded
            held += more
            self._held += more
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._held -= held
