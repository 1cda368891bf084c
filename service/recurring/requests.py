"""The body of ``PUT /v1/schedules/{name}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

import zqueue
from service.email import times
from service.email.faults import Fault, InvalidRequest, explain, pointer, present
from service.email.request_fields import EmailRequest, names, nullable
from service.recurring.definition import Definition, Misfire

LONGEST_EVERY = 10 * 366 * 86_400
"""Seconds."""

_LONGEST_CRON = 200
_TIMES = ("scheduled_at", "timezone", "retry_until")
_ANY_LOCAL = "2000-01-01T00:00:00"


class _Email:
    """Says in the JSON schema what the e-mail is, though it is read by itself."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        whole = handler.resolve_ref_schema(handler(TypeAdapter(EmailRequest).core_schema))
        kept = {name: field for name, field in whole["properties"].items() if name not in _TIMES}
        return {**whole, "title": "ScheduleEmail", "properties": kept}


class ScheduleBody(BaseModel):
    """When to send which e-mail: `cron`, with a `timezone` perhaps, or `every`."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=nullable)

    email: Annotated[dict[str, Any], _Email()]
    cron: str | None = Field(None, max_length=_LONGEST_CRON)
    every: int | None = Field(None, ge=1, le=LONGEST_EVERY)
    timezone: str | None = Field(None, max_length=_LONGEST_CRON)
    misfire: Misfire = "once"
    paused: bool | None = None


def read(body: Mapping[str, Any]) -> tuple[Definition, bool | None]:
    """Read a request to write a schedule; the e-mail itself is not looked at.

    Returns:
        The schedule; and whether it is to be paused, None for as it was.

    Raises:
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    given = present(body, names(ScheduleBody))
    fields, faults = None, []
    try:
        fields = ScheduleBody.model_validate(given)
    except ValidationError as error:
        faults = explain(error, given, names(ScheduleBody))
    faults += [*_when(given), *_email(given.get("email"))]
    if faults or fields is None:
        raise InvalidRequest(sorted(set(faults)))
    email = present(fields.email, names(EmailRequest))
    return Definition(fields.cron, fields.every, fields.timezone or "UTC", fields.misfire, email), fields.paused


def below_email(error: InvalidRequest) -> InvalidRequest:
    """The faults of the e-mail in a schedule, told of the whole body."""
    return InvalidRequest([Fault(f"/email{fault.pointer}", fault.detail) for fault in error.faults])


def _when(given: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with its times, as far as they are of the right types."""
    expression, zone = given.get("cron"), given.get("timezone")
    if "every" in given:
        return [Fault(pointer(name), "cannot be given beside every") for name in ("cron", "timezone") if name in given]
    if expression is None:
        return [Fault("/cron", "is required unless every is given")]
    if not isinstance(expression, str) or len(expression) > _LONGEST_CRON:
        return []
    if isinstance(zone, str):
        try:
            times.parse(_ANY_LOCAL, zone)
        except times.InvalidZone as error:
            return [Fault("/timezone", str(error))]
    try:
        zqueue.cron(expression, zone if isinstance(zone, str) else "UTC")
    except zqueue.InvalidJob as error:
        return [Fault("/cron", f"is no cron expression: {error}")]
    return []


def _email(email: object) -> list[Fault]:
    if not isinstance(email, dict):
        return []
    faults = [
        Fault(pointer("email", name), "cannot be given: the schedule says when") for name in _TIMES if name in email
    ]
    try:
        orjson.dumps(email)
    except TypeError:  # what it is kept as has no larger ones
        faults.append(Fault("/email", "has a whole number of more than 64 bits in it"))
    return faults
