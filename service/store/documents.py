"""What the store keeps beside e-mails: templates, schedules, suppressions and the like, each a JSON object with a name.

A document is one line for each of its revisions; the newest is the document, and one without a ``doc`` is its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from service.email.times import from_z
from service.store.log import Draft, Line


class Document(NamedTuple):
    """One document as it is now.

    Attributes:
        kind: Such as ``template``: one word of lower-case letters.
        name: Unique within its kind.
        rev: 1 when it is new, one more with every change.
        data: A JSON object.
    """

    kind: str
    name: str
    rev: int
    created_at: datetime
    updated_at: datetime
    data: dict[str, Any]


def subject(kind: str, name: str) -> str:
    """What its lines call a document."""
    return f"{kind}:{name}"


def split(line_id: str) -> tuple[str, str]:
    """Kind and name in what `subject` made."""
    kind, _, name = line_id.partition(":")
    return kind, name


def put(document: Document, type_: str, at: str, created_at: str) -> Draft:
    """The line of a revision."""
    data = orjson.Fragment(orjson.dumps({"doc": document.data, "created_at": created_at}))
    return Draft(at, subject(document.kind, document.name), document.rev, type_, data)


def deleted(document: Document, type_: str, at: str) -> Draft:
    """The line that ends *document*."""
    return Draft(at, subject(document.kind, document.name), document.rev + 1, type_, {"doc": None})


def noted(line_id: str, type_: str, at: str, data: Mapping[str, Any]) -> Draft:
    """The line of an event that changes nothing but is to be told."""
    return Draft(at, line_id, 0, type_, orjson.Fragment(orjson.dumps({"note": data})))


def read(line: Line) -> Document:
    """The document whose newest line this is."""
    kind, name = split(line["id"])
    data = line["data"]
    return Document(kind, name, line["rev"], from_z(data["created_at"]), from_z(line["at"]), data["doc"])
