"""The catch-all inbox, over real SMTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service import inbox
from service.email.record import Content, Email, Ending, Recipient, State, Status
from service.mailer import mime
from service.mailer.smtp import Connection
from service.mailer.target import Target
from service.settings import Settings, SettingsError

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@contextlib.asynccontextmanager
async def running(data_dir: Path, port: int = 0) -> AsyncIterator[int]:
    """An inbox on *port* of the loopback; gives the port."""
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        inbox.run(Settings(data_dir=data_dir, inbox_port=port, _env_file=None), stop, ready.set_result)
    )
    either: set[asyncio.Future[Any]] = {serving, ready}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await serving
    try:
        yield ready.result()
    finally:
        stop.set()
        await serving


async def test_keeps_what_it_gets(tmp_path: Path) -> None:
    """A message arrives byte for byte, with its envelope and its decoded subject, whatever is in it."""
    content = Content(
        "Shop <shop@example.com>",
        ("ann@example.org",),
        "Grüße 👋",
        "<em_1@example.com>",
        bcc=("hidden@example.org",),
        text=".\n..\nfrom the shop: é\n",
    )
    state = State(Status.SCHEDULED, (Recipient("ann@example.org"),), NOW, 3, NOW + timedelta(days=5))
    message = mime.build(Email("em_1", 1, NOW, content, state), NOW, dict[str, bytes]().__getitem__)
    async with running(tmp_path) as port:
        connection = await Connection.open(Target.parse(f"smtp://127.0.0.1:{port}"), ehlo="test")
        outcome = await connection.send(message.sender, ["ann@example.org", "hidden@example.org"], message.data)
        await connection.close()
    assert outcome.ending is Ending.ANSWERED
    (kept,) = inbox.list_messages(inbox.folder(tmp_path))
    assert kept == inbox.Arrived(
        id=kept.id,
        received_at=kept.received_at,
        sender="shop@example.com",
        recipients=["ann@example.org", "hidden@example.org"],
        subject="Grüße 👋",
        message_id="<em_1@example.com>",
        size=len(message.data),
        date="Tue, 24 Nov 2026 00:00:00 +0000",
    )
    assert inbox.read_message(inbox.folder(tmp_path), kept.id) == (kept, message.data)


async def test_port_taken(tmp_path: Path) -> None:
    """A port that somebody else has is an error that names the setting."""
    async with running(tmp_path) as port:
        with pytest.raises(SettingsError, match=f"SERVICE_INBOX_PORT={port}"):
            await inbox.run(Settings(data_dir=tmp_path, inbox_port=port, _env_file=None), asyncio.Event())


def test_keeps_the_newest(tmp_path: Path) -> None:
    """Beyond its bound the oldest messages go, also those of the run before; lists are newest first."""
    first = inbox.Inbox(tmp_path, keep=3)
    old = [first.add("a@example.com", ["b@example.org"], b"Subject: %d\r\n\r\n" % n) for n in range(3)]
    second = inbox.Inbox(tmp_path, keep=3)
    new = [second.add("a@example.com", ["b@example.org"], b"Subject: new\r\n\r\n") for _ in range(2)]
    assert inbox.list_messages(tmp_path) == [new[1], new[0], old[2]]
    assert inbox.list_messages(tmp_path, limit=1) == [new[1]]
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "1", "9" * 20, "1" * 20 + "/", "１" * 20])
def test_no_such_message(tmp_path: Path, name: str) -> None:
    """An id that is none, or leads elsewhere, finds nothing."""
    assert inbox.read_message(tmp_path, name) is None


def test_no_folder(tmp_path: Path) -> None:
    """Before the first message the list is empty."""
    assert inbox.list_messages(tmp_path / "inbox") == []


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"Subject: =?x-nope?q?a?=\r\n\r\n", b"Subject: \xff\xfe\r\n\r\n"])
def test_odd_messages_are_kept(tmp_path: Path, data: bytes) -> None:
    """What has no header, or one that cannot be decoded, is kept all the same."""
    kept = inbox.Inbox(tmp_path).add("", ["b@example.org"], data)
    assert inbox.read_message(tmp_path, kept.id) == (kept, data)
