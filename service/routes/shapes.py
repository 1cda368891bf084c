"""What answers look like, for the OpenAPI document: one class per shape. Answers are not made from these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

StatusName = Literal["scheduled", "sending", "retrying", "completed", "failed", "held", "cancelled"]
RecipientStatusName = Literal["pending", "accepted", "refused", "suppressed", "unknown", "bounced"]


class Shape(BaseModel):
    """An answer: every field is there, and no other."""

    model_config = ConfigDict(extra="forbid")


class RecipientShape(Shape):
    """One recipient of an e-mail, and the server's last words about it."""

    address: str
    status: RecipientStatusName
    code: int | None
    reply: str | None


class AttachmentShape(Shape):
    """One attachment of an e-mail."""

    filename: str
    content_type: str
    size: int
    sha256: str
    content_id: str | None


class EmailSummary(Shape):
    """An e-mail without its bodies."""

    id: str
    object: Literal["email"]
    status: StatusName
    reason: str | None
    rev: int
    message_id: str
    sender: str = Field(alias="from")
    to: list[str]
    cc: list[str]
    bcc: list[str]
    reply_to: list[str]
    subject: str
    headers: dict[str, str]
    tags: list[str]
    template: str | None
    envelope_from: str | None
    attachments: list[AttachmentShape]
    created_at: str
    scheduled_at: str
    next_attempt_at: str | None
    attempts: int
    max_retries: int
    retry_until: str
    last_error: str | None
    recipients: list[RecipientShape]


class EmailRecord(EmailSummary):
    """An e-mail."""

    text: str | None
    html: str | None


class EmailList(Shape):
    """A page of e-mails; `after` and `before` are cursors of the pages next to it."""

    object: Literal["list"]
    has_more: bool
    after: str | None
    before: str | None
    data: list[EmailSummary]


class EventShape(Shape):
    """Something that happened to an e-mail."""

    seq: int
    at: str
    type: str
    email_id: str | None
    run: int
    data: dict[str, Any]


class EventList(Shape):
    """Events, oldest first."""

    object: Literal["list"]
    has_more: bool
    data: list[EventShape]


class BulkAnswer(Shape):
    """What came, or would come, of a step for many e-mails."""

    object: Literal["bulk"]
    action: Literal["cancel", "retry"]
    dry_run: bool
    matched: int
    changed: int
    unchanged: int
    refused: int


class FaultShape(Shape):
    """One bad field."""

    pointer: str
    detail: str


class Problem(Shape):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FaultShape] = []


class BatchError(Shape):
    """What is wrong with one e-mail of a batch."""

    index: int
    errors: list[FaultShape]


class BatchEntry(Shape):
    """One accepted e-mail of a batch."""

    id: str


class BatchAnswer(Shape):
    """What came of a batch: the accepted e-mails in the order they were given in, and what is wrong with the others."""

    object: Literal["batch"]
    data: list[BatchEntry]
    errors: list[BatchError]


class StoredAttachment(Shape):
    """A file that was uploaded."""

    object: Literal["attachment"]
    sha256: str
    size: int


class Alive(Shape):
    """That the process answers."""

    status: Literal["ok"]


class Readiness(Shape):
    """Whether an e-mail would be accepted, and the state of what it is sent with; each part has its own details."""

    model_config = ConfigDict(extra="allow")

    status: Literal["ready", "unavailable"]
    store: dict[str, Any]
    redis: dict[str, Any]
    workers: int = Field(description="Workers that live.")
    relays: list[dict[str, Any]] = Field(
        description="Each relay's `address`, its `state` (`ok`, `unreachable`, `refusing`, `tls`, `login`, `busy`, "
        "`dropping`, or `unknown` where no worker lives), since when, and the last `error`."
    )


class CaughtMessage(Shape):
    """A message that the inbox for development caught."""

    id: str
    received_at: str
    sender: str = Field(alias="from")
    to: list[str]
    subject: str
    message_id: str
    size: int
    date: str


class WholeCaughtMessage(CaughtMessage):
    """A caught message with its bytes."""

    raw: str


class CaughtMessageList(Shape):
    """What the inbox for development caught, newest first."""

    object: Literal["list"]
    data: list[CaughtMessage]


class AnyObject(BaseModel):
    """An object that is described elsewhere."""

    model_config = ConfigDict(extra="allow")
