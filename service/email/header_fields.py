"""Extra headers of an e-mail: which may be set, and what they may hold."""

from __future__ import annotations

import re

MOST = 50
"""Extra headers of one e-mail."""

LONGEST_VALUE = 5_000
"""Characters in a value."""

_NAME = re.compile(r"[!-9;-~]{1,76}")
# Everything at which some program may start a new line, and the other controls but the tab.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_OWNED = frozenset(
    {
        "apparently-to",
        "authentication-results",
        "bcc",
        "cc",
        "date",
        "delivered-to",
        "dkim-signature",
        "domainkey-signature",
        "envelope-to",
        "from",
        "message-id",
        "mime-version",
        "received",
        "received-spf",
        "reply-to",
        "return-path",
        "sender",
        "subject",
        "to",
        "x-envelope-from",
        "x-envelope-to",
        "x-original-to",
    }
)
_OWNED_PREFIXES = ("arc-", "content-", "resent-")
_AS_FIELDS = {"bcc", "cc", "from", "reply-to", "subject", "to"}


def is_owned(name: str) -> bool:
    """Whether the service, or who carries the message further, writes the header *name*."""
    lowered = name.lower()
    return lowered in _OWNED or lowered.startswith(_OWNED_PREFIXES)


def complaint_about_text(value: str) -> str | None:
    """Why *value* may not stand in a header; None if it may."""
    if _CONTROL.search(value):
        return "has a line break or another control character in it, which a header cannot hold"
    return None


def complaint_about_header(name: str, value: object) -> str | None:
    """Why the extra header *name* with *value* may not be set (RFC 5322, section 3.6.8); None if it may."""
    if _NAME.fullmatch(name) is None:
        return "is not a header name: 1 to 76 ASCII characters, without blanks, colons and line breaks"
    lowered = name.lower()
    if is_owned(name):
        instead = f"; use the field {lowered.replace('-', '_')}" if lowered in _AS_FIELDS else ""
        return f"is a header that the service writes itself{instead}"
    if not isinstance(value, str):
        return "must be a string"
    if len(value) > LONGEST_VALUE:
        return f"must be at most {LONGEST_VALUE} characters long"
    return complaint_about_text(value)
