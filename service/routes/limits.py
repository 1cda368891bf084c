"""How often may this key be used: counted before a request is read, told with whatever answers it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.scopes import Scope as KeyScope
from service.routes.refusals import TooManyRequests
from service.routes.state import AppState

_FIELDS = "ratelimit_fields"


def count(scope: Scope, key_scope: KeyScope) -> None:
    """Count a request that needs *key_scope*, by the key in its `key_id`.

    Raises:
        TooManyRequests: It is one too many.
    """
    state: AppState = scope["state"]
    allowance = state["limiter"].take(scope["key_id"], key_scope)
    if allowance is not None:
        scope[_FIELDS] = allowance.headers
        if allowance.wait:
            raise TooManyRequests(allowance)


class LimitFields:
    """Adds the fields of the limit to every answer to a request that was counted, problems too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass *scope* on."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start" and _FIELDS in scope:
                MutableHeaders(scope=message).update(scope[_FIELDS])
            await send(message)

        await self._app(scope, receive, add)
