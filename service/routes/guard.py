"""Who may ask at all. There are no keys yet, so the only ones are programs and people of this machine.

Three ways lead a stranger past a loopback address, and each is closed here: a web page whose name resolves to the
loopback (it shows in `Host`), a web page that posts across origins (it shows in `Origin`), and a proxy that serves
others (it shows in its forwarding headers).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.routes.reply import problem
from service.settings import is_loopback

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


class Guard:
    """Answers 403 to requests that do not come from this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass *scope* on, or answer it."""
        refusal = refuse(Headers(scope=scope)) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problem(403, refusal[0], refusal[1])(scope, receive, send)


def refuse(headers: Headers) -> tuple[str, str] | None:
    """Code and sentence of the refusal; None for a request that may pass."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _is_local(f"//{hosts[0]}"):
        return (
            "host_not_allowed",
            "Without API keys only localhost is served: use http://localhost or http://127.0.0.1.",
        )
    if any(name in headers for name in _FORWARDED):
        return "forwarded", "Without API keys requests that come through a proxy are not served."
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
        return "cross_origin", "Pages of other sites may not use this API."
    return None


def _is_local(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return is_loopback(parts.hostname or "") and (parts.port is None or parts.port > 0) and "@" not in parts.netloc
    except ValueError:
        return False
