"""The fields of a request to send an e-mail, as far as each can be judged alone; OpenAPI is made from these models."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from service.email import attachment_fields, header_fields, mailbox
from service.email.attachment_fields import AttachmentRequest
from service.email.mailbox import Mailbox

MOST_RECIPIENTS = 100
MOST_TAGS = 20
LONGEST_TAG = 100
LONGEST_SUBJECT = 998
MOST_RETRIES = 100
MOST_ATTACHMENTS = 100


def _bounded(most: int, of: str) -> BeforeValidator:
    """A list of at most *most*, counted before each entry is looked at: a hostile one may be very long."""

    def check(value: object) -> object:
        if not isinstance(value, list):
            raise ValueError(f"must be {of}")  # noqa: TRY004 - pydantic's contract
        if len(value) > most:
            raise ValueError(f"must have at most {most} entries")
        return value

    return BeforeValidator(check)


def _header_safe(value: str) -> str:
    complaint = header_fields.complaint_about_text(value)
    if complaint is not None:
        raise ValueError(complaint)
    return value


def _mailbox(value: object) -> Mailbox:
    if not isinstance(value, str):
        raise ValueError("must be a string, such as Name <local@example.com>")  # noqa: TRY004 - pydantic's contract
    return mailbox.parse(value)


def _address(value: str) -> str:
    found = mailbox.parse(value)
    if found.name or value.strip().endswith(">"):
        raise ValueError("must be an address alone, such as bounces@example.com")
    return found.address


OneMailbox = Annotated[Mailbox, BeforeValidator(_mailbox), WithJsonSchema({"type": "string"})]
Mailboxes = Annotated[
    list[OneMailbox],
    _bounded(MOST_RECIPIENTS, "an address or a list of addresses"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "maxItems": MOST_RECIPIENTS},
            ]
        }
    ),
]
_Attachments = Annotated[list[AttachmentRequest], _bounded(MOST_ATTACHMENTS, "a list")]
_Tag = Annotated[str, Field(min_length=1, max_length=LONGEST_TAG), AfterValidator(_header_safe)]
_Moment = Annotated[Any, WithJsonSchema({"type": "string"})]
_Headers = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": header_fields.MOST}),
]


class TemplateRequest(BaseModel):
    """The template to make subject, text and html from."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    version: int | None = Field(None, ge=1, le=2**31)
    variables: dict[str, Any] = {}


def nullable(schema: dict[str, Any]) -> None:
    """Say that null is as good as absent, wherever a field may be absent."""
    for name, field in schema["properties"].items():
        if name not in schema.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()):
            told = {key: field.pop(key) for key in ("title", "description") if key in field}
            field.pop("default", None)
            schema["properties"][name] = told | {"anyOf": [field, {"type": "null"}]}


class MessageFields(BaseModel):
    """What an e-mail can be told to be but for its template, all of it optional."""

    model_config = ConfigDict(
        extra="forbid", strict=True, arbitrary_types_allowed=True, json_schema_extra=nullable, populate_by_name=False
    )

    cc: Mailboxes = []
    bcc: Mailboxes = []
    reply_to: Mailboxes = []
    envelope_from: Annotated[str, AfterValidator(_address)] | None = None
    subject: Annotated[str, Field(max_length=LONGEST_SUBJECT), AfterValidator(_header_safe)] = ""
    text: str | None = None
    html: str | None = None
    headers: _Headers = {}
    attachments: _Attachments = []
    tags: list[_Tag] = Field([], max_length=MOST_TAGS)
    scheduled_at: _Moment = None
    timezone: str | None = None
    max_retries: int | None = Field(None, ge=0, le=MOST_RETRIES)
    retry_until: _Moment = None


class EmailFields(MessageFields):
    """What an e-mail can be told to be, all of it optional."""

    template: TemplateRequest | None = None


class EmailRequest(EmailFields):
    """The body of ``POST /v1/emails``."""

    sender: OneMailbox = Field(alias="from")
    to: Mailboxes = Field(min_length=1)
    unsubscribe: bool = False


class EmailEdit(EmailFields):
    """The body of ``PATCH /v1/emails/{id}``: what is to be otherwise; null sets a field back to its default."""

    sender: OneMailbox | None = Field(None, alias="from")
    to: Mailboxes = []


def names(model: type[BaseModel]) -> frozenset[str]:
    """The names of a model's fields as requests write them."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


NESTED = {"attachments": attachment_fields.NAMES, "template": names(TemplateRequest)}
"""The names of the fields below a field."""
