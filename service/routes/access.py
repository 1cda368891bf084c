"""One log line per request."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import unsubscribe

_log = logging.getLogger(__name__)


class AccessLog:
    """Logs method, path, status, time and the id of the API key.

    Never the query or a header, which may hold what is nobody's business, nor a token that is part of the path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass *scope* on, and log how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0  # nothing was answered: the client went away, or the process ends
        began = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            milliseconds = round((time.perf_counter() - began) * 1000, 2)
            told: dict[str, Any] = {
                "method": scope["method"],
                "path": _shown(scope["path"]),
                "status": status,
                "ms": milliseconds,
            }
            if scope.get("key_id"):
                told["key"] = scope["key_id"]
            _log.info("request", extra=told)


def _shown(path: str) -> str:
    """*path* without what it takes to unsubscribe somebody."""
    return f"{unsubscribe.PATH}..." if path.startswith(unsubscribe.PATH) else path
