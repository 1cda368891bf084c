"""``/openapi.json``: the document for programs."""

from __future__ import annotations

import orjson
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.routes.openapi.document import Json, build
from service.routes.operation import Scope, operation
from service.routes.shapes import AnyObject


class OpenApi(HTTPEndpoint):
    """The OpenAPI document."""

    @operation(Scope.PUBLIC, "This description, in OpenAPI 3.1", tag="About", answers={200: AnyObject})
    async def get(self, request: Request) -> Response:
        """The document that describes every operation; made from the same models that check requests."""
        return Response(orjson.dumps(document_of(request)), media_type="application/json")


def document_of(request: Request) -> Json:
    """The document of the application that *request* came to, made once."""
    kept: dict[str, Json] = request.app.state._state
    if "openapi" not in kept:
        kept["openapi"] = build(route for route in request.app.routes if isinstance(route, Route))
    return kept["openapi"]
