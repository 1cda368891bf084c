"""Addresses as the wire wants them: domains in ASCII, and what needs SMTPUTF8 told apart."""

from __future__ import annotations

import re

import idna

_PLAIN = re.compile(r'[^\s<>"\x00-\x1f\x7f]+@[^\s<>"@\x00-\x1f\x7f]+')
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"@[^\s<>"@\x00-\x1f\x7f]+')


def split(text: str) -> tuple[str, str]:
    """The display name (empty if there is none) and the address of ``Name <local@domain>`` or ``local@domain``."""
    text = text.strip()
    if not text.endswith(">") or "<" not in text:
        return "", text
    name, _, address = text[:-1].rpartition("<")
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, address.strip()


def to_wire(address: str) -> str:
    """*address* with its domain in A-labels (RFC 5890), fit for a command line; the local part is kept as it is.

    Raises:
        ValueError: It holds what would end a path or a command, or its domain is not one.
    """
    if not (_PLAIN.fullmatch(address) or _QUOTED.fullmatch(address)):
        raise ValueError(f"{address!r} is not an address that SMTP can carry")
    local, _, domain = address.rpartition("@")
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local}@{domain}"


def needs_smtputf8(address: str) -> bool:
    """Whether the local part is outside ASCII, which only RFC 6531 can carry."""
    return not address.rpartition("@")[0].isascii()
