"""The body of ``POST /v1/emails/batch``: many requests to send an e-mail, each judged by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from service.email import request
from service.email.draft import Draft
from service.email.faults import MOST, Fault, InvalidRequest, explain
from service.email.request_fields import EmailRequest, names, nullable
from service.email.terms import Terms

MOST_EMAILS = 1_000
"""E-mails of one request."""

Mode = Literal["strict", "permissive"]
"""What one bad e-mail means for the others: nothing is accepted, or they are."""


class _Emails:
    """Says in the JSON schema what the entries are, though each is read by itself."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        entries = handler(TypeAdapter(EmailRequest).core_schema)
        return {"type": "array", "items": entries, "minItems": 1, "maxItems": MOST_EMAILS}


class BatchRequest(BaseModel):
    """The body of ``POST /v1/emails/batch``."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=nullable)

    emails: Annotated[list[Any], Field(min_length=1, max_length=MOST_EMAILS), _Emails()]
    mode: Mode = "strict"


@dataclass(frozen=True, slots=True)
class Batch:
    """What was asked for: of each e-mail a draft, or what is wrong with it (pointers into that e-mail)."""

    items: Sequence[Draft | InvalidRequest]
    mode: Mode


def read(body: Mapping[str, Any], terms: Terms) -> Batch:
    """Read a request to send many e-mails. Takes a while where there are many: for any thread.

    Raises:
        InvalidRequest: It is not a list of e-mails; what is wrong with one of them is in the answer instead.
    """
    given = {name: value for name, value in body.items() if value is not None}
    try:
        fields = BatchRequest.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(sorted(set(explain(error, given, names(BatchRequest))))) from error
    return Batch([_read(item, terms) for item in fields.emails], fields.mode)


def at(index: int, error: InvalidRequest) -> list[Fault]:
    """The faults of one e-mail of a batch, told of the whole body."""
    return [Fault(f"/emails/{index}{fault.pointer}", fault.detail) for fault in error.faults]


def together(errors: Mapping[int, InvalidRequest]) -> InvalidRequest:
    """The faults of all e-mails of a batch, as many as are told of one request."""
    return InvalidRequest([fault for index in sorted(errors) for fault in at(index, errors[index])][:MOST])


def _read(item: object, terms: Terms) -> Draft | InvalidRequest:
    if not isinstance(item, dict):
        return InvalidRequest([Fault("", "must be an object, {...}")])
    try:
        return request.read(item, terms)
    except InvalidRequest as error:
        return error
