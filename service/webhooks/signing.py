"""Signatures of webhooks, as Standard Webhooks 1.0 has them (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
_BYTES = 32


def new_secret() -> str:
    """A secret that nobody can guess."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def headers(message_id: str, at: int, body: bytes, keys: Iterable[str]) -> dict[str, str]:
    """The headers that prove where *body* comes from.

    Args:
        message_id: The same for every attempt to deliver the same message.
        at: When this attempt is made, in seconds since the epoch.
        body: Exactly as it is sent.
        keys: Secrets; each gives a signature, of which the receiver needs one.
    """
    signed = b"%b.%d.%b" % (message_id.encode(), at, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{_sign(key, signed)}" for key in keys),
    }


def _sign(key: str, signed: bytes) -> str:
    secret = base64.b64decode(key.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
