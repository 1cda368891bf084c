"""What is reported of an e-mail after it was sent, and changes nothing of where it stands: steps that are only told.

Pure functions like those of `service.email.life`, called under the store's lock.
"""

from __future__ import annotations

from service.email.record import Change, Email


def delayed(email: Email, address: str, *, code: int | None, reply: str) -> Change:
    """A server that took the message still tries to hand it on."""
    return _told(email, "recipient.delayed", {"address": address, "code": code, "reply": reply})


def complained(email: Email, address: str, *, kind: str) -> Change:
    """The recipient called the message spam; *kind* is the report's type (RFC 5965, section 3.1)."""
    return _told(email, "recipient.complained", {"address": address, "kind": kind})


def unsubscribed(email: Email, address: str) -> Change:
    """The recipient followed the link that unsubscribes."""
    return _told(email, "recipient.unsubscribed", {"address": address})


def _told(email: Email, type_: str, detail: dict[str, object]) -> Change:
    return Change(type_, email.state, detail=detail)
