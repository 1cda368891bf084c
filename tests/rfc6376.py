"""Verifies DKIM signatures (RFC 6376, RFC 8463), written from the RFC and sharing nothing with what signs.

The cryptography is that of the library of this name. The keys come from the test, as they would from the DNS.
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

PublicKey = RSAPublicKey | Ed25519PublicKey
Field = tuple[bytes, bytes]


class BadSignature(Exception):
    """A signature does not verify; the message says what does not fit."""


def signatures(message: bytes) -> list[dict[str, str]]:
    """The tags of each signature of *message* (section 3.2), from the top."""
    return [tags(value) for name, value in split(message)[0] if name.lower() == b"dkim-signature"]


def verify(message: bytes, index: int, key: PublicKey) -> dict[str, str]:
    """The tags of signature number *index* of *message*.

    Raises:
        BadSignature: The body hash does not fit (section 3.7).
        cryptography.exceptions.InvalidSignature: The header's does not.
    """
    fields, body = split(message)
    name, value = [one for one in fields if one[0].lower() == b"dkim-signature"][index]
    found = tags(value)
    header_form, body_form = found["c"].split("/")
    if base64.b64encode(sha256(canonical_body(body, body_form)).digest()).decode() != found["bh"]:
        raise BadSignature("the body has changed")
    assert header_form == "relaxed"
    rest = list(fields)
    signed = b""
    for wanted in found["h"].lower().split(":"):
        at = next((n for n in reversed(range(len(rest))) if rest[n][0].lower().decode() == wanted), None)
        if at is not None:  # one that is not there is signed as not there
            signed += relaxed(rest.pop(at)) + b"\r\n"
    signed += relaxed((name, re.sub(rb"(?s)((?:^|;)\s*b\s*=)[^;]*", rb"\1", value)))
    signature = base64.b64decode(found["b"])
    if isinstance(key, Ed25519PublicKey):
        assert found["a"] == "ed25519-sha256"
        key.verify(signature, sha256(signed).digest())
    else:
        assert found["a"] == "rsa-sha256"
        key.verify(signature, signed, PKCS1v15(), SHA256())
    return found


def split(message: bytes) -> tuple[list[Field], bytes]:
    """The header fields of *message*, their values as they stand, and its body."""
    head, _, body = message.partition(b"\r\n\r\n")
    fields: list[Field] = []
    for field in re.split(rb"\r\n(?![ \t])", head):
        name, _, value = field.partition(b":")
        fields.append((name.rstrip(b" \t"), value))
    return fields, body


def tags(value: bytes) -> dict[str, str]:
    """A list of tags (section 3.2), without the white space in it."""
    pairs = (tag.partition("=") for tag in re.sub(r"\s+", "", value.decode("ascii")).split(";") if tag)
    return {name: text for name, _, text in pairs}


def relaxed(field: Field) -> bytes:
    """A header field in the relaxed form (section 3.4.2), without its line end."""
    value = re.sub(rb"[ \t]+", b" ", field[1].replace(b"\r\n", b""))
    return field[0].lower() + b":" + value.strip(b" ")


def canonical_body(body: bytes, form: str) -> bytes:
    """The body in the simple or the relaxed form (sections 3.4.3 and 3.4.4)."""
    if form == "relaxed":
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
        body = b"\r\n".join(lines)
        while body.endswith(b"\r\n"):
            body = body[:-2]
        return body + b"\r\n" if body else b""
    while body.endswith(b"\r\n"):
        body = body[:-2]
    return body + b"\r\n"
