"""``/v1/suppressions``: the addresses that get no more e-mails."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from starlette.datastructures import QueryParams
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service import suppression
from service.email import mailbox
from service.email.faults import Fault, InvalidRequest, explain, present
from service.email.mailbox import InvalidMailbox
from service.email.request_fields import names, nullable
from service.email.strict_json import decode
from service.email.times import to_z
from service.routes.body import read_json
from service.routes.documents import Page, PageQuery, parse_page
from service.routes.operation import Scope, operation
from service.routes.reply import problem, reply
from service.routes.shapes import Shape
from service.routes.state import state_of
from service.store.transaction import Transaction
from service.suppression import Reason, Suppression

MOST = 1_000
"""Addresses of one request."""

ReasonName = Literal["bounce", "manual", "unsubscribe", "complaint"]


def _alone(value: str) -> str:
    found = mailbox.parse(value)
    if found.name or value.strip().endswith(">"):
        raise ValueError("must be an address alone, such as ann@example.org")
    return found.address


def _bounded(value: object) -> object:
    if not isinstance(value, list):
        raise ValueError("must be an address or a list of addresses")  # noqa: TRY004 - pydantic's contract
    if not 1 <= len(value) <= MOST:  # before each is looked at
        raise ValueError(f"must have 1 to {MOST:,} entries")
    return value


class SuppressionBody(BaseModel):
    """The body of ``POST /v1/suppressions``."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=nullable)

    addresses: Annotated[
        list[Annotated[str, AfterValidator(_alone)]],
        BeforeValidator(_bounded),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST},
                ]
            }
        ),
    ]
    reason: ReasonName = "manual"
    detail: str | None = Field(None, max_length=500)


class SuppressionRecord(Shape):
    """An address that gets no more e-mails."""

    object: Literal["suppression"]
    address: str
    reason: ReasonName
    email_id: str | None
    detail: str | None
    created_at: str
    updated_at: str


class SuppressionList(Shape):
    """A page of suppressed addresses; `after` is the cursor of the next one."""

    object: Literal["list"]
    has_more: bool
    after: str | None
    data: list[SuppressionRecord]


class SuppressionQuery(PageQuery):
    """The parameters of the list of suppressed addresses."""

    reason: ReasonName | None = None


class Suppressions(HTTPEndpoint):
    """All suppressed addresses."""

    @operation(
        Scope.READ,
        "List suppressed addresses",
        tag="Suppressions",
        query=SuppressionQuery,
        answers={200: SuppressionList},
        problems=(422,),
    )
    async def get(self, request: Request) -> Response:
        """Some of them, by address."""
        asked, reason = _parse(request.query_params)
        store = state_of(request)["store"]
        found, has_more = await asyncio.to_thread(
            suppression.page, store, asked.limit, after=asked.after, reason=reason
        )
        return _listed(found, has_more=has_more)

    @operation(
        Scope.SEND,
        "Suppress addresses",
        tag="Suppressions",
        body=SuppressionBody,
        answers={200: SuppressionList},
        problems=(400, 413, 415, 422),
        example={"addresses": ["ann@example.org", "bob@example.org"], "reason": "manual"},
    )
    async def post(self, request: Request) -> Response:
        """One address or up to 1,000, all or none; they get nothing from now on, e-mails that wait included.

        A complaint weighs more than an unsubscription, that more than `manual`, and that more than a bounce: of an
        address that is suppressed already the weightier reason is kept.
        """
        body = await asyncio.to_thread(_read, decode(await read_json(request)))
        reason = Reason(body.reason)

        def write(transaction: Transaction) -> dict[str, Suppression]:
            entries = (suppression.add(transaction, one, reason, detail=body.detail) for one in body.addresses)
            return {entry.address: entry for entry in entries}

        return _listed([*(await state_of(request)["store"].write(write)).values()], has_more=False)


class OneSuppression(HTTPEndpoint):
    """One suppressed address."""

    @operation(Scope.READ, "Look an address up", tag="Suppressions", answers={200: SuppressionRecord}, problems=(404,))
    async def get(self, request: Request) -> Response:
        """Why it is suppressed; 404 if it is not. Upper and lower case are the same."""
        address = _address(request)
        entry = None if address is None else suppression.find(state_of(request)["store"], address)
        return _not_suppressed() if entry is None else reply(_shown(entry))

    @operation(
        Scope.ADMIN, "Let an address get e-mails again", tag="Suppressions", answers={204: None}, problems=(404,)
    )
    async def delete(self, request: Request) -> Response:
        """End its suppression, whatever the reason was. E-mails that it was kept from stay as they are."""
        address = _address(request)
        if address is None or not await suppression.remove(state_of(request)["store"], address):
            return _not_suppressed()
        return Response(status_code=204)


def _read(document: dict[str, Any]) -> SuppressionBody:
    """The body of a request; an address alone is a list of one.

    Raises:
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    given = present(document, names(SuppressionBody))
    several = given | ({"addresses": [given["addresses"]]} if isinstance(given.get("addresses"), str) else {})
    try:
        return SuppressionBody.model_validate(several)
    except ValidationError as error:
        raise InvalidRequest(sorted(set(explain(error, given, names(SuppressionBody))))) from error


def _parse(query: QueryParams) -> tuple[Page, Reason | None]:
    """Read the query of the list.

    Raises:
        InvalidRequest: A parameter is unknown, given twice, or wrong; it names all of them.
    """
    faults: list[Fault] = []
    given = query.getlist("reason")
    if len(given) > 1:
        faults.append(Fault("reason", "is given more than once"))
    elif given and given[0] not in list(Reason):
        faults.append(Fault("reason", f"must be one of {', '.join(Reason)}"))
    try:
        page = parse_page(QueryParams([item for item in query.multi_items() if item[0] != "reason"]))
    except InvalidRequest as error:
        raise InvalidRequest(sorted([*faults, *error.faults])) from None
    if faults:
        raise InvalidRequest(faults)
    return page, Reason(given[0]) if given else None


def _address(request: Request) -> str | None:
    """The address in the path; None for what cannot be one, and so is not suppressed."""
    try:
        return mailbox.parse(request.path_params["address"]).address
    except InvalidMailbox:
        return None


def _not_suppressed() -> Response:
    return problem(404, "suppression_not_found", "This address is not suppressed.")


def _listed(entries: list[Suppression], *, has_more: bool) -> Response:
    after = entries[-1].address if entries else None
    return reply({"object": "list", "has_more": has_more, "after": after, "data": [_shown(one) for one in entries]})


def _shown(entry: Suppression) -> dict[str, Any]:
    return {
        "object": "suppression",
        "address": entry.address,
        "reason": entry.reason.value,
        "email_id": entry.email_id,
        "detail": entry.detail,
        "created_at": to_z(entry.created_at),
        "updated_at": to_z(entry.updated_at),
    }
