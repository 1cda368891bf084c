"""The process that signs: ``python -m service.mailer.dkim_child``. It ends with its parent (end of input).

First it is given the keys and says whether they can be used; then each line it reads is a request, followed by a
message, and each line it writes the answer.
"""

from __future__ import annotations

import base64
import binascii
import re
import resource
import signal
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import dkim
import orjson
from dkim.crypto import UnparsableKeyError, parse_pem_private_key

LONGEST: Final = 120
"""Seconds that a signature may take, after which the process ends itself."""

SIGNED: Final = (
    *("from", "to", "cc", "reply-to", "subject", "date", "message-id", "mime-version", "content-type"),
    *("content-transfer-encoding", "in-reply-to", "references", "auto-submitted", "list-id", "list-help"),
    *("list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post", "list-owner", "list-archive"),
)
"""Header fields that are signed where they are (RFC 6376, section 5.4.1; RFC 8058, section 4)."""

SEALED: Final = ("from", "to", "cc", "reply-to", "subject", "date", "message-id", "mime-version", "content-type")
"""Header fields of which none may be added either (RFC 6376, section 8.15)."""

_SMALL = 256 * 1024  # above that the library needs a second for 10 MB to put up with changes of white space
_LEAST_BITS = 1024  # RFC 8301, section 3.2
_SEED = bytes.fromhex("302e020100300506032b657004220420")  # what precedes an Ed25519 key in PKCS #8 (RFC 8410)
_ARMOR = re.compile(r"-----BEGIN ([A-Z ]+)-----\s+(.*?)-----END \1-----", re.DOTALL)


class Unusable(Exception):
    """A key cannot be used."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A key as the library takes it."""

    selector: bytes
    algorithm: bytes
    secret: bytes


def main() -> None:
    """Answer until there is nobody to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to all; this one ends with its parent
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keys: list[Loaded] = []
    for index, (selector, pem) in enumerate(orjson.loads(sys.stdin.buffer.readline())["keys"]):
        try:
            keys.append(load(selector, pem))
        except Unusable as error:
            _answer({"bad": index, "why": str(error)})
            return
    _answer({})
    while line := sys.stdin.buffer.readline():
        request = orjson.loads(line)
        data = sys.stdin.buffer.read(request["size"])
        if len(data) < request["size"]:
            return
        signal.alarm(LONGEST)
        try:
            _answer({"fields": sign(keys, request["domain"], data, request["at"]).decode("ascii")})
        except dkim.DKIMException as error:
            _answer({"why": str(error)})
        signal.alarm(0)


def load(selector: str, pem: str) -> Loaded:
    """The key in *pem*: RSA (PKCS #1 or #8) or Ed25519 (PKCS #8).

    Raises:
        Unusable: It is neither, or too weak.
    """
    armor = _ARMOR.search(pem)
    if armor is None:
        raise Unusable("it has no private key in PEM (-----BEGIN PRIVATE KEY-----)")
    if "ENCRYPTED" in armor[0]:
        raise Unusable("the key in it is encrypted")
    try:
        der = base64.b64decode(armor[2])
        if der.startswith(_SEED) and len(der) == len(_SEED) + 32:
            return Loaded(selector.encode(), b"ed25519-sha256", base64.b64encode(der[len(_SEED) :]))
        bits = int(parse_pem_private_key(armor[0].encode())["modulus"]).bit_length()
    except (binascii.Error, UnparsableKeyError) as error:
        raise Unusable("the key in it is neither RSA nor Ed25519") from error
    if bits < _LEAST_BITS:
        raise Unusable(f"the RSA key in it has {bits} bits; at least {_LEAST_BITS} are needed, better 2048")
    return Loaded(selector.encode(), b"rsa-sha256", armor[0].encode())


def sign(keys: list[Loaded], domain: str, data: bytes, at: int) -> bytes:
    """A header field for each key, the same for the same arguments.

    Raises:
        dkim.DKIMException: The message is none.
    """
    # The library dates signatures by the clock alone; in this process it has a clock that tells what it is told.
    dkim.time = SimpleNamespace(time=lambda: at)
    names = [name.lower().decode("ascii") for name, _ in dkim.rfc822_parse(data.partition(b"\r\n\r\n")[0])[0]]
    signed = [name.encode() for name in SIGNED for _ in range(names.count(name) + (name in SEALED))]
    message = dkim.DKIM(data)
    return b"".join(
        message.sign(
            key.selector,
            domain.encode(),
            key.secret,
            signature_algorithm=key.algorithm,
            canonicalize=(b"relaxed", b"relaxed" if len(data) <= _SMALL else b"simple"),
            include_headers=signed,
        )
        for key in keys
    )


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
