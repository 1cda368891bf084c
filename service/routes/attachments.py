"""``POST /v1/attachments``: upload a file once, to be attached by its SHA-256."""

from __future__ import annotations

import asyncio

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.routes.body import read_any
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import StoredAttachment
from service.routes.state import state_of
from service.store.errors import StoreUnavailable


class Attachments(HTTPEndpoint):
    """Files to attach."""

    @operation(
        Scope.SEND,
        "Upload a file to attach",
        media="application/octet-stream",
        answers={201: StoredAttachment},
        problems=(413, 415),
        tag="Attachments",
    )
    async def post(self, request: Request) -> Response:
        """Keep the body, whatever its media type; the same file again is the same."""
        state = state_of(request)
        data = await read_any(request, state["settings"].max_message)
        health = state["store"].health()
        if health.reason is not None:
            raise StoreUnavailable(health.reason, str(health.detail))
        digest = await asyncio.to_thread(state["store"].put_blob, data)
        return reply({"object": "attachment", "sha256": digest, "size": len(data)}, 201)
