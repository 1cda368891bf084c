"""The second body of ``POST /v1/emails/batch``: one template, many recipients, each with variables of its own.

    {"from": ..., "template": {"name": ..., "variables": {...}}, "recipients": [{"to": ..., "variables": {...}}, ...]}

It stands for as many e-mails as there are recipients. What is beside `recipients` is true of all of them; an entry says
what is different in its own, and its variables come on top of those of the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.email.faults import MOST, Fault, InvalidRequest, pointer, present
from service.email.request_fields import EmailRequest, names

KEY = "recipients"
"""The field by which this body is told from the other one."""

MOST_RECIPIENTS = 1_000
"""Entries of one request."""


def expand(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The requests that *body* stands for, each like a body of ``POST /v1/emails``; not judged any further.

    Args:
        body: Has `KEY`; without its `mode`.

    Raises:
        InvalidRequest: It does not stand for requests; it names all that is in the way.
    """
    shared = present({name: value for name, value in body.items() if name != KEY}, names(EmailRequest))
    template, entries = shared.get("template"), body[KEY]
    faults = [*_of_all(shared), *_of_template(template)]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_RECIPIENTS:
        faults.append(Fault(pointer(KEY), f"must be a list of 1 to {MOST_RECIPIENTS:,} entries"))
    else:
        faults += [fault for index, entry in enumerate(entries) for fault in _of_entry(index, entry)]
    if faults:
        raise InvalidRequest(sorted(faults)[:MOST])
    assert isinstance(template, dict)
    return [_request(shared, template, entry) for entry in entries]


def place(body: Mapping[str, Any], index: int, fault: Fault) -> Fault:
    """A fault of the request number *index* of `expand`, told of *body*: of its entry, or of what is true of all."""
    if fault.pointer.startswith("/template/variables"):
        return Fault(f"/{KEY}/{index}{fault.pointer.removeprefix('/template')}", fault.detail)
    field = fault.pointer[1:].partition("/")[0]
    if field in body[KEY][index] or field in ("", "to"):
        return Fault(f"/{KEY}/{index}{fault.pointer}", fault.detail)
    return fault


def _of_all(shared: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the fields beside the recipients, as far as it is for being there."""
    faults = [Fault(pointer(name), "cannot be given beside recipients") for name in ("emails", "to") if name in shared]
    attachments = shared.get("attachments")
    for index, file in enumerate(attachments if isinstance(attachments, list) else ()):
        if isinstance(file, dict) and file.get("content") is not None:  # it would be decoded a thousand times
            where = pointer("attachments", index, "content")
            faults.append(Fault(where, "cannot be given beside recipients; upload it once, and give its sha256"))
    return faults


def _of_template(template: object) -> list[Fault]:
    if not isinstance(template, dict):
        return [Fault("/template", "is required beside recipients, as an object")]
    if not isinstance(template.get("variables") or {}, dict):
        return [Fault("/template/variables", "must be an object")]
    return []


def _of_entry(index: int, entry: object) -> list[Fault]:
    if not isinstance(entry, dict):
        return [Fault(pointer(KEY, index), "must be an object, {...}")]
    if "template" in entry:
        return [Fault(pointer(KEY, index, "template"), "is the same for all; it stands beside recipients")]
    if not isinstance(entry.get("variables") or {}, dict):
        return [Fault(pointer(KEY, index, "variables"), "must be an object")]
    return []


def _request(shared: Mapping[str, Any], template: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    variables = {**(template.get("variables") or {}), **(entry.get("variables") or {})}
    own = {name: value for name, value in entry.items() if name != "variables"}
    return {**shared, **own, "template": {**template, "variables": variables}}
