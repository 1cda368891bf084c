"""The bodies of requests about templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.email.faults import Fault, InvalidRequest, explain, present
from service.email.request_fields import names, nullable
from service.templating.renderer import Source

LONGEST_SUBJECT = 2_000
LONGEST_BODY = 512 * 1024


def _with_a_body(schema: dict[str, Any]) -> None:
    """Say that a template has a text or an HTML part: not neither."""
    nullable(schema)
    schema["not"] = {"properties": {name: {"type": "null"} for name in ("text", "html")}}


class TemplateBody(BaseModel):
    """The body of ``PUT /v1/templates/{name}``: Jinja for subject, text and html; at least one of the last two."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_with_a_body)

    subject: str | None = Field(None, max_length=LONGEST_SUBJECT)
    text: str | None = Field(None, max_length=LONGEST_BODY)
    html: str | None = Field(None, max_length=LONGEST_BODY)


class PreviewBody(BaseModel):
    """The body of ``POST /v1/templates/{name}/preview``."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=nullable)

    version: int | None = Field(None, ge=1, le=2**31)
    variables: dict[str, Any] = {}


def read_template(body: Mapping[str, Any]) -> Source:
    """Read a request to write a template; whether its parts are Jinja is not looked at.

    Raises:
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    given = present(body, names(TemplateBody))
    faults = []
    try:
        fields = TemplateBody.model_validate(given)
    except ValidationError as error:
        faults = explain(error, given, names(TemplateBody))
    if not given.keys() & {"text", "html"}:
        faults.append(Fault("/text", "is required unless html is given"))
    if faults:
        raise InvalidRequest(sorted(set(faults)))
    return Source(fields.subject, fields.text, fields.html)


def read_preview(body: Mapping[str, Any]) -> PreviewBody:
    """Read a request to fill a template and send nothing.

    Raises:
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    given = present(body, names(PreviewBody))
    try:
        return PreviewBody.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(sorted(set(explain(error, given, names(PreviewBody))))) from error
