"""Ids of e-mails: ``em_`` and what `zqueue.new_id` makes, a UUIDv7 in 26 characters, so that they sort by age."""

from __future__ import annotations

import re

from zqueue import new_id

PREFIX = "em_"
_SHAPE = re.compile(r"em_[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)


def new_email_id() -> str:
    """A new id, above every id this process made before. Thread-safe."""
    return PREFIX + new_id()


def is_email_id(text: str) -> bool:
    """Whether *text* has the shape of an id (it need not exist)."""
    return _SHAPE.fullmatch(text) is not None


def message_id(email_id: str, domain: str) -> str:
    """The ``Message-ID`` of an e-mail, the same at every attempt; *domain* is the sender's, in ASCII."""
    return f"<{email_id}@{domain}>"
