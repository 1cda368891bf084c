"""One write in the making: what many requests, one after the other, want to change while the lock is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from service.email.record import Change, Email
from service.email.times import to_z
from service.store import records
from service.store.errors import EmailExists, EmailNotFound, StoreUnavailable
from service.store.log import Draft


class Transaction:
    """Collects the lines of one write. Each request sees the e-mails as the ones before it left them.

    A request that raises leaves nothing behind.
    """

    def __init__(
        self, read: Callable[[str], Email | None], now: Callable[[], datetime], free: Callable[[], int], min_free: int
    ) -> None:
        self.drafts: list[Draft] = []
        self._read = read
        self._staged: dict[str, Email] = {}
        self._at = to_z(now())
        self._free = free
        self._min_free = min_free
        self._room: int | None = None

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
            if email.id in fresh or self._current(email.id) is not None:
                raise EmailExists(email.id)
            fresh[email.id] = email
        self._staged |= fresh
        self.drafts += drafts
        return list(emails)

    def change(self, email_id: str, decide: Callable[[Email], Change | None]) -> Email:
        """Let *decide* choose what happens to an e-mail; the record after it."""
        email = self._current(email_id)
        if email is None:
            raise EmailNotFound(email_id)
        change = decide(email)
        if change is None:
            return email
        content = email.content if change.content is None else change.content
        email = replace(email, rev=email.rev + 1, content=content, state=change.state)
        self.drafts.append(records.changed(email, change, self._at))
        self._staged[email_id] = email
        return email

    def _current(self, email_id: str) -> Email | None:
        return self._staged.get(email_id) or self._read(email_id)
