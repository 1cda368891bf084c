"""The suppression list: addresses that get no more e-mails, whoever sends them.

Each is a document of the store whose name is the address in its normal form, so that looking one up costs the same
however many there are. What came first is kept, unless what comes later weighs more: an address that bounced and then
complained stays suppressed when somebody clears all bounces.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from service.store.documents import Document
from service.store.store import Store
from service.store.transaction import Transaction

KIND = "suppression"

_AT_A_TIME = 1_000, 16_000  # documents read before it is looked whether they are enough; the more the longer it takes


class Reason(StrEnum):
    """Why an address is suppressed. A later one weighs more."""

    BOUNCE = "bounce"
    MANUAL = "manual"
    UNSUBSCRIBE = "unsubscribe"
    COMPLAINT = "complaint"


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry.

    Attributes:
        address: In its normal form.
        email_id: The e-mail that brought it about; None where none did.
        detail: What there is to say about it, such as a server's words; None for nothing.
    """

    address: str
    reason: Reason
    email_id: str | None
    detail: str | None
    created_at: datetime
    updated_at: datetime


class Page(NamedTuple):
    """Some entries, by address, and whether more follow."""

    data: list[Suppression]
    has_more: bool


class Documents(Protocol):
    """Where documents are looked up: the store, or a write in the making."""

    def document(self, kind: str, name: str) -> Document | None:
        """The document as it is now."""


def normal(address: str) -> str:
    """The form under which *address*, as `service.email.mailbox` reads it, is compared: in lower case.

    Local parts are case-sensitive by RFC 5321, section 2.4, and by no mailbox that people have.
    """
    lowered = address.lower()
    return lowered if lowered.isascii() else unicodedata.normalize("NFC", lowered)


def suppressed(documents: Documents, addresses: Iterable[str]) -> frozenset[str]:
    """Those of *addresses* that get nothing, written as they are given."""
    return frozenset(one for one in addresses if documents.document(KIND, normal(one)) is not None)


def find(documents: Documents, address: str) -> Suppression | None:
    """The entry of *address*, if it is suppressed."""
    document = documents.document(KIND, normal(address))
    return None if document is None else _read(document)


def add(
    transaction: Transaction, address: str, reason: Reason, *, email_id: str | None = None, detail: str | None = None
) -> Suppression:
    """Suppress *address*, as part of a write; what is suppressed for as good a reason stays as it is."""
    name = normal(address)
    before = transaction.document(KIND, name)
    if before is not None and _weight(Reason(before.data["reason"])) >= _weight(reason):
        return _read(before)
    data: dict[str, Any] = {"reason": reason.value, "email_id": email_id, "detail": detail}
    type_ = "suppression.added" if before is None else "suppression.updated"
    return _read(transaction.put(KIND, name, data, type=type_))


async def remove(store: Store, address: str) -> bool:
    """Let *address* get e-mails again; False if it did.

    Raises:
        StoreUnavailable: Nothing was changed.
    """
    return await store.write(lambda it: it.delete(KIND, normal(address), type="suppression.removed"))


def page(store: Store, limit: int, *, after: str | None = None, reason: Reason | None = None) -> Page:
    """Up to *limit* entries in the order of their addresses, from the one that follows *after*.

    Takes a while where there are many: for any thread.
    """
    found: list[Suppression] = []
    step = limit + 1 if reason is None else _AT_A_TIME[0]
    while len(found) <= limit:
        documents = store.documents(KIND, after=after, limit=step)
        found += [entry for entry in map(_read, documents) if reason in (None, entry.reason)]
        if len(documents) < step:
            break
        after = documents[-1].name
        step = min(2 * step, _AT_A_TIME[1])
    return Page(found[:limit], len(found) > limit)


def _weight(reason: Reason) -> int:
    return list(Reason).index(reason)


def _read(document: Document) -> Suppression:
    data = document.data
    return Suppression(
        document.name,
        Reason(data["reason"]),
        data["email_id"],
        data["detail"],
        document.created_at,
        document.updated_at,
    )
