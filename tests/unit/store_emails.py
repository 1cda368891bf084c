"""Stores with e-mails in them, for tests of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.email import life
from service.email.record import Change, Content, Email
from service.store.store import Store

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@asynccontextmanager
async def opened(directory: Path, *, min_free: int = 0, lock_timeout: float = 5) -> AsyncIterator[Store]:
    """The store in *directory*, at noon; *lock_timeout* in seconds."""
    store = await Store.open(
        directory, now=lambda: NOW, min_free=min_free, lock_timeout=timedelta(seconds=lock_timeout)
    )
    try:
        yield store
    finally:
        await store.close()


def email(
    name: str,
    *,
    to: str = "b@example.com",
    subject: str = "Hello",
    tags: tuple[str, ...] = (),
    scheduled_at: datetime = LATER,
    text: str = "Hi",
) -> Email:
    """An e-mail ``em_NAME`` as it is accepted at noon."""
    content = Content("Ann <a@example.com>", (to,), subject, f"<em_{name}@example.com>", text=text, tags=tags)
    address = to.rpartition("<")[2].rstrip(">")
    return life.accept(
        f"em_{name}",
        content,
        addresses=(address,),
        now=NOW,
        scheduled_at=scheduled_at,
        max_retries=3,
        retry_until=NOW + timedelta(days=5),
    )


def cancel(current: Email) -> Change | None:
    """Cancel it."""
    return life.cancel(current)


def begin(current: Email) -> Change | None:
    """Begin to send it, whenever it is due."""
    return life.begin(
        current, now=current.state.scheduled_at, rev=current.rev, by="p1", date=current.state.scheduled_at, digest="d1"
    )
