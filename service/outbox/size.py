"""How large a message can be at most, from its record alone."""

from __future__ import annotations

from service.email.record import Content

_PART = 1024  # octets of a part's own header and boundary, generously
_LINE = 57, 78  # octets of a file in a line of base64, and of that line with its end


def most_bytes(content: Content) -> int:
    """Octets that the message of *content* has at most: every body in base64, every header in encoded words."""
    addresses = (content.sender, *content.to, *content.cc, *content.reply_to)
    header = sum(map(_encoded, (content.subject, *addresses))) + _PART
    header += sum(len(name) + 80 + _encoded(value) for name, value in content.headers.items())
    bodies = sum(_in_base64(_octets(text)) + _PART for text in (content.text, content.html) if text is not None)
    files = sum(_in_base64(one.size) + 6 * len(one.filename.encode()) + _PART for one in content.attachments)
    return header + bodies + files


def _octets(text: str) -> int:
    """Of *text* with its line ends as CRLF."""
    return len(text.encode()) + text.count("\n") + text.count("\r") + 2


def _in_base64(octets: int) -> int:
    return (octets // _LINE[0] + 1) * _LINE[1]


def _encoded(value: str) -> int:
    """Of a header's value: an encoded word of 75 octets holds 45, or one character less."""
    return (len(value.encode()) // 36 + 1) * 78
