"""One message on its way to an endpoint, over real connections."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.webhooks import signing
from service.webhooks.message import Message
from service.webhooks.sender import Answer, Sender
from tests.receiver import OK, Receiver, answer, receiving

SECRET = signing.new_secret()
MESSAGE = Message("evt_1", b'{"type": "email.completed", "data": {}}')
REFUSED = "its host leads into a private network; the setting SERVICE_WEBHOOK_ALLOW_PRIVATE=1 allows it"


@asynccontextmanager
async def sending(*, allow_private: bool = True, **options: Any) -> AsyncIterator[Sender]:
    """A sender, by default to this machine."""
    sender = Sender(allow_private=allow_private, connections=4, **options)
    try:
        yield sender
    finally:
        await sender.close()


async def send(sender: Sender, url: str) -> Answer:
    """Send the message now."""
    return await sender.send(url, MESSAGE, [SECRET], datetime.now(UTC))


async def test_a_message_is_posted_and_signed() -> None:
    """As Standard Webhooks says; a second one goes over the same connection, though the answer had a body."""
    async with receiving() as receiver, sending() as sender:
        receiver.answers = [answer(200, body=b"x" * 10_000)]
        for _ in range(2):
            sent = await send(sender, receiver.url("/hooks?a=b"))
            assert (sent.error, sent.gone) == (None, False)
        (request, _) = receiver.requests
        assert request.target == "/hooks?a=b"
        assert request.body == MESSAGE.body
        assert request.verified(SECRET) == {"type": "email.completed", "data": {}}
        assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["webhook-id"] == "evt_1"
        assert receiver.connections == 1


@pytest.mark.parametrize(
    ("said", "status", "error", "wait"),
    [
        (answer(500), 500, "answered 500", 0),
        (answer(503, "Retry-After: 120"), 503, "answered 503", 120),
        (answer(429, "Retry-After: 9999999"), 429, "answered 429", 86_400),
        (answer(429, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"), 429, "answered 429", 0),
        (answer(410), 410, "answered 410", 0),
        (b"220 mail.example.com ESMTP\r\n\r\n", None, "its answer is not HTTP", 0),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, None, "its answer is not HTTP", 0),
    ],
)
async def test_what_is_no_success_is_a_failure(said: bytes, status: int | None, error: str, wait: float) -> None:
    """With the status, and how long the endpoint wants to be left alone, at most a day."""
    async with receiving() as receiver, sending() as sender:
        receiver.answers = [said]
        sent = await send(sender, receiver.url())
        assert (sent.status, sent.error, sent.wait) == (status, error, timedelta(seconds=wait))


async def test_redirects_are_not_followed() -> None:
    """They would lead past every check."""
    async with receiving() as receiver, receiving() as other, sending() as sender:
        receiver.answers = [answer(307, f"Location: {other.url()}")]
        sent = await send(sender, receiver.url())
        assert sent.error == "answered 307; redirects are not followed"
        assert other.requests == []


async def test_a_slow_endpoint_is_given_up() -> None:
    """After the time for all of it, and whether it says nothing or an endless answer little by little."""
    async with receiving() as receiver, sending(timeout=timedelta(seconds=0.2)) as sender:
        receiver.answers = [None, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx"]
        assert (await send(sender, receiver.url())).error == "no answer within 0.2 s"
        assert (await send(sender, receiver.url())).error == "no answer within 0.2 s"
        assert (await send(sender, receiver.url())).error is None


async def test_little_of_an_answer_is_read() -> None:
    """The status counts; a body without an end is left where it is, with its connection."""
    async with receiving() as receiver, sending() as sender:
        receiver.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 200_000]
        assert (await send(sender, receiver.url())).error is None
        assert (await send(sender, receiver.url())).error is None
        assert receiver.connections == 2


async def test_an_endpoint_that_is_not_there() -> None:
    """No connection, no name."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with sending() as sender:
        assert (await send(sender, f"http://127.0.0.1:{port}/")).error == "it cannot be connected to"
        assert (await send(sender, "http://nowhere.invalid/")).error == "its host name cannot be resolved"


async def test_a_private_address_is_refused_after_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is written, and whatever name leads to it: nothing is connected to."""
    async with receiving() as receiver, sending(allow_private=False) as sender:
        for host in ("localhost", "2130706433", "0x7f000001", "127.1"):
            assert (await send(sender, f"http://{host}:{receiver.port}/")).error == REFUSED, host
        sent = await send(sender, receiver.url())
        assert sent.error == (
            "its URL must not lead into a private network; the setting SERVICE_WEBHOOK_ALLOW_PRIVATE=1 allows it"
        )
        assert receiver.connections == 0


async def test_a_name_is_judged_by_the_address_that_is_connected_to() -> None:
    """It is resolved once for each connection: one that was public a moment ago does not help (DNS rebinding)."""
    answers = [["192.0.2.1", "10.0.0.1"], ["127.0.0.1"]]
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return answers[len(asked) - 1]

    async with receiving() as receiver, sending(allow_private=False, resolve=rebinding) as sender:
        for _ in answers:
            assert (await send(sender, f"http://hooks.example.com:{receiver.port}/")).error == REFUSED
        assert asked == [("hooks.example.com", receiver.port)] * 2
        assert receiver.connections == 0


async def test_the_next_address_of_a_name_is_tried() -> None:
    """Where the first one does not answer; the request still names the host."""

    async def two(_host: str, _port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with receiving() as receiver, sending(resolve=two) as sender:
        assert (await send(sender, f"http://hooks.example.com:{receiver.port}/")).error is None
        assert receiver.requests[0].headers["host"] == f"hooks.example.com:{receiver.port}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for hooks.example.com, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=hooks.example.com",
    ]
    command += ["-addext", "subjectAltName=DNS:hooks.example.com"]
    command += ["-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "cert", folder / "key"


async def test_tls_is_about_the_name_and_not_the_address(certificate: tuple[Path, Path]) -> None:
    """The certificate has to be that of the host in the URL, which the server is told, and one that is trusted."""
    told: list[str | None] = []
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*certificate)
    serving.sni_callback = lambda _socket, name, _context: told.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))

    async def here(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with receiving(serving) as receiver, sending(resolve=here, tls=trusting) as sender:
        sent = await send(sender, f"https://hooks.example.com:{receiver.port}/")
        assert (sent.status, sent.error) == (204, None)
        sent = await send(sender, f"https://other.example.com:{receiver.port}/")
        assert sent.error is not None
        assert sent.error.startswith("its certificate is not trusted: Hostname mismatch")
        assert told == ["hooks.example.com", "other.example.com"]
    async with receiving(serving) as receiver, sending(resolve=here) as sender:
        sent = await send(sender, f"https://hooks.example.com:{receiver.port}/")
        assert sent.error == "its certificate is not trusted: self-signed certificate"


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the secret, nor the path and query of a URL, which may hold one, at any level of ours."""
    with caplog.at_level(logging.DEBUG, "service"):
        async with receiving() as receiver, sending() as sender:
            receiver.answers = [answer(500), OK]
            await send(sender, receiver.url("/token-x1?key=x2"))
            await send(sender, receiver.url("/token-x1?key=x2"))
    assert not any(word in caplog.text for word in (SECRET, "x1", "x2"))


async def test_many_messages_at_once_share_few_connections() -> None:
    """The others wait for one."""
    async with receiving() as receiver, sending() as sender:
        sent = await asyncio.gather(*(send(sender, receiver.url()) for _ in range(40)))
        assert [one.error for one in sent] == [None] * 40
        assert receiver.connections <= 4
        assert isinstance(receiver, Receiver)
