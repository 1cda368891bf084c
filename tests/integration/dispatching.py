"""What tests of the job handler share: a real store, a real SMTP server, a clock that stands still."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import zqueue
from service.dispatch import Dispatch
from service.email import ids, jobs, life
from service.email.record import Content, Email, Status
from service.mailer.breaker import Breaker
from service.mailer.relay import Health, Relay
from service.mailer.relays import Relays
from service.mailer.smtp import Timeouts
from service.mailer.target import Target
from service.store.store import Store
from tests.smtpd import Script, SmtpServer

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
BACKOFF = zqueue.steps(60, 600, 3600)
ANN, BOB = "ann@example.org", "bob@example.org"


def an_email(at: datetime = START, *, max_retries: int = 3, **content: Any) -> Email:
    """The first record of an e-mail to Ann and Bob, accepted at `START`."""
    email_id = ids.new_email_id()
    values: dict[str, Any] = {
        "sender": "Shop <shop@example.com>",
        "to": (ANN, BOB),
        "subject": "Hi",
        "message_id": f"<{email_id}@example.com>",
        "text": "Hi\n",
    }
    return life.accept(
        email_id,
        Content(**{**values, **content}),
        addresses=[ANN, BOB],
        now=START,
        scheduled_at=at,
        max_retries=max_retries,
        retry_until=life.default_retry_until(at, max_retries, BACKOFF),
    )


class World:
    """A store, a server, a handler, and a clock that stands still."""

    def __init__(self, store: Store, server: SmtpServer, relays: Relays) -> None:
        self.store = store
        self.server = server
        self.relays = relays
        self.now = START
        self.dispatch = self.a_dispatch()

    def a_dispatch(self, *, on_unknown: Literal["retry", "hold"] = "retry", **options: Any) -> Dispatch:
        """Another handler over the same store and relay."""
        return Dispatch(
            self.store,
            self.relays,
            now=lambda: self.now,
            backoff=BACKOFF,
            on_unknown=on_unknown,
            look_again=timedelta(milliseconds=20),
            **options,
        )

    @property
    def health(self) -> Health:
        """How the relay is doing."""
        return self.relays.health()[0]

    async def accept(self, *, max_retries: int = 3, at: datetime = START, **content: Any) -> Email:
        """A new e-mail to Ann and Bob."""
        draft = an_email(at, max_retries=max_retries, **content)
        (email,) = await self.store.accept([draft])
        return email

    def read(self, email: Email) -> Email:
        """The record as it is now."""
        found = self.store.get(email.id)
        assert found is not None
        return found

    def job(self, email: Email, *, due: datetime = START) -> zqueue.Job:
        """A delivery of the e-mail's job."""
        return zqueue.Job(
            email.job_id,
            jobs.payload(self.store.id),
            state=zqueue.JobState.LEASED,
            due_us=round(due.timestamp() * 1_000_000),
        )

    async def handle(self, email: Email) -> float | None:
        """One delivery; the seconds it is snoozed for, or None when the job is done."""
        try:
            await self.dispatch(self.job(email, due=self.now))
        except zqueue.Snooze as snooze:
            return snooze.delay.total_seconds()
        return None

    async def live(self, email: Email) -> list[tuple[Status, float | None]]:
        """Deliveries until the job is done, each exactly when it is due; the statuses and the waits between."""
        story = []
        while True:
            wait = await self.handle(email)
            story.append((self.read(email).state.status, wait))
            if wait is None:
                return story
            self.now += timedelta(seconds=wait)

    def types(self, email: Email) -> list[str]:
        """The types of the e-mail's events."""
        return [event.type for event in self.store.events(email.id)]


def a_relay(server: SmtpServer, *, connections: int = 4, first: float = 0.02) -> Relay:
    """The relay that *server* is, with a breaker that probes soon."""
    return Relay(
        Target.parse(server.url()),
        connections=connections,
        ehlo="test",
        timeouts=Timeouts(command=5, data=5, block=5, dot=5, quit=1),
        breaker=Breaker(first=first, longest=max(first, 0.1)),
    )


@contextlib.asynccontextmanager
async def a_world(
    directory: Path, script: Script | None = None, *, connections: int = 4, **server: Any
) -> AsyncIterator[World]:
    """Everything a handler needs, on real files and a real connection."""
    store = await Store.open(directory, now=lambda: START, min_free=0)
    try:
        async with SmtpServer(script, **server) as smtpd:
            relays = Relays([a_relay(smtpd, connections=connections)])
            try:
                yield World(store, smtpd, relays)
            finally:
                await relays.close()
    finally:
        await store.close()
