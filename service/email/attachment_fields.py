"""The fields of one attachment in a request."""

from __future__ import annotations

import binascii
import mimetypes
import re
from hashlib import sha256
from typing import Annotated

from pydantic import AfterValidator as After
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, model_validator

from service.email import header_fields
from service.email.draft import File
from service.email.record import Attachment
from service.email.terms import Terms

LONGEST_FILENAME = 255
LONGEST_TYPE = 200
LONGEST_ID = 200

_SLICE = 1024 * 1024  # characters decoded at a time, between which other threads get a turn; a multiple of four
_NO_BASE64 = "must be base64 (RFC 4648, section 4), padded and without line breaks"
_OPAQUE = "application/octet-stream"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 2045, section 5.1
_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:; ?{_TOKEN}=(?:{_TOKEN}|"[ !#-\[\]-~]*"))*')
_CONTENT_ID = re.compile(r"[!#$%&'*+./0-9=?A-Z^_`a-z{|}~-]+(?:@[0-9A-Za-z.-]+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _filename(value: str) -> str:
    complaint = header_fields.complaint_about_text(value)
    if complaint is not None:
        raise ValueError(complaint)
    if "/" in value or "\\" in value or value.strip(". ") == "":
        raise ValueError("must be the name of a file, without a path")
    return value


def _content_type(value: str) -> str:
    if _TYPE.fullmatch(value) is None:
        raise ValueError("must be a media type such as application/pdf")
    if value.lower().startswith(("multipart/", "message/")):
        raise ValueError(f"may not be multipart/ or message/, which cannot be sent in base64; use {_OPAQUE}")
    return value


def _content_id(value: str) -> str:
    if _CONTENT_ID.fullmatch(value) is None:
        raise ValueError("must be an id such as logo or logo@example.com, without angle brackets")
    return value


def _base64(value: object) -> object:
    if not isinstance(value, str):
        return value
    if "=" in value[:-2]:
        raise ValueError(_NO_BASE64)
    try:
        pieces = [binascii.a2b_base64(value[at : at + _SLICE], strict_mode=True) for at in range(0, len(value), _SLICE)]
    except ValueError as error:  # UnicodeEncodeError is one, binascii.Error too
        raise ValueError(_NO_BASE64) from error
    return b"".join(pieces)


def _uploaded(value: str, info: ValidationInfo) -> str:
    if _SHA256.fullmatch(value) is None:
        raise ValueError("must be 64 hexadecimal digits in lower case")
    terms = info.context
    assert isinstance(terms, Terms)
    if terms.uploaded_size(value) is None:
        raise ValueError("is not the SHA-256 of an uploaded file; upload it with POST /v1/attachments")
    return value


def _guessed(filename: str) -> str:
    found, compression = mimetypes.guess_type(filename)
    if found is None or compression is not None or found.startswith(("multipart/", "message/")):
        return _OPAQUE
    return found


class AttachmentRequest(BaseModel):
    """A file to attach: its bytes in base64, or the SHA-256 of an uploaded one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    filename: Annotated[str, Field(min_length=1, max_length=LONGEST_FILENAME), After(_filename)]
    content: Annotated[
        bytes | None,
        BeforeValidator(_base64),
        WithJsonSchema({"anyOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "null"}]}),
    ] = None
    sha256: Annotated[str, After(_uploaded)] | None = None
    content_type: Annotated[str, Field(max_length=LONGEST_TYPE), After(_content_type)] | None = None
    content_id: Annotated[str, Field(max_length=LONGEST_ID), After(_content_id)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> AttachmentRequest:
        if (self.content is None) == (self.sha256 is None):
            raise ValueError("must have either content or sha256")
        return self

    def file(self, terms: Terms) -> File:
        """What is to be attached."""
        data = self.content
        digest = sha256(data).hexdigest() if data is not None else str(self.sha256)
        size = len(data) if data is not None else terms.uploaded_size(digest) or 0
        content_type = self.content_type or _guessed(self.filename)
        return File(Attachment(self.filename, content_type, size, digest, self.content_id), data)


NAMES: frozenset[str] = frozenset(AttachmentRequest.model_fields)
"""The names of an attachment's fields."""
