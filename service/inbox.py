"""The catch-all inbox for development: an SMTP server that takes everything and keeps it in files to look at.

Each message is two files, ``ID.eml`` with its bytes and ``ID.json`` with its envelope; the second is written last, so a
message is whole once it shows. Ids sort by time of arrival. Reading is by plain functions on the folder, since the API
is another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from service import listening
from service.settings import PREFIX, Settings, SettingsError

KEEP = 1000
"""Messages kept; older ones are deleted."""

_LARGEST = 64 * 1024 * 1024
_ID = re.compile(r"[0-9]{20}")


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message of the inbox, without its bytes.

    Attributes:
        id: 20 digits, growing with the time of arrival.
        received_at: When it arrived, UTC, RFC 3339.
        sender: Envelope sender.
        recipients: Envelope recipients; blind ones are among them.
        subject: Decoded.
        message_id: As in the header; empty if there is none.
        size: Bytes.
        date: As in the header; empty if there is none.
    """

    id: str
    received_at: str
    sender: str
    recipients: list[str]
    subject: str
    message_id: str
    size: int
    date: str = ""


def folder(data_dir: Path) -> Path:
    """Where the inbox of a data directory keeps its messages."""
    return data_dir / "inbox"


def list_messages(directory: Path, limit: int = 100) -> list[Arrived]:
    """The newest *limit* messages in *directory*, newest first; none if there is no such folder."""
    ids = sorted((path.stem for path in directory.glob("*.json") if _ID.fullmatch(path.stem)), reverse=True)
    messages = []
    for name in ids[:limit]:
        with contextlib.suppress(FileNotFoundError):  # deleted just now, being one of the oldest
            messages.append(_envelope(directory, name))
    return messages


def read_message(directory: Path, name: str) -> tuple[Arrived, bytes] | None:
    """The message with this id and its bytes, or None when there is none (any more)."""
    if not _ID.fullmatch(name):
        return None
    try:
        return _envelope(directory, name), (directory / f"{name}.eml").read_bytes()
    except FileNotFoundError:
        return None


def _envelope(directory: Path, name: str) -> Arrived:
    return Arrived(**json.loads((directory / f"{name}.json").read_text("utf-8")))


class Inbox:
    """The folder as its one writer sees it."""

    def __init__(self, directory: Path, keep: int = KEEP) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._keep = keep
        self._ids = sorted(path.stem for path in directory.glob("*.eml") if _ID.fullmatch(path.stem))

    def add(self, sender: str, recipients: list[str], data: bytes) -> Arrived:
        """Keep one message, and delete the oldest beyond the bound."""
        nanoseconds = max(time.time_ns(), int(self._ids[-1]) + 1 if self._ids else 0)
        message = Arrived(
            id=f"{nanoseconds:020d}",
            received_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            sender=sender,
            recipients=recipients,
            subject=_header(data, "Subject"),
            message_id=_header(data, "Message-ID"),
            size=len(data),
            date=_header(data, "Date"),
        )
        (self._directory / f"{message.id}.eml").write_bytes(data)
        unfinished = self._directory / "envelope.tmp"
        unfinished.write_text(json.dumps(asdict(message)), "utf-8")
        unfinished.rename(self._directory / f"{message.id}.json")
        self._ids.append(message.id)
        while len(self._ids) > self._keep:
            oldest = self._ids.pop(0)
            for suffix in ("json", "eml"):
                (self._directory / f"{oldest}.{suffix}").unlink(missing_ok=True)
        return message

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Called by aiosmtpd with each message."""
        content = envelope.content
        assert isinstance(content, bytes)
        try:
            message = self.add(envelope.mail_from or "", envelope.rcpt_tos, content)
        except OSError as error:
            return f"452 4.3.1 the inbox cannot keep it: {error.strerror}"
        return f"250 2.0.0 kept as {message.id}"


async def run(
    settings: Settings,
    stop: asyncio.Event,
    ready: Callable[[int], None] | None = None,
    *,
    serving_on: socket.socket | None = None,
) -> None:
    """Serve on the loopback at the inbox's port until *stop* is set.

    Args:
        settings: `inbox_port` (0: any free one) and `data_dir`.
        stop: Ends it.
        ready: Called with the port once it listens.
        serving_on: A socket that listens there already.

    Raises:
        SettingsError: The port is taken, or the data directory cannot be written.
    """
    try:
        inbox = Inbox(folder(settings.data_dir))
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise SettingsError(f"{PREFIX}DATA_DIR={settings.data_dir} cannot be used: {why}") from error
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        return SMTP(
            inbox, hostname="inbox", ident="catch-all inbox", data_size_limit=_LARGEST, enable_SMTPUTF8=True, loop=loop
        )

    server = await loop.create_server(session, sock=serving_on or listening.for_inbox(settings))
    async with server:
        if ready is not None:
            ready(server.sockets[0].getsockname()[1])
        await stop.wait()


def _header(data: bytes, name: str) -> str:
    """A header of a message, decoded as far as it can be; empty if there is none."""
    raw = message_from_bytes(data.partition(b"\r\n\r\n")[0])[name]
    if raw is None:
        return ""
    text = re.sub(r"[\r\n]+(?=[ \t])", "", str(raw))
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, UnicodeError):
        return text
