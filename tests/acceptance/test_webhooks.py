"""What happens, told to others by the service as a program: live over HTTP, and by webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.acceptance.running import Service, eventually


class Receiver:
    """An HTTP server of another program, which takes webhooks."""

    def __init__(self) -> None:
        self.secret = ""
        self.messages: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """Checks signatures, and takes what is signed."""

            def do_POST(self) -> None:
                """Take a message."""
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.messages.append(Webhook(receiver.secret).verify(body, dict(self.headers)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def seqs(self) -> list[int]:
        """The events that were told, each where it was told first."""
        return list(dict.fromkeys(message["data"]["seq"] for message in self.messages))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A running one."""
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def service(tmp_path: Path, receiver: Receiver) -> Iterator[Service]:
    """A service whose webhooks go to the receiver."""
    with Service(tmp_path / "up", {"WEBHOOK_ALLOW_PRIVATE": "1"}) as service:
        made = service.http.post("/v1/webhooks", json={"url": receiver.url, "types": ["email.*"]})
        assert made.status_code == 201, made.text
        receiver.secret = made.json()["secret"]
        yield service


def expected(service: Service) -> list[int]:
    """The events of e-mails in the log."""
    page = service.http.get("/v1/events", params={"types": "email.*", "limit": 100}).json()
    assert not page["has_more"]
    return [event["seq"] for event in page["data"]]


def test_webhooks_outlive_the_worker_and_the_queue(service: Service, receiver: Receiver) -> None:
    """Every event arrives, in order, though the worker and then Valkey are killed in between."""
    for victim in ("worker", "valkey"):
        emails = [service.accept(subject=victim)["id"] for _ in range(10)]
        eventually(lambda: receiver.messages, "a first webhook")
        service.kill(victim)
        for email_id in emails:
            service.wait_for(email_id, "completed", timeout=40)
    told = expected(service)
    assert len(told) >= 60
    eventually(lambda: set(receiver.seqs()) == set(told), "all events at the receiver", timeout=40)
    assert receiver.seqs() == told


def test_streams_end_with_the_service(service: Service) -> None:
    """An open stream neither holds up the end nor breaks: it is told what happened, and closed."""
    told: list[str] = []
    headers = {"Accept": "text/event-stream"}
    with service.http.stream("GET", "/v1/events?types=email.scheduled", headers=headers) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("retry:")
        email_id = service.accept()["id"]
        told += [line for line in (next(lines) for _ in range(4)) if line.startswith("data: ")]
        assert json.loads(told[0].removeprefix("data: "))["email_id"] == email_id
        began = time.monotonic()
        assert service.stop() == 0
        assert list(lines)[-1] == ""
    assert time.monotonic() - began < 9  # a server that waits for its streams gives up after 10 s
    assert "timeout graceful shutdown exceeded" not in service.logged
