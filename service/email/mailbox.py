"""Addresses as people write them: ``Name <local@domain>`` or ``local@domain``."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

LONGEST_NAME = 200
"""Characters in a display name."""

_LONGEST = 1000

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN_NAME = re.compile(r"[^\x00-\x1f()<>\[\]:;@\\,.\"]+")
_SHAPE = "write it as local@example.com or Name <local@example.com>"


class InvalidMailbox(ValueError):
    """A text is not one address; the message says why, ready for the user."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address.

    Attributes:
        name: The display name, empty if there is none.
        address: ``local@domain``, the domain in lower case and Unicode, the local part as written (in NFC).
        domain: The domain in ASCII (A-labels, RFC 5890).
    """

    name: str
    address: str
    domain: str

    def __str__(self) -> str:
        """The header form, the name quoted where RFC 5322 wants it."""
        if not self.name:
            return self.address
        if _PLAIN_NAME.fullmatch(self.name):
            return f"{self.name} <{self.address}>"
        quoted = re.sub(r'([\\"])', r"\\\1", self.name)
        return f'"{quoted}" <{self.address}>'


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Mailbox:
    """Read one address; the domain need not exist, only look right (RFC 5321 and 6531).

    Raises:
        InvalidMailbox: *text* is no address, or more than one.
    """
    if len(text) > _LONGEST:
        raise InvalidMailbox(f"is {len(text):,} characters long, too long for an address")
    if _CONTROL.search(text):
        raise InvalidMailbox("has a line break or another control character in it")
    name, address = _split(text.strip())
    if len(name) > LONGEST_NAME:
        raise InvalidMailbox(f"has a name of {len(name)} characters; at most {LONGEST_NAME} are allowed")
    try:
        # test_environment admits the names under .test, which are reserved for just that (RFC 6761).
        found = validate_email(address, check_deliverability=False, strict=True, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidMailbox(f"is not an e-mail address: {error} {_SHAPE[0].upper()}{_SHAPE[1:]}.") from error
    return Mailbox(name, found.normalized, found.ascii_domain)


def _split(text: str) -> tuple[str, str]:
    if not text.endswith(">") or "<" not in text:
        return "", text
    name, _, address = text[:-1].rpartition("<")
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        inner = name[1:-1]
        if re.fullmatch(r'(?:[^"\\]|\\.)*', inner) is None:
            raise InvalidMailbox('has a quoted name with a bare " or \\ in it; put a \\ before it')
        return re.sub(r"\\(.)", r"\1", inner).strip(), address
    if re.search(r'[<>@"]', name):
        raise InvalidMailbox(
            'has a name with one of < > @ " in it; put the name in quotes, or give several addresses as a list'
        )
    return name, address
