"""API keys: documents of the store that know the SHA-256 of a secret, and never the secret.

A key is ``zq_ID_SECRET``. Its id says where to look, so that finding it takes the same few steps whatever is tried; the
secret has 256 random bits, and its digests are compared in constant time. A key that was revoked stays as a document:
once there was a key, requests need one.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from service.access.scopes import GRANTED, Scope
from service.email.times import from_z, to_z
from service.store.documents import Document
from service.store.store import Store
from service.store.transaction import Transaction

KIND = "key"

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_ID_LENGTH = 12
_LONGEST = 100  # characters of a token that are looked at


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key.

    Attributes:
        id: Its public name, such as ``abcdefgh2345``.
        name: What its maker calls it; may be empty.
        sha256: Of the whole token, in hexadecimal digits.
        expires_at: When it ends by itself; None for never.
        revoked_at: When it was ended; None if it was not.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    sha256: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        """May it be used for what needs *scope*?"""
        return scope is Scope.PUBLIC or scope in self.scopes or Scope.ADMIN in self.scopes

    def ended(self, now: datetime) -> str | None:
        """Why it is good for nothing any more, as the end of a sentence; None while it is good."""
        if self.revoked_at is not None:
            return "was revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "has expired"
        return None


class UnknownKey(LookupError):
    """There is no key with this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no key {key_id[:_LONGEST]!r}")


def exist(store: Store) -> bool:
    """Is there a key, or was there one? Then every request needs one."""
    return store.count(KIND) > 0


def find(store: Store, token: str) -> ApiKey | None:
    """The key that *token* is, whether or not it is still good; None if it is none."""
    prefix, _, rest = token[:_LONGEST].partition("_")
    key_id, _, secret = rest.partition("_")
    document = store.document(KIND, key_id) if prefix == "zq" and secret else None
    digest = sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    if document is None or not hmac.compare_digest(digest, str(document.data["sha256"])):
        return None
    return _read(document)


async def create(
    store: Store, *, name: str, scopes: frozenset[Scope], expires_at: datetime | None, by: str
) -> tuple[ApiKey, str]:
    """Make a key; with it its token, which cannot be had again.

    Args:
        store: Where it is kept.
        name: For people, at most 100 characters.
        scopes: At least one of `GRANTED`.
        expires_at: When it ends by itself.
        by: Who makes it, for the audit.

    Raises:
        StoreUnavailable: Nothing was written.
    """
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    token = f"zq_{key_id}_{secrets.token_urlsafe(32)}"
    data: dict[str, Any] = {
        "name": name,
        "scopes": [scope.value for scope in GRANTED if scope in scopes],
        "sha256": sha256(token.encode()).hexdigest(),
        "expires_at": None if expires_at is None else to_z(expires_at),
        "revoked_at": None,
    }

    def write(transaction: Transaction) -> Document:
        shown = {"name": name, "scopes": data["scopes"], "expires_at": data["expires_at"], "by": by}
        transaction.note(f"{KIND}:{key_id}", "audit.key_created", shown)
        return transaction.put(KIND, key_id, data, type="key.created")

    return _read(await store.write(write)), token


async def revoke(store: Store, key_id: str, *, by: str) -> ApiKey:
    """End a key, in every process at once; again is the same.

    Raises:
        UnknownKey: There is none with this id.
        StoreUnavailable: Nothing was written.
    """

    def write(transaction: Transaction) -> Document:
        document = transaction.document(KIND, key_id)
        if document is None:
            raise UnknownKey(key_id)
        if document.data["revoked_at"] is not None:
            return document
        transaction.note(f"{KIND}:{key_id}", "audit.key_revoked", {"name": document.data["name"], "by": by})
        return transaction.put(KIND, key_id, document.data | {"revoked_at": transaction.at}, type="key.revoked")

    return _read(await store.write(write))


def every(store: Store) -> list[ApiKey]:
    """All keys, the oldest first."""
    return sorted(map(_read, store.documents(KIND)), key=lambda key: key.created_at)


def _read(document: Document) -> ApiKey:
    data = document.data
    expires_at, revoked_at = (
        None if data[name] is None else from_z(data[name]) for name in ("expires_at", "revoked_at")
    )
    scopes = frozenset(map(Scope, data["scopes"]))
    return ApiKey(document.name, data["name"], scopes, data["sha256"], document.created_at, expires_at, revoked_at)
