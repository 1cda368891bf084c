"""One header field at a time: how a value is written so that every reader gets it back.

Three kinds of value, three rules (RFC 5322, sections 2.2.3 and 3.4; RFC 2047, section 5):

- unstructured text (Subject, and any header this module does not know) becomes encoded words where it is not plain;
- addresses keep the address itself out of encoded words: only the display name is encoded;
- structured values (List-Unsubscribe, References ...) are never encoded, and stay on one line up to 998 octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.charset import Charset
from email.utils import quote

from service.mailer import addresses

LONGEST_LINE = 998
"""Octets in a line, without its CRLF (RFC 5322, section 2.1.1)."""

_WIDTH = 76  # a line with an encoded word may not be longer (RFC 2047, section 2); others may
_WORD_OVERHEAD = len("=?utf-8?b??=")
_NAME_WIDTH = 60

_NAME = re.compile(r"[!-9;-~]+")
_FORBIDDEN = re.compile(r"[\r\n\x00]")
_PLAIN = re.compile(r"[\t -~]*")
_STRUCTURED = frozenset(
    {
        "message-id",
        "in-reply-to",
        "references",
        "date",
        "received",
        "return-path",
        "auto-submitted",
        "precedence",
        "mime-version",
        "dkim-signature",
        "authentication-results",
        "feedback-id",
        "importance",
        "priority",
        "x-priority",
    }
)
_ADDRESSES = frozenset(
    {"sender", "reply-to", "resent-from", "resent-to", "resent-cc", "resent-sender", "disposition-notification-to"}
)

_ATOMS = re.compile(r"[\w!#$%&'*+/?^`{|}~-]+(?: [\w!#$%&'*+/?^`{|}~-]+)*", re.ASCII)

_UTF8 = Charset("utf-8")  # writes an encoded word in base64 or as quoted text, whichever is shorter


def check_name(name: str) -> None:
    """Raise ValueError unless *name* is a field name (RFC 5322, section 2.2)."""
    if not _NAME.fullmatch(name) or len(name) > _WIDTH:
        raise ValueError(f"{name!r} is not a header name")


def custom(name: str, value: str) -> str:
    """The body of a header that the sender of the e-mail chose.

    Raises:
        ValueError: The value has a line end or NUL, or a structured value that cannot be written without encoding it
            or breaking a word.
    """
    _check_value(name, value)
    lowered = name.lower()
    structured = lowered in _STRUCTURED or lowered.startswith(("list-", "content-", "arc-"))
    addressed = lowered in _ADDRESSES
    if structured and not _PLAIN.fullmatch(value):
        raise ValueError(f"{name} takes plain ASCII only, not {value[:80]!r}")
    if structured or ((addressed or _reads_plain(value)) and value.isascii() and _fits(_words(value))):
        return _fold(name, _words(value), LONGEST_LINE)
    if addressed:
        return mailboxes(name, [value])
    return text(name, value)


def text(name: str, value: str) -> str:
    """The body of an unstructured header: plain and folded at its own whitespace, or in encoded words.

    Raises:
        ValueError: The value has a line end or NUL.
    """
    _check_value(name, value)
    words = _words(value)
    if _reads_plain(value) and _fits(words):
        return _fold(name, words, _WIDTH)
    return _fold(name, _join(encoded_words(value, _WIDTH - len(name) - 2)), _WIDTH)


def mailboxes(name: str, values: Iterable[str]) -> str:
    """The body of an address header, folded between addresses; each is ``Name <local@domain>`` or ``local@domain``.

    Raises:
        ValueError: A value has a line end or NUL, or an address that no header can carry.
    """
    words: list[str] = []
    for value in values:
        _check_value(name, value)
        if words:
            words[-1] += ","
        words += _join(_mailbox(value), first=bool(words))
    return _fold(name, words, _WIDTH)


def encoded_words(value: str, first: int = _WIDTH - 1) -> list[str]:
    """*value* as encoded words of at most 75 characters, the first at most *first* if that leaves room for text.

    Characters are never split between words (RFC 2047, section 5, rule 3).
    """
    room = _octets(first) if _octets(first) >= 12 else _octets(_WIDTH - 1)
    words: list[str] = []
    start = size = 0
    for index, character in enumerate(value):
        width = len(character.encode("utf-8"))
        if size + width > room:
            words.append(_UTF8.header_encode(value[start:index]))
            start, size, room = index, 0, _octets(_WIDTH - 1)
        size += width
    words.append(_UTF8.header_encode(value[start:]))
    return words


def _octets(width: int) -> int:
    return (min(width, _WIDTH - 1) - _WORD_OVERHEAD) // 4 * 3


def _mailbox(value: str) -> list[str]:
    """The words of one address, its display name first."""
    name, address = addresses.split(value)
    address = addresses.to_wire(address)
    if not name:
        return [address]
    if _ATOMS.fullmatch(name):
        return [*name.split(), f"<{address}>"]
    if _reads_plain(name) and len(name) <= _NAME_WIDTH:
        return [f'"{quote(name)}" <{address}>']
    return [*encoded_words(name, _WIDTH // 2), f"<{address}>"]


def _check_value(name: str, value: str) -> None:
    if _FORBIDDEN.search(value):
        raise ValueError(f"{name} has a line end or a NUL in {value[:80]!r}")


def _reads_plain(value: str) -> bool:
    """Whether a reader gets *value* back from its own characters, unfolded and without decoding."""
    return bool(_PLAIN.fullmatch(value)) and "=?" not in value and value == value.strip()


def _fits(words: list[str]) -> bool:
    return all(len(word) < LONGEST_LINE - _WIDTH for word in words)


def _words(value: str) -> list[str]:
    """*value* cut before each run of whitespace that a word follows; joined again it is the same."""
    # No part of this can fail late, so a long run of blanks is read once and not from each of them again.
    words: list[str] = re.findall(r"[ \t]+[^ \t]*|[^ \t]+", value)
    if len(words) > 1 and words[-1].isspace():
        words[-2:] = [words[-2] + words[-1]]
    return words or [value]


def _join(words: list[str], *, first: bool = False) -> list[str]:
    """*words* with the space between them as part of the later one; *first*: one before the first as well."""
    return [f" {word}" if index or first else word for index, word in enumerate(words)]


def _fold(name: str, words: list[str], width: int) -> str:
    """*words* in lines of at most *width* characters where there is whitespace to break at, and never over 998.

    Raises:
        ValueError: A word is longer than a line may be.
    """
    line = len(name) + 2
    folded: list[str] = []
    for index, word in enumerate(words):
        if len(word.encode("utf-8")) > LONGEST_LINE - (line if index == 0 else 0):
            raise ValueError(f"{name} has a word too long for a line of {LONGEST_LINE} octets")
        if line + len(word) > width and (index or word.startswith("=?")):
            folded.append("\r\n" if index else "\r\n ")
            line = 0
        folded.append(word)
        line += len(word)
    return "".join(folded)
