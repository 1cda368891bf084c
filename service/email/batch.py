"""The body of ``POST /v1/emails/batch``: many requests to send an e-mail, each judged by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, RootModel, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from service.email import personal, request
from service.email.draft import Draft
from service.email.faults import MOST, Fault, InvalidRequest, explain, present
from service.email.request_fields import (
    EmailRequest,
    Mailboxes,
    MessageFields,
    OneMailbox,
    TemplateRequest,
    names,
    nullable,
)
from service.email.terms import Terms

M = TypeVar("M", bound="_Modal")

MOST_EMAILS = 1_000
"""E-mails of one request."""

Mode = Literal["strict", "permissive"]
"""What one bad e-mail means for the others: nothing is accepted, or they are."""


class _Emails:
    """Says in the JSON schema what the entries are, though each is read by itself."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        entries = handler(TypeAdapter(EmailRequest).core_schema)
        return {"type": "array", "items": entries, "minItems": 1, "maxItems": MOST_EMAILS}


class _Modal(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=nullable)

    mode: Mode = "strict"


class ManyRequest(_Modal):
    """E-mails of whatever kind."""

    emails: Annotated[list[Any], Field(min_length=1, max_length=MOST_EMAILS), _Emails()]


class PersonalEntry(MessageFields):
    """One recipient: variables of its own, and whatever else is different in its e-mail."""

    sender: OneMailbox | None = Field(None, alias="from")
    to: Mailboxes = Field(min_length=1)
    unsubscribe: bool = False
    variables: dict[str, Any] = Field({})


class PersonalRequest(MessageFields):
    """One template, many recipients; see `service.email.personal`, which reads it."""

    sender: OneMailbox | None = Field(None, alias="from")
    unsubscribe: bool = False
    template: TemplateRequest
    recipients: list[PersonalEntry] = Field(min_length=1, max_length=personal.MOST_RECIPIENTS)
    mode: Mode = "strict"


class BatchRequest(RootModel[ManyRequest | PersonalRequest]):
    """The body of ``POST /v1/emails/batch``, in one of its two forms."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was asked for.

    Attributes:
        items: Of each e-mail a draft, or what is wrong with it (pointers into that e-mail).
        place: A fault of the e-mail with this number, told of the whole body.
    """

    items: Sequence[Draft | InvalidRequest]
    mode: Mode
    place: Callable[[int, Fault], Fault]

    def at(self, index: int, error: InvalidRequest) -> list[Fault]:
        """The faults of one e-mail, told of the whole body."""
        return [self.place(index, fault) for fault in error.faults]

    def together(self, errors: Mapping[int, InvalidRequest]) -> InvalidRequest:
        """The faults of all e-mails, each once and as many as are told of one request."""
        every = (fault for index in sorted(errors) for fault in self.at(index, errors[index]))
        return InvalidRequest(list(islice(dict.fromkeys(every), MOST)))


def read(body: Mapping[str, Any], terms: Terms) -> Batch:
    """Read a request to send many e-mails. Takes a while where there are many: for any thread.

    Raises:
        InvalidRequest: It is not a list of e-mails; what is wrong with one of them is in the answer instead.
    """
    given = present(body, names(ManyRequest if body.get(personal.KEY) is None else PersonalRequest))
    if personal.KEY in given:
        mode = _checked(_Modal, {"mode": given.pop("mode", "strict")}).mode
        items: Sequence[object] = personal.expand(given)
        return Batch(_read_all(items, mode, terms), mode, partial(personal.place, given))
    fields = _checked(ManyRequest, given)
    return Batch(_read_all(fields.emails, fields.mode, terms), fields.mode, _place)


def _checked(model: type[M], given: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(sorted(set(explain(error, given, names(model))))) from error


def _place(index: int, fault: Fault) -> Fault:
    return Fault(f"/emails/{index}{fault.pointer}", fault.detail)


def _read_all(items: Sequence[object], mode: Mode, terms: Terms) -> list[Draft | InvalidRequest]:
    """Each of *items* read; not all where so much is wrong that the answer is full and nothing will be accepted."""
    found: list[Draft | InvalidRequest] = []
    wrong = 0
    for item in items:
        found.append(_read(item, terms))
        wrong += len(found[-1].faults) if isinstance(found[-1], InvalidRequest) else 0
        if mode == "strict" and wrong >= MOST:
            break
    return found


def _read(item: object, terms: Terms) -> Draft | InvalidRequest:
    if not isinstance(item, dict):
        return InvalidRequest([Fault("", "must be an object, {...}")])
    try:
        return request.read(item, terms)
    except InvalidRequest as error:
        return error
