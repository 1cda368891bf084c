"""Parameters of Content-Type and Content-Disposition, above all the names of files.

A name outside ASCII is written as RFC 2231 says and never as an encoded word, which no parameter may hold (RFC 2047,
section 5, rule 3). Old readers know only the ``name`` of Content-Type: they get the same name in plain ASCII there.
"""

from __future__ import annotations

import re
import unicodedata
from email.utils import quote as escape
from urllib.parse import quote

_PLAIN = re.compile(r"[ -~]*")
_SEGMENT = 54  # characters of a name in a line, so that the line stays below 78
_FALLBACK = 60
_UNSAFE = re.compile(r'[^ -~]|["\\/:*?<>|]')


def parameter(name: str, value: str) -> list[str]:
    """``name=value`` as it is written: quoted if it is plain, else in as many sections as it needs (RFC 2231)."""
    if _PLAIN.fullmatch(value) and "=?" not in value:
        return [f'{name}="{escape(value)}"']
    sections = [""]
    for character in value:
        written = quote(character, safe="")
        if len(sections[-1]) + len(written) > _SEGMENT:
            sections.append("")
        sections[-1] += written
    if len(sections) == 1:
        return [f"{name}*=utf-8''{sections[0]}"]
    sections[0] = f"utf-8''{sections[0]}"
    return [f"{name}*{number}*={text}" for number, text in enumerate(sections)]


def plain_name(filename: str) -> str:
    """*filename* in printable ASCII, not too long, with its extension: what is left of it is better than nothing."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", filename) if not unicodedata.combining(one))
    stem, dot, extension = _UNSAFE.sub("_", bare.replace("=?", "__")).rpartition(".")
    if not dot or not stem:
        stem, dot, extension = stem + dot + extension, "", ""
    extension = extension[:10]
    if not stem.strip("_ ."):
        stem = "attachment"
    return stem[: _FALLBACK - len(dot + extension)] + dot + extension


def written(value: str, parameters: list[str]) -> str:
    """The body of a header: *value*, and each parameter on a line of its own."""
    return ";\r\n ".join([value, *parameters])
