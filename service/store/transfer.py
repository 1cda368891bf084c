"""The store as JSON lines: a form that leaves it, for another machine or another program, and can come back.

    {"object":"export","format":1}
    {"object":"document","kind":"template","name":"welcome","rev":2,"created_at":"...","updated_at":"...","data":{}}
    {"object":"file","sha256":"...","data":"BASE64"}                         before the first e-mail that names it
    {"object":"email","id":"em_...","rev":3,"created_at":"...","content":{},"state":{},"events":[],
     "key":["NAME","DIGEST"],"first":{},"extra":{}}                          the last three only where there is a key
    {"object":"end","lines":4}

Of an e-mail it holds everything: content, state, revision, events, and the idempotency key it was accepted under, with
the state it had then. The numbers of lines are not in it, for they belong to a log. The file of a document comes before
that as well. Files that nothing names, notes of the audit and archives are left out.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from service.email import document as email_document
from service.email.ids import is_email_id
from service.email.record import Content, State
from service.email.times import from_z, to_z
from service.store import documents, records
from service.store.index import Index
from service.store.log import Line, Ref
from service.store.rows import Row

FORMAT = 1

_KIND = re.compile(r"[a-z]{1,40}")
_SHORTEST_NAME, _LONGEST_NAME = 1, 1000
_ADAPTERS: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (Content, State)}


class BadLine(ValueError):
    """A line is not one of an export; the message says what is wrong with it."""


def _moment(text: object) -> object:
    """A time as the store writes it, unchanged."""
    try:
        canonical = isinstance(text, str) and to_z(from_z(text)) == text
    except ValueError:
        canonical = False
    if not canonical:
        raise ValueError("must be a time such as 2026-11-24T09:30:00.000000Z")
    return text


_Moment = Annotated[str, BeforeValidator(_moment)]
_Rev = Annotated[int, Field(ge=1, le=2**31)]
_Json = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Header(_Strict):
    """The first line."""

    object: Literal["export"]
    format: Literal[1]


class End(_Strict):
    """The last line, after so many."""

    object: Literal["end"]
    lines: int


class FileLine(_Strict):
    """The bytes of a file."""

    object: Literal["file"]
    sha256: str
    data: str

    def content(self) -> bytes:
        """The bytes.

        Raises:
            BadLine: They are not what the line says.
        """
        try:
            data = b64decode(self.data, validate=True)
        except (BadBase64, ValueError) as error:
            raise BadLine("data: is not base64") from error
        if sha256(data).hexdigest() != self.sha256:
            raise BadLine("data: does not have this sha256")
        return data


class DocumentLine(_Strict):
    """A document."""

    object: Literal["document"]
    kind: str
    name: Annotated[str, Field(min_length=_SHORTEST_NAME, max_length=_LONGEST_NAME)]
    rev: _Rev
    created_at: _Moment
    updated_at: _Moment
    data: _Json


class EventLine(_Strict):
    """Something that happened to an e-mail."""

    at: _Moment
    type: Annotated[str, Field(min_length=1, max_length=100)]
    run: Annotated[int, Field(ge=0)]
    rev: Annotated[int, Field(ge=0)]
    data: _Json


class EmailLine(_Strict):
    """An e-mail."""

    object: Literal["email"]
    id: str
    rev: _Rev
    created_at: _Moment
    content: _Json
    state: _Json
    events: Annotated[list[EventLine], Field(min_length=1)]
    key: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    first: _Json | None = None
    extra: _Json | None = None


AnyLine = Header | End | FileLine | DocumentLine | EmailLine
_MODELS: dict[str, type[AnyLine]] = {
    "export": Header,
    "end": End,
    "file": FileLine,
    "document": DocumentLine,
    "email": EmailLine,
}


def read(raw: bytes) -> tuple[AnyLine, _Json]:
    """One line, checked, and the JSON object that it is.

    Raises:
        BadLine: It is not a line of an export.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"is not JSON: {error}") from error
    model = _MODELS.get(str(found.get("object"))) if isinstance(found, dict) else None
    if model is None:
        raise BadLine(f"is not an object of an export: its object must be one of {', '.join(_MODELS)}")
    try:
        line = model.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadLine(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if isinstance(line, DocumentLine) and not _KIND.fullmatch(line.kind):
        raise BadLine("kind: must be lower-case letters")
    if isinstance(line, EmailLine):
        _check_email(line)
    return line, found


def file_line(name: str, data: bytes) -> _Json:
    """The line of a file."""
    return {"object": "file", "sha256": name, "data": b64encode(data).decode()}


def document_line(line: Line) -> _Json:
    """The line of the document whose newest line in the log is *line*."""
    kind, name = documents.split(line["id"])
    data = line["data"]
    return {
        "object": "document",
        "kind": kind,
        "name": name,
        "rev": line["rev"],
        "created_at": data["created_at"],
        "updated_at": line["at"],
        "data": data["doc"],
    }


def email_line(row: Row, index: Index, fetch: Callable[[Ref], Line]) -> _Json:
    """The line of an e-mail."""
    history = [fetch(ref) for ref in index.lines_of(row)]
    first = history[0]["data"]
    line: _Json = {
        "object": "email",
        "id": row.id,
        "rev": row.rev,
        "created_at": row.created_at,
        "content": fetch(row.content)["data"]["content"],
        "state": history[-1]["data"]["state"],
        "events": [
            {"at": to_z(one.at), "type": one.type, "run": one.run, "rev": one.rev, "data": one.data}
            for one in records.read_history(history)
        ],
    }
    if "key" in first:
        line |= {"key": first["key"], "first": first.get("first", first["state"])}
    if "extra" in first:
        line["extra"] = first["extra"]
    return line


def _check_email(line: EmailLine) -> None:
    if not is_email_id(line.id):
        raise BadLine("id: is not the id of an e-mail")
    if (line.key is None) != (line.first is None):
        raise BadLine("first: goes with a key, and a key with it")
    _check_part("content", line.content, Content, email_document.content_from_json, email_document.content_to_json)
    for name, state in (("state", line.state), ("first", line.first)):
        if state is not None:
            _check_part(name, state, State, email_document.state_from_json, email_document.state_to_json)


def _check_part(
    name: str, part: _Json, kind: type, from_json: Callable[[_Json], Any], to_json: Callable[[Any], _Json]
) -> None:
    """Is *part* what the store writes: nothing more, nothing less, and of the right types?"""
    try:
        made = from_json(part)
        whole = _ADAPTERS[kind].validate_python(asdict(made)) == made and to_json(made) == part
    except KeyError as error:
        raise BadLine(f"{name}: lacks {error}") from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise BadLine(f"{name}.{'.'.join(map(str, found['loc']))}: {found['msg']}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadLine(f"{name}: {error}") from error
    if not whole:
        raise BadLine(f"{name}: is not as the store writes it")
