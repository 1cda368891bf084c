"""The body of ``PATCH /v1/emails/{id}``: from JSON and the record it is for to what is to be otherwise.

Content that is not to change is taken from the record, and the whole is then read like a new request: what could not be
accepted cannot come about by an edit either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from pydantic import ValidationError

from service.email import request, request_times
from service.email.draft import Draft
from service.email.faults import MOST, Fault, InvalidRequest, explain, pointer, unknown
from service.email.record import Content
from service.email.request_fields import NESTED, EmailEdit, names
from service.email.terms import Terms

_TIMING = frozenset({"scheduled_at", "timezone", "max_retries", "retry_until"})
_BODIES = ("subject", "text", "html")
_NAMES = names(EmailEdit)


@dataclass(frozen=True, slots=True)
class Patch:
    """What is to be otherwise.

    Attributes:
        given: The names of the fields that were given, null or not.
        draft: The whole content as it is to be, without times; None if none of it was given.
        scheduled_at: The new time, if one was given; `max_retries` and `retry_until` likewise, None also for a null.
    """

    given: frozenset[str]
    draft: Draft | None
    scheduled_at: datetime | None
    max_retries: int | None
    retry_until: datetime | None


def read(body: Mapping[str, Any], content: Content, terms: Terms) -> Patch:
    """Read a request to change an e-mail whose content is *content*.

    Raises:
        InvalidRequest: Fields of it are wrong, or would be together with what stays; it names all of them.
    """
    strange = islice((name for name in body if name not in _NAMES), MOST)
    faults = [Fault(pointer(name), unknown(name, _NAMES)) for name in strange]
    draft = None
    if body.keys() & (_NAMES - _TIMING):
        try:
            draft = request.read(_merged(body, content), terms)
        except InvalidRequest as error:
            faults += error.faults
    timing = {name: body[name] for name in _TIMING if body.get(name) is not None}
    max_retries = None
    try:
        max_retries = EmailEdit.model_validate(timing).max_retries
    except ValidationError as error:
        faults += explain(error, timing, _NAMES, NESTED)
    asked = request_times.read(timing, terms.now)
    faults += asked.faults
    if "scheduled_at" in body and body["scheduled_at"] is None:
        faults.append(Fault("/scheduled_at", "cannot be null; to send at once, give the present time"))
    if faults:
        raise InvalidRequest(sorted(set(faults)))
    return Patch(frozenset(body), draft, asked.scheduled_at, max_retries, asked.retry_until)


def _merged(body: Mapping[str, Any], content: Content) -> dict[str, Any]:
    """The content that is wanted, as a new request would say it."""
    document: dict[str, Any] = {
        "from": content.sender,
        "to": list(content.to),
        "cc": list(content.cc),
        "bcc": list(content.bcc),
        "reply_to": list(content.reply_to),
        "envelope_from": content.envelope_from,
        "headers": content.headers,
        "tags": list(content.tags),
        "attachments": [
            {
                "filename": one.filename,
                "sha256": one.sha256,
                "content_type": one.content_type,
                "content_id": one.content_id,
            }
            for one in content.attachments
        ],
    }
    if body.get("template") is None:
        document |= {name: getattr(content, name) for name in _BODIES}
    return document | {name: value for name, value in body.items() if name in _NAMES - _TIMING}
