"""An e-mail as it was asked for, checked, before it becomes a record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.email.mailbox import Mailbox
from service.email.record import Attachment


@dataclass(frozen=True, slots=True)
class File:
    """An attachment and its bytes; None for one that was uploaded before."""

    attachment: Attachment
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """The template that subject, text and html are to be made from; version None is its newest."""

    name: str
    version: int | None
    variables: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filled:
    """What a template came to; *label* is its ``NAME@VERSION``."""

    subject: str
    text: str | None
    html: str | None
    label: str


@dataclass(frozen=True, slots=True)
class Draft:
    """An e-mail as it was asked for, checked. None stands for the default.

    Attributes:
        scheduled_at: None sends at once.
        retry_until: None for `service.email.life.default_retry_until`.
        envelope_from: The address in MAIL FROM; None for the sender's.
        template: What text and html are made from, and the subject unless there is one.
        unsubscribe: Whether it gets the headers of one-click unsubscribing (RFC 8058).
    """

    sender: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    bcc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]
    subject: str
    text: str | None
    html: str | None
    headers: dict[str, str]
    tags: tuple[str, ...]
    scheduled_at: datetime | None
    max_retries: int | None
    retry_until: datetime | None
    files: tuple[File, ...] = ()
    envelope_from: str | None = None
    template: TemplateCall | None = None
    unsubscribe: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """The envelope: every address of to, cc and bcc, once."""
        return tuple(dict.fromkeys(one.address for one in (*self.to, *self.cc, *self.bcc)))
