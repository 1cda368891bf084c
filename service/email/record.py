"""The record of one e-mail, as the store keeps it and as the API shows it.

A record is two parts that change at different speeds. `Content` is what was accepted: it fixes the MIME bytes and
changes only by an edit before the first attempt. `State` is where the e-mail stands: every line of the journal that
changes an e-mail carries the whole of it, so the newest line and the line of the content are enough to read a record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """Where an e-mail stands; `docs/architecture.md` draws the transitions."""

    SCHEDULED = "scheduled"
    SENDING = "sending"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    HELD = "held"
    CANCELLED = "cancelled"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.HELD})
"""Statuses that nothing leaves by itself (`held` and `failed` can be retried by hand)."""


class RecipientStatus(StrEnum):
    """How far one recipient of an e-mail got."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SUPPRESSED = "suppressed"
    UNKNOWN = "unknown"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address of the envelope, with the SMTP server's last words about it.

    `code` and `reply` are None until a server answered for this address.
    """

    address: str
    status: RecipientStatus = RecipientStatus.PENDING
    code: int | None = None
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of an e-mail. Its bytes are kept beside the log, under their SHA-256.

    Attributes:
        filename: As the reader sees it.
        content_type: Such as ``application/pdf``.
        size: Bytes.
        sha256: Of the bytes, hex.
        content_id: What ``cid:`` in the HTML calls it, without angle brackets; None for one that is not inline.
    """

    filename: str
    content_type: str
    size: int
    sha256: str
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What was accepted. Addresses are header form: ``Name <local@domain>`` or ``local@domain``.

    Attributes:
        envelope_from: The address in MAIL FROM, where replies that are no replies go; None for the sender's.
        template: ``NAME@VERSION`` of the template that subject, text and html were made from.
    """

    sender: str
    to: tuple[str, ...]
    subject: str
    message_id: str
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    text: str | None = None
    html: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    envelope_from: str | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Where an e-mail stands. Times are aware datetimes in UTC.

    Attributes:
        gen: Grows when the e-mail gets a new job (an edit of its time, ``/retry``); the job id is ``EMAIL.GEN``.
        run: Grows with every ``email.sending`` and never shrinks; it fences the outcome.
        attempts: Counted outcomes so far; compared with 1 + `max_retries` after counting.
        next_attempt_at: When it is next due, while scheduled or retrying; None otherwise.
        by: Random id of the process that is sending it; None unless sending.
        sending_since: When the present run began; None unless sending.
        date: The ``Date`` header, chosen by the first run and kept by every later one.
        digest: SHA-256 of the MIME bytes of the last run, hex.
        last_error: One sentence: what the server, the relay or the worker said last.
        deferrals: Runs in a row that came to nothing by trouble with the relay; the next one waits the longer.
    """

    status: Status
    recipients: tuple[Recipient, ...]
    scheduled_at: datetime
    max_retries: int
    retry_until: datetime
    next_attempt_at: datetime | None = None
    reason: str | None = None
    gen: int = 1
    run: int = 0
    attempts: int = 0
    last_error: str | None = None
    by: str | None = None
    sending_since: datetime | None = None
    date: datetime | None = None
    digest: str | None = None
    deferrals: int = 0


@dataclass(frozen=True, slots=True)
class Email:
    """A record: identity, content, state and revision (`rev` grows by one with every change, from 1)."""

    id: str
    rev: int
    created_at: datetime
    content: Content
    state: State

    @property
    def job_id(self) -> str:
        """The id of the job that carries this e-mail in the queue."""
        return f"{self.id}.{self.state.gen}"


@dataclass(frozen=True, slots=True)
class Change:
    """One legal step of an e-mail's life: the event's type and the state after it.

    `content` is set only where the content changes too (accept and edit). `detail` is what the event says beyond the
    state: a JSON object.
    """

    type: str
    state: State
    content: Content | None = None
    detail: dict[str, Any] = field(default_factory=dict)


class Stage(StrEnum):
    """The command of a transaction that an answer belongs to."""

    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """The DATA command itself, or the message after its final dot."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP server's answer: the three-digit code and its text, lines joined by a space.

    `stage` matters for one code: 552 to RCPT means too many recipients and is temporary (RFC 5321, section
    4.5.3.1.10), anywhere else it is final. None is taken for "not RCPT".
    """

    code: int
    text: str
    stage: Stage | None = None

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Ending(StrEnum):
    """How one SMTP transaction ended."""

    ANSWERED = "answered"
    """Every recipient that was tried has the server's answer (at MAIL, RCPT or after the final dot)."""
    TROUBLE = "trouble"
    """The relay failed before the final dot was written (connect, TLS, auth, 421, drop, timeout): nothing was sent."""
    UNKNOWN = "unknown"
    """The final dot was written and no answer came: the server may or may not have the message."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one SMTP transaction came to.

    Attributes:
        ending: See `Ending`.
        replies: The server's answer by recipient address, for those it answered for: a 2xx here means the message was
            accepted for that recipient. With TROUBLE it is empty; with UNKNOWN it holds the RCPT refusals only.
        error: One sentence for people, where `ending` is not ANSWERED.
    """

    ending: Ending
    replies: dict[str, Reply] = field(default_factory=dict)
    error: str | None = None
