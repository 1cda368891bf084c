"""One write in the making: what many requests, one after the other, want to change while the lock is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from service.email.record import FINAL, Change, Email
from service.email.times import to_z
from service.store import documents, records
from service.store.documents import Document
from service.store.errors import EmailArchived, EmailExists, EmailNotFound, KeyReused, StoreUnavailable
from service.store.idempotency import Accepted, Key, Remembered
from service.store.log import Draft


class Written(Protocol):
    """What has been written before this write."""

    def email(self, email_id: str) -> Email | None:
        """The e-mail as it is."""

    def has_left(self, email_id: str) -> bool:
        """Is this an e-mail that leaves the log?"""

    def document(self, kind: str, name: str) -> Document | None:
        """The document as it is."""

    def remembered(self, key: str, now: datetime) -> Remembered | None:
        """What came of the request with this key."""

    def first(self, email_id: str) -> tuple[Email, dict[str, Any] | None]:
        """The e-mail as it was accepted, and what was said beside it."""


class Transaction:
    """Collects the lines of one write. Each request sees everything as the ones before it left it.

    A request that raises leaves nothing behind.

    Attributes:
        drafts: The lines so far.
        at: The time of this write (RFC 3339, UTC).
    """

    def __init__(self, written: Written, now: datetime, free: Callable[[], int], min_free: int) -> None:
        self.drafts: list[Draft] = []
        self.at = to_z(now)
        self._written = written
        self._now = now
        self._staged: dict[str, Email] = {}
        self._documents: dict[tuple[str, str], Document | None] = {}
        self._keys: dict[str, tuple[str, Accepted]] = {}
        self._free = free
        self._min_free = min_free
        self._room: int | None = None

    @contextmanager
    def undone_by_error(self) -> Iterator[None]:
        """Everything added in the block, or nothing if it raises."""
        lines, emails, named, keys = len(self.drafts), dict(self._staged), dict(self._documents), dict(self._keys)
        try:
            yield
        except BaseException:
            del self.drafts[lines:]
            self._staged, self._documents, self._keys = emails, named, keys
            raise

    def get(self, email_id: str) -> Email | None:
        """The e-mail as this write leaves it so far; None, too, of one that leaves the log for the archive."""
        email = self._find(email_id)
        return None if email is None or self._has_left(email) else email

    def accept(self, emails: Sequence[Email], drafts: Sequence[Draft]) -> list[Email]:
        """Add new *emails*, whose lines are *drafts*; all of them or none."""
        if self._room is None:
            self._room = self._free()
        if self._room < self._min_free:
            raise StoreUnavailable(
                "no_space",
                f"{self._room:,} bytes of disk are left; new e-mails are accepted with at least {self._min_free:,}",
            )
        fresh: dict[str, Email] = {}
        for email in emails:
            if email.id in fresh or self._find(email.id) is not None:
                raise EmailExists(email.id)
            fresh[email.id] = email
        self._staged |= fresh
        self.drafts += drafts
        return list(emails)

    def change(self, email_id: str, decide: Callable[[Email], Change | None]) -> Email:
        """Let *decide* choose what happens to an e-mail; the record after it."""
        email = self._find(email_id)
        if email is None:
            raise EmailNotFound(email_id)
        change = decide(email)
        if change is None:
            return email
        if self._has_left(email):
            # Its line would stand in the log without the lines before it.
            raise EmailArchived(email)
        content = email.content if change.content is None else change.content
        email = replace(email, rev=email.rev + 1, content=content, state=change.state)
        self.drafts.append(records.changed(email, change, self.at))
        self._staged[email_id] = email
        return email

    def accept_once(
        self, emails: Sequence[Email], drafts: Sequence[Draft], key: Key, extra: dict[str, Any] | None
    ) -> Accepted:
        """`accept`, unless a request with *key* came before: then what that made.

        Raises:
            KeyReused: That was another request.
        """
        if key.name in self._keys:
            digest, accepted = self._keys[key.name]
        else:
            found = self._written.remembered(key.name, self._now)
            if found is None:
                accepted = Accepted(self.accept(emails, drafts), replayed=False, extra=extra)
                self._keys[key.name] = key.digest, replace(accepted, replayed=True)
                return accepted
            firsts = [self._written.first(email_id) for email_id in found.email_ids]
            digest, accepted = found.digest, Accepted([email for email, _ in firsts], replayed=True, extra=firsts[0][1])
        if digest != key.digest:
            raise KeyReused(key.name)
        return accepted

    def document(self, kind: str, name: str) -> Document | None:
        """The document as this write leaves it so far."""
        if (kind, name) in self._documents:
            return self._documents[kind, name]
        return self._written.document(kind, name)

    def put(self, kind: str, name: str, data: dict[str, Any], *, type: str) -> Document:
        """Write a document, new or not; *type* is the event that tells of it, such as ``template.updated``."""
        before = self.document(kind, name)
        now = self._now
        rev, created_at = (1, now) if before is None else (before.rev + 1, before.created_at)
        document = Document(kind, name, rev, created_at, now, data)
        self.drafts.append(documents.put(document, type, self.at, to_z(created_at)))
        self._documents[kind, name] = document
        return document

    def delete(self, kind: str, name: str, *, type: str) -> bool:
        """End a document; False if there is none."""
        before = self.document(kind, name)
        if before is None:
            return False
        self.drafts.append(documents.deleted(before, type, self.at))
        self._documents[kind, name] = None
        return True

    def note(self, subject: str, type: str, data: Mapping[str, Any]) -> None:
        """Write down something that changes nothing but is to be told, such as a refused login."""
        self.drafts.append(documents.noted(subject, type, self.at, data))

    def _find(self, email_id: str) -> Email | None:
        return self._staged.get(email_id) or self._written.email(email_id)

    def _has_left(self, email: Email) -> bool:
        return email.id not in self._staged and email.state.status in FINAL and self._written.has_left(email.id)
