"""The page and what it needs, all of it from this package."""

from __future__ import annotations

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.routes.docs.page import ASSETS, render
from service.routes.openapi.endpoints import document_of
from service.routes.operation import Scope, operation

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Docs(HTTPEndpoint):
    """The page."""

    @operation(Scope.PUBLIC, "This description, for people", tag="About", answer_media=("text/html",))
    async def get(self, request: Request) -> Response:
        """Every operation with its parameters, examples and answers, as a page that needs no script."""
        kept: dict[str, str] = request.app.state._state
        if "docs" not in kept:
            kept["docs"] = render(document_of(request))
        return Response(kept["docs"], media_type="text/html", headers=_HEADERS)


class Style(HTTPEndpoint):
    """The page's style sheet."""

    @operation(Scope.PUBLIC, "The style of /docs", tag="About", answer_media=("text/css",), hidden=True)
    async def get(self, _request: Request) -> Response:
        """The file as it is."""
        return Response(_STYLE, media_type="text/css", headers=_HEADERS)


class Script(HTTPEndpoint):
    """The page's script: sends requests from it."""

    @operation(Scope.PUBLIC, "The script of /docs", tag="About", answer_media=("text/javascript",), hidden=True)
    async def get(self, _request: Request) -> Response:
        """The file as it is."""
        return Response(_SCRIPT, media_type="text/javascript", headers=_HEADERS)


_STYLE = (ASSETS / "docs.css").read_bytes()
_SCRIPT = (ASSETS / "docs.js").read_bytes()
