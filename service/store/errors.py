"""What can go wrong with the store, one class each."""

from __future__ import annotations

from pathlib import Path

from service.email.record import Email
from service.email.steps import WrongState


class StoreError(Exception):
    """The root of every error the store raises by itself."""


class StoreDamaged(StoreError):
    """A file of the store does not hold what was written to it; nothing is read past the damage.

    Attributes:
        path: The damaged file.
        line: The first bad line of it, from 1.
    """

    def __init__(self, path: Path, line: int, what: str) -> None:
        super().__init__(f"{path}:{line}: {what}")
        self.path = path
        self.line = line


class StoreUnavailable(StoreError):
    """The store cannot take this call now; nothing of it was acknowledged, and repeating it is safe.

    Attributes:
        reason: ``no_space``, ``store_locked``, ``not_writable``, ``network_file_system``, ``write_failed``,
            ``journal_cut`` or ``closed``. After ``write_failed`` and ``journal_cut`` only a new process can go on.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EmailNotFound(StoreError, LookupError):
    """No e-mail has this id."""

    def __init__(self, email_id: str) -> None:
        super().__init__(f"no e-mail {email_id!r}")
        self.email_id = email_id


class EmailExists(StoreError):
    """An accept named an id that an e-mail has already; nothing of it was written."""

    def __init__(self, email_id: str) -> None:
        super().__init__(f"there is an e-mail {email_id!r} already")
        self.email_id = email_id


class EmailArchived(WrongState):
    """The e-mail is over, and on its way to the archive or there; nothing was written."""

    def __init__(self, email: Email) -> None:
        super().__init__(email, "change")
        self.args = (f"{email.id} goes to the archive; it is not possible to change it any more",)


class KeyReused(StoreError):
    """An idempotency key came with another request than the first time; nothing was written.

    Attributes:
        name: The key, as the store knows it.
    """

    def __init__(self, name: str) -> None:
        super().__init__("this idempotency key belongs to another request")
        self.name = name
