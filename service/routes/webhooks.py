"""``/v1/webhooks``: endpoints that are told what happens."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.email.strict_json import decode
from service.routes.body import read_json
from service.routes.documents import PageQuery, parse_page
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import Shape
from service.routes.state import state_of
from service.store.documents import Document
from service.webhooks import requests
from service.webhooks.endpoint import from_document, shown
from service.webhooks.registry import WebhookNotFound

_LONGEST_ID = 100
_EXAMPLE = {"url": "https://example.com/hooks", "types": ["email.completed", "email.failed"]}


class WebhookShape(Shape):
    """An endpoint, and how telling it goes."""

    id: str = Field(examples=["wh_01KAVK0PN0F6C9ZR8YHJX2T4QW"])
    object: Literal["webhook"]
    url: str = Field(description="Where messages are posted to.", examples=["https://example.com/hooks"])
    types: list[str] = Field(description="Types of events that it is told.", examples=[["email.*"]])
    description: str | None = Field(description="Words of your own.")
    enabled: bool = Field(description="Whether it is told anything.")
    disabled_reason: Literal["asked", "gone", "failing", "poison"] | None = Field(
        description="Why it is disabled: you asked for it, it answered 410, it failed for 5 days, or its job killed "
        "workers."
    )
    cursor: int = Field(description="It has been told everything up to this event.", examples=[17])
    failures: int = Field(description="Attempts in a row that failed.", examples=[0])
    failing_since: str | None = Field(description="When the first of them was (UTC).")
    next_attempt_at: str | None = Field(description="When the next attempt is due (UTC); null where none failed.")
    last_error: str | None = Field(description="Why the last attempt failed; null if it did not.")
    last_status: int | None = Field(description="The status that the endpoint answered then, if it answered.")
    last_delivered_at: str | None = Field(description="When it last took a message (UTC).")
    created_at: str = Field(description="When it was made (UTC).")
    updated_at: str


class WebhookWithSecret(WebhookShape):
    """An endpoint with its secret, which is shown this once."""

    secret: str = Field(description="Verify messages with it; it is not shown again.", examples=["whsec_c2VjcmV0"])


class WebhookList(Shape):
    """A page of endpoints, the oldest first."""

    object: Literal["list"]
    has_more: bool
    after: str | None
    data: list[WebhookShape]


class WebhookTest(Shape):
    """What came of a test message."""

    object: Literal["webhook_test"]
    delivered: bool = Field(description="Whether it was taken: the endpoint answered 2xx within 15 s.")
    status: int | None = Field(description="What the endpoint answered, if it did.", examples=[204])
    error: str | None = Field(description="Why it was not taken.")
    ms: int = Field(description="Milliseconds that it took.", examples=[80])


class Webhooks(HTTPEndpoint):
    """All endpoints."""

    @operation(
        Scope.ADMIN,
        "Have an endpoint told what happens",
        tag="Webhooks",
        body=requests.WebhookRequest,
        answers={201: WebhookWithSecret},
        problems=(400, 409, 413, 415, 422),
        example=_EXAMPLE,
    )
    async def post(self, request: Request) -> Response:
        """A new one, which is told what happens from now on."""
        hooks = state_of(request)["webhooks"]
        body = decode(await read_json(request))
        url, types, description = requests.read_new(body, allow_private=hooks.allow_private)
        document, secret = await hooks.create(url, types, description)
        return _one(document, 201, secret=secret)

    @operation(
        Scope.ADMIN,
        "List webhooks",
        tag="Webhooks",
        query=PageQuery,
        answers={200: WebhookList},
        problems=(422,),
    )
    async def get(self, request: Request) -> Response:
        """A page, the oldest first."""
        asked = parse_page(request.query_params)
        found, more = await state_of(request)["webhooks"].page(asked.after, asked.limit)
        data = [shown(from_document(document), document) for document in found]
        after = data[-1]["id"] if data else None
        return reply({"object": "list", "has_more": more, "after": after, "data": data})


class OneWebhook(HTTPEndpoint):
    """One endpoint."""

    @operation(Scope.ADMIN, "Read a webhook", tag="Webhooks", answers={200: WebhookShape}, problems=(404,))
    async def get(self, request: Request) -> Response:
        """How it stands."""
        return _one(state_of(request)["webhooks"].get(_id(request)))

    @operation(
        Scope.ADMIN,
        "Change a webhook",
        tag="Webhooks",
        body=requests.WebhookChange,
        answers={200: WebhookShape},
        problems=(400, 404, 413, 415, 422),
        example={"types": ["email.*"], "enabled": True},
    )
    async def patch(self, request: Request) -> Response:
        """Exchange fields of it."""
        hooks = state_of(request)["webhooks"]
        body = decode(await read_json(request))
        changes, on = requests.read_change(body, allow_private=hooks.allow_private)
        return _one(await hooks.change(_id(request), changes, on))

    @operation(Scope.ADMIN, "Delete a webhook", tag="Webhooks", answers={204: None}, problems=(404,))
    async def delete(self, request: Request) -> Response:
        """End it."""
        await state_of(request)["webhooks"].delete(_id(request))
        return Response(status_code=204)


class Test(HTTPEndpoint):
    """The testing of an endpoint."""

    @operation(
        Scope.ADMIN, "Send a test message to a webhook", tag="Webhooks", answers={200: WebhookTest}, problems=(404,)
    )
    async def post(self, request: Request) -> Response:
        """Send it now, and say what came of it."""
        answer = await state_of(request)["webhooks"].test(_id(request))
        return reply(
            {
                "object": "webhook_test",
                "delivered": answer.error is None,
                "status": answer.status,
                "error": answer.error,
                "ms": round(answer.duration.total_seconds() * 1000),
            }
        )


class Replay(HTTPEndpoint):
    """The replaying of what an endpoint was told."""

    @operation(
        Scope.ADMIN,
        "Tell a webhook again what happened after an event or since a time",
        tag="Webhooks",
        body=requests.ReplayRequest,
        answers={200: WebhookShape},
        problems=(400, 404, 413, 415, 422),
        example={"since": "2026-11-24T09:30:00Z"},
    )
    async def post(self, request: Request) -> Response:
        """Move its cursor."""
        after, since = requests.read_replay(decode(await read_json(request)))
        return _one(await state_of(request)["webhooks"].replay(_id(request), after=after, since=since))


class Enable(HTTPEndpoint):
    """The enabling of an endpoint."""

    @operation(
        Scope.ADMIN,
        "Enable a webhook, or try a failing one at once",
        tag="Webhooks",
        answers={200: WebhookShape},
        problems=(404,),
    )
    async def post(self, request: Request) -> Response:
        """Tell it at once what it has missed; again is the same."""
        return _one(await state_of(request)["webhooks"].enable(_id(request)))


class Secret(HTTPEndpoint):
    """The secret of an endpoint."""

    @operation(
        Scope.ADMIN,
        "Give a webhook a new secret; the old one signs beside it for a day",
        tag="Webhooks",
        answers={200: WebhookWithSecret},
        problems=(404,),
    )
    async def post(self, request: Request) -> Response:
        """Exchange it; the new one is shown this once."""
        document, secret = await state_of(request)["webhooks"].rotate(_id(request))
        return _one(document, secret=secret)


def _id(request: Request) -> str:
    webhook_id: str = request.path_params["id"]
    if len(webhook_id) > _LONGEST_ID:
        raise WebhookNotFound(webhook_id[:_LONGEST_ID])
    return webhook_id


def _one(document: Document, status: int = 200, **more: Any) -> Response:
    headers = {"Location": f"/v1/webhooks/{document.name}"} if status == 201 else {}
    if more:
        headers["Cache-Control"] = "no-store"
    return reply(shown(from_document(document), document) | more, status, headers)
