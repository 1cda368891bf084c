"""The body of a bulk action: which e-mails it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from service.email import times
from service.email.faults import Fault, InvalidRequest, explain, pointer
from service.email.record import Status
from service.email.request_fields import names
from service.email.strict_json import decode
from service.routes.shapes import StatusName
from service.store.listing import Filter

_NULL = "cannot be null, lest what has no value match everything; leave it out if all of them are meant"
_Text = Annotated[str, Field(min_length=1, max_length=500)]
_Moment = Annotated[Any, AfterValidator(times.parse), WithJsonSchema({"type": "string", "format": "date-time"})]


def _not_null(schema: dict[str, Any]) -> None:
    """Say that a field may be absent, but not null."""
    for field in schema["properties"].values():
        field.pop("default", None)
        for one in field.pop("anyOf", ()):
            if one != {"type": "null"}:
                field.update(one)


class BulkRequest(BaseModel):
    """The filters of a list, at least one of them, as one object."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_not_null)

    status: StatusName | None = None
    to: _Text | None = None
    tag: _Text | None = None
    scheduled_after: _Moment = None
    scheduled_before: _Moment = None
    q: _Text | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Bulk:
    """Which e-mails an action is for, and whether it is only to be counted."""

    where: Filter
    dry_run: bool


def read(body: bytes) -> Bulk:
    """Read the body of a bulk action.

    Raises:
        InvalidJson: It is not JSON.
        InvalidRequest: Fields of it are wrong, or it has no filter; it names all of them.
    """
    asked = decode(body)
    nulls = [Fault(pointer(name), _NULL) for name in asked if name in names(BulkRequest) and asked[name] is None]
    if nulls:
        raise InvalidRequest(sorted(nulls))
    try:
        fields = BulkRequest.model_validate(asked)
    except ValidationError as error:
        raise InvalidRequest(sorted(set(explain(error, asked, names(BulkRequest))))) from error
    if not asked.keys() - {"dry_run"}:
        known = ", ".join(sorted(names(BulkRequest) - {"dry_run"}))
        raise InvalidRequest([Fault("", f"must name the e-mails by at least one of {known}")])
    found = fields.model_dump(exclude={"dry_run"})
    if fields.status is not None:
        found["status"] = Status(fields.status)
    return Bulk(Filter(**found), fields.dry_run)
