"""The bodies of requests about webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from service.email import times
from service.email.faults import Fault, InvalidRequest, explain, present
from service.email.request_fields import names, nullable
from service.events.shown import complaint_about_type
from service.webhooks.endpoint import DEFAULT_TYPES
from service.webhooks.targets import LONGEST_URL, parse_url

MOST_TYPES = 50
LONGEST_DESCRIPTION = 500

_Model = TypeVar("_Model", bound=BaseModel)


def _known(value: str) -> str:
    complaint = complaint_about_type(value)
    if complaint is not None:
        raise ValueError(complaint)
    return value


_Types = Annotated[list[Annotated[str, AfterValidator(_known)]], Field(min_length=1, max_length=MOST_TYPES)]
_Url = Annotated[str, Field(max_length=LONGEST_URL)]
_Description = Annotated[str, Field(max_length=LONGEST_DESCRIPTION)]

_URL: dict[str, Any] = {
    "description": "Where to post messages: http or https, without user, password and fragment.",
    "examples": ["https://example.com/hooks"],
}
_TYPES: dict[str, Any] = {
    "description": f"Types of events to tell; `email.*` is all of a kind. Default: {', '.join(DEFAULT_TYPES)}.",
    "examples": [["email.completed", "email.failed"]],
}
_DESCRIPTION: dict[str, Any] = {"description": "Words of your own.", "examples": ["Our warehouse"]}


class WebhookRequest(BaseModel):
    """The body of ``POST /v1/webhooks``."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=nullable)

    url: _Url = Field(**_URL)
    types: _Types = Field(list(DEFAULT_TYPES), **_TYPES)
    description: _Description | None = Field(None, **_DESCRIPTION)


class WebhookChange(BaseModel):
    """The body of ``PATCH /v1/webhooks/{id}``; what is not given stays, and a null takes a field back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: _Url | None = Field(None, **_URL)
    types: _Types | None = Field(None, **_TYPES)
    description: _Description | None = Field(None, **_DESCRIPTION)
    enabled: bool | None = Field(None, description="False: tell it nothing, until it is enabled again.")


class ReplayRequest(BaseModel):
    """The body of ``POST /v1/webhooks/{id}/replay``: either of both."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=nullable)

    after: int | None = Field(None, ge=0, le=2**53, description="Tell again what came after this event.", examples=[17])
    since: str | None = Field(
        None, description="Tell again what happened since then (RFC 3339).", examples=["2030-01-01T09:00:00Z"]
    )


def read_new(body: Mapping[str, Any], *, allow_private: bool) -> tuple[str, tuple[str, ...], str | None]:
    """Read a request for an endpoint: URL, types and description.

    Raises:
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    given = present(body, names(WebhookRequest))
    fields = _read(WebhookRequest, given, lambda: _urls(given, allow_private=allow_private))
    return fields.url, tuple(dict.fromkeys(fields.types)), fields.description


def read_change(body: Mapping[str, Any], *, allow_private: bool) -> tuple[dict[str, Any], bool | None]:
    """Read a request to change an endpoint: the fields that change, and whether it is to be enabled.

    Raises:
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    fields = _read(WebhookChange, body, lambda: _urls(body, allow_private=allow_private))
    changes: dict[str, Any] = {}
    if fields.url is not None:
        changes["url"] = fields.url
    if "types" in fields.model_fields_set:
        changes["types"] = DEFAULT_TYPES if fields.types is None else tuple(dict.fromkeys(fields.types))
    if "description" in fields.model_fields_set:
        changes["description"] = fields.description
    return changes, fields.enabled


def read_replay(body: Mapping[str, Any]) -> tuple[int | None, datetime | None]:
    """Read a request to tell an endpoint again what it was told: after which line, or since when.

    Raises:
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    given = present(body, names(ReplayRequest))
    moments = []

    def faults() -> list[Fault]:
        found = []
        if len(given.keys() & {"after", "since"}) != 1:
            found.append(Fault("/after", "or since is required, and not both"))
        if isinstance(given.get("since"), str):
            try:
                moments.append(times.parse(given["since"]))
            except times.InvalidTime as error:
                found.append(Fault("/since", str(error)))
        return found

    fields = _read(ReplayRequest, given, faults)
    return fields.after, moments[0] if moments else None


def _urls(given: Mapping[str, Any], *, allow_private: bool) -> list[Fault]:
    url = given.get("url")
    if isinstance(url, str) and len(url) <= LONGEST_URL:
        try:
            parse_url(url, allow_private=allow_private)
        except ValueError as error:
            return [Fault("/url", str(error))]
    return []


def _read(model: type[_Model], given: Mapping[str, Any], more: Callable[[], Sequence[Fault]]) -> _Model:
    faults = list(more())
    fields = None
    try:
        fields = model.model_validate(given)
    except ValidationError as error:
        faults += explain(error, given, names(model))
    if faults or fields is None:
        raise InvalidRequest(sorted(set(faults)))
    return fields
