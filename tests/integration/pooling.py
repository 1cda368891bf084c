"""What tests of relays share: connections to scripted servers, and a certificate for those."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.email.record import Ending
from service.mailer.breaker import Breaker
from service.mailer.relay import Health, Relay
from service.mailer.relays import Relays
from service.mailer.smtp import Timeouts
from service.mailer.target import Target
from tests.smtpd import SmtpServer

DATA = b"Subject: x\r\n\r\nx\r\n"


class Pool:
    """The connections to some servers, the preferred one first."""

    def __init__(self, relays: list[Relay]) -> None:
        self.relays = Relays(relays)

    @property
    def health(self) -> Health:
        """How the first one is doing."""
        return self.relays.health()[0]

    @property
    def states(self) -> list[str]:
        """How all are doing."""
        return [one.state for one in self.relays.health()]

    async def send(self, group: str | None = None) -> Ending:
        """One message."""
        async with self.relays.connection(group) as connection:
            return (await connection.send("from@example.com", ["ann@example.org"], DATA)).ending


@contextlib.asynccontextmanager
async def a_pool(
    *servers: SmtpServer, connections: int = 2, first: float = 0.02, idle: float = 30
) -> AsyncIterator[Pool]:
    """Relays with breakers that probe soon."""
    pool = Pool(
        [
            Relay(
                Target.parse(server.url()),
                connections=connections,
                ehlo="test",
                timeouts=Timeouts(command=5, reset=0.1, data=5, block=5, dot=5, quit=1),
                breaker=Breaker(first=first, longest=max(first, 0.2)),
                idle=idle,
            )
            for server in servers
        ]
    )
    try:
        yield pool
    finally:
        await pool.relays.close()


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key in a PEM file; beside it, plus ``.crt``, without the key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl: apt-get install openssl")
    path = folder / "both.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
