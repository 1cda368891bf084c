"""``/inbox``: what the catch-all inbox for development has taken in."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service import inbox
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import CaughtMessageList, WholeCaughtMessage
from service.routes.state import state_of


class Messages(HTTPEndpoint):
    """Its messages."""

    @operation(Scope.READ, "List what the inbox for development caught", tag="Inbox", answers={200: CaughtMessageList})
    async def get(self, request: Request) -> Response:
        """The newest hundred, newest first; none when this service sends elsewhere."""
        directory = inbox.folder(state_of(request)["settings"].data_dir)
        messages = await asyncio.to_thread(inbox.list_messages, directory)
        return reply({"object": "list", "data": [_shown(message) for message in messages]})


class OneMessage(HTTPEndpoint):
    """One of its messages."""

    @operation(Scope.READ, "Read a caught message", tag="Inbox", answers={200: WholeCaughtMessage}, problems=(404,))
    async def get(self, request: Request) -> Response:
        """The message as it arrived: `raw` is what came over SMTP."""
        directory = inbox.folder(state_of(request)["settings"].data_dir)
        found = await asyncio.to_thread(inbox.read_message, directory, request.path_params["id"])
        if found is None:
            raise HTTPException(404)
        message, data = found
        return reply(_shown(message) | {"raw": data.decode("utf-8", "replace")})


def _shown(message: inbox.Arrived) -> dict[str, Any]:
    document = asdict(message)
    document["from"], document["to"] = document.pop("sender"), document.pop("recipients")
    return document
