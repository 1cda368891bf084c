"""One-click unsubscribing (RFC 8058): the link in an e-mail, and what comes of following it.

A token says by itself whom it is about, so that it works for as long as anybody keeps the e-mail, whatever became of
its record; a MAC with a key of the store's own makes it unguessable.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from service import suppression
from service.email import reports
from service.email.record import Email
from service.email.request import UNSUBSCRIBE_HEADERS
from service.store.store import Store
from service.store.transaction import Transaction
from service.suppression import Reason, Suppression

PATH = "/unsubscribe/"
ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""The field of the form that a mail program sends, and its value (RFC 8058, section 3.1)."""
LONGEST = 2_000
"""Characters of a token that are looked at."""

_SECRET = ("secret", "unsubscribe")
_MAC = 16  # octets: 128 bits
_PURPOSE = b"unsubscribe 1:"


@dataclass(frozen=True, slots=True)
class Link:
    """What a token says: this e-mail to this address."""

    email_id: str
    address: str


async def headers(store: Store, public_url: str, email_id: str, address: str) -> dict[str, str]:
    """The headers by which the recipient of an e-mail can unsubscribe.

    Args:
        store: Keeps the key; the first call makes it.
        public_url: Where recipients reach the service, without a slash at its end.
        email_id: The e-mail.
        address: Its one recipient.

    Raises:
        StoreUnavailable: The key could not be made.
    """
    token = _token(await _make_key(store), Link(email_id, address))
    link, post = UNSUBSCRIBE_HEADERS
    return {link: f"<{public_url}{PATH}{token}>", post: "=".join(ONE_CLICK)}


def is_offered(store: Store, email: Email) -> bool:
    """Whether an e-mail has the headers that `headers` made for it."""
    given = email.content.headers.get(UNSUBSCRIBE_HEADERS[0], "")
    link = read(store, given.rpartition(PATH)[2].removesuffix(">"))
    return link is not None and link.email_id == email.id


def read(store: Store, token: str) -> Link | None:
    """What *token* says, if this service made it."""
    key = _key(store)
    if key is None or len(token) > LONGEST:
        return None
    said, _, mac = token.partition(".")
    try:
        text, given = _decoded(said), _decoded(mac)
    except ValueError:
        return None
    if not hmac.compare_digest(_mac(key, text), given):
        return None
    email_id, _, address = text.decode().partition(":")
    return Link(email_id, address)


async def follow(store: Store, link: Link) -> Suppression:
    """Suppress the address; once more changes nothing.

    Raises:
        StoreUnavailable: Nothing was changed; repeating is safe.
    """

    def write(transaction: Transaction) -> Suppression:
        before = suppression.find(transaction, link.address)
        entry = suppression.add(transaction, link.address, Reason.UNSUBSCRIBE, email_id=link.email_id)
        if entry != before and transaction.get(link.email_id) is not None:
            transaction.change(link.email_id, lambda it: reports.unsubscribed(it, link.address))
        return entry

    return await store.write(write)


def _key(store: Store) -> bytes | None:
    document = store.document(*_SECRET)
    return None if document is None else bytes.fromhex(document.data["key"])


async def _make_key(store: Store) -> bytes:
    key = _key(store)
    if key is not None:
        return key
    fresh = secrets.token_hex(32)

    def write(transaction: Transaction) -> dict[str, Any]:
        document = transaction.document(*_SECRET)  # another process may have been quicker
        if document is None:
            document = transaction.put(*_SECRET, {"key": fresh}, type="secret.created")
        return document.data

    data = await store.write(write)
    return bytes.fromhex(data["key"])


def _token(key: bytes, link: Link) -> str:
    text = f"{link.email_id}:{link.address}".encode()
    return f"{_encoded(text)}.{_encoded(_mac(key, text))}"


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + text, "sha256")[:_MAC]


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """What `_encoded` made *text* of.

    Raises:
        ValueError: It made nothing to this.
    """
    data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    if _encoded(data) != text:
        raise ValueError("written otherwise")
    return data
