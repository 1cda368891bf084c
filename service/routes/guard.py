"""Who may ask: everything that a route needs before its endpoint is called.

Without API keys the only ones served are programs and people of this machine. Three ways lead a stranger past a
loopback address, and each is closed here: a web page whose name resolves to the loopback (it shows in `Host`), a web
page that posts across origins (it shows in `Origin`), and a proxy that serves others (it shows in its forwarding
headers). Once there is a key every request needs one, whatever it comes through.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access import audit, keys
from service.access.keys import ApiKey
from service.access.scopes import Scope as KeyScope
from service.routes import limits
from service.routes.operation import Operation, operations
from service.routes.refusals import Forbidden, NotAllowed, Unauthorized
from service.routes.state import AppState
from service.settings import is_loopback
from service.store.errors import StoreUnavailable

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_READING = ("GET", "HEAD")

_log = logging.getLogger(__name__)


def guarded(routes: Sequence[Route]) -> list[BaseRoute]:
    """The same routes, each behind a `Guard`."""
    return [
        Route(one.path, one.endpoint, name=one.name, middleware=[Middleware(Guard, one.endpoint)]) for one in routes
    ]


class Guard:
    """Lets a request through to its endpoint if it may ask for what it asks for.

    It leaves the id of the key in the request's scope, as ``key_id``; empty where no key is asked for.
    """

    def __init__(self, app: ASGIApp, endpoint: object) -> None:
        self._app = app
        self._operations = operations(endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass *scope* on, or raise what answers it."""
        state: AppState = scope["state"]
        scope["key_id"] = ""
        operation = self._operation(scope["method"])
        if operation is None:  # which is answered with 405, whoever asks
            await self._app(scope, receive, send)
            return
        key = _admitted(state, Headers(scope=scope), operation)
        if key is not None:
            scope["key_id"] = key.id
            _check_scope(key, operation, scope)
        limits.count(scope, operation.scope)
        if operation.scope is not KeyScope.ADMIN or scope["method"] in _READING:
            await self._app(scope, receive, send)
            return

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                await _note(state, scope, operation)
            await send(message)

        await self._app(scope, receive, note_and_send)

    def _operation(self, method: str) -> Operation | None:
        return self._operations.get("get" if method == "HEAD" else method.lower())


def refuse_strangers(headers: Headers) -> None:
    """Raise unless a request without a key comes from a program or a page of this machine.

    Raises:
        NotAllowed: It may come from elsewhere.
    """
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _is_local(f"//{hosts[0]}"):
        raise NotAllowed(
            "host_not_allowed",
            "Without API keys only localhost is served: use http://localhost or http://127.0.0.1.",
        )
    if any(name in headers for name in _FORWARDED):
        raise NotAllowed("forwarded", "Without API keys requests that come through a proxy are not served.")
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
        raise NotAllowed("cross_origin", "Pages of other sites may not use this API.")


def _is_local(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return is_loopback(parts.hostname or "") and (parts.port is None or parts.port > 0) and "@" not in parts.netloc
    except ValueError:
        return False


def _admitted(state: AppState, headers: Headers, operation: Operation) -> ApiKey | None:
    """The key of a request; None where none is asked for."""
    if operation.anywhere:
        return None
    if operation.scope is KeyScope.PUBLIC:
        _let_in(state, headers)
        return None
    if not keys.exist(state["store"]):
        refuse_strangers(headers)
        return None
    given = headers.getlist("authorization")
    if not given:
        raise Unauthorized("Send an API key, with the header Authorization: Bearer zq_....", code="key_missing")
    kind, _, token = given[0].partition(" ")
    if len(given) > 1 or kind.lower() != "bearer" or not token.strip():
        raise Unauthorized("The header Authorization must be: Bearer zq_..., once.")
    key = keys.find(state["store"], token.strip())
    if key is None:
        raise Unauthorized("There is no such API key.")
    ended = key.ended(state["queue"].now())
    if ended is not None:
        raise Unauthorized(f"The API key {key.id} {ended}.")
    return key


def _let_in(state: AppState, headers: Headers) -> None:
    """The store is asked only for strangers: a damaged one must not keep the service from saying that it is."""
    try:
        refuse_strangers(headers)
    except NotAllowed:
        if not keys.exist(state["store"]):
            raise


def _check_scope(key: ApiKey, operation: Operation, scope: Scope) -> None:
    if not key.allows(operation.scope):
        _log.warning("key %s has no scope %s: %s %s", key.id, operation.scope, scope["method"], scope["path"])
        raise Forbidden(key.id, operation.scope)


async def _note(state: AppState, scope: Scope, operation: Operation) -> None:
    told = {"key": scope["key_id"], "method": scope["method"], "path": scope["path"], "action": operation.summary}
    try:
        await audit.note(state["store"], scope["key_id"], "admin", told)
    except StoreUnavailable as error:  # after what was done; it stays done
        _log.warning("not in the audit: %s", told, exc_info=error)
