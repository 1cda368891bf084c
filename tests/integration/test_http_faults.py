"""What the API answers to what it does not like, and when what it stands on is away."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.email import jobs
from service.inbox import Inbox, folder
from service.mailer.relay import Health
from service.mailer.report import Reporter
from service.settings import SettingsError
from service.store.errors import StoreUnavailable
from service.store.store import Store
from tests.conftest import unique_name
from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue
from zqueue.embedded import Server


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store, for messages of up to 64 KiB."""
    async with running(tmp_path / "data", queue, max_message="64KiB") as api:
        yield api


@pytest.fixture
async def dead_queue(tmp_path: Path) -> AsyncIterator[Queue]:
    """A queue whose server is not there."""
    async with Queue(unique_name(), f"unix://{tmp_path}/nobody.sock") as queue:
        yield queue


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"{", JSON, (400, "invalid_json")),
        (b"[]", JSON, (400, "invalid_json")),
        (b"", JSON, (400, "invalid_json")),
        (b'{"to": "a@example.com", "to": "b@example.com"}', JSON, (400, "invalid_json")),
        (b'{"text": "\\ud800"}', JSON, (400, "invalid_json")),
        (b'{"max_retries": NaN}', JSON, (400, "invalid_json")),
        (b"{}", JSON, (422, "invalid_request")),
        (b"{}", {"content-type": "application/json; charset=latin-1"}, (415, "unsupported_media_type")),
        (b"{}", {"content-type": "text/plain"}, (415, "unsupported_media_type")),
        (b"{}", {}, (415, "unsupported_media_type")),
        (gzip.compress(b"{}", mtime=0), JSON | {"content-encoding": "gzip"}, (415, "unsupported_media_type")),
        (b" " * (1024 * 1024 + 64 * 1024 * 4 // 3 + 1), JSON, (413, "body_too_large")),
    ],
)
async def test_a_bad_body_is_refused(api: Api, body: bytes, headers: dict[str, str], expected: tuple[int, str]) -> None:
    """Each kind of bad body has its status and code, and nothing is accepted."""
    assert problem(await api.http.post("/v1/emails", content=body, headers=headers)) == expected
    assert (await api.http.get("/v1/emails")).json()["data"] == []


async def test_json_may_say_its_charset(api: Api) -> None:
    """A charset of UTF-8 beside the media type is fine."""
    headers = {"content-type": 'Application/JSON; charset="UTF-8"'}
    response = await api.http.post("/v1/emails", content=json.dumps(LEAST), headers=headers)
    assert response.status_code == 201


async def test_a_body_without_length_is_not_read_to_its_end(api: Api) -> None:
    """A streamed body is refused once it is over the limit, however much would follow."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    assert problem(await api.http.post("/v1/emails", content=endless(), headers=JSON)) == (413, "body_too_large")
    assert sent <= 2 * 1024 * 1024


async def test_every_bad_field_is_in_the_problem(api: Api) -> None:
    """A 422 lists each bad field with its pointer, and repeats no value."""
    response = await api.http.post(
        "/v1/emails",
        json={"from": "hunter2", "to": ["b@example.com", "hunter2"], "subject": "a\nb", "scheduled_at": "hunter2"},
    )
    assert problem(response) == (422, "invalid_request")
    assert response.json()["detail"] == "5 fields are wrong; nothing was done."
    assert [one["pointer"] for one in response.json()["errors"]] == [
        "/from",
        "/scheduled_at",
        "/subject",
        "/text",
        "/to/1",
    ]
    assert "hunter2" not in response.text


async def test_unknown_addresses_and_methods(api: Api) -> None:
    """404, 405 and OPTIONS are answered in the API's own form, and name the methods there are."""
    assert problem(await api.http.get("/v2/emails")) == (404, "not_found")
    assert problem(await api.http.get("/inbox/../../etc/passwd")) == (404, "not_found")
    response = await api.http.delete("/v1/emails")
    assert problem(response) == (405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD, POST"
    options = await api.http.options("/v1/emails")
    assert (options.status_code, options.headers["allow"], options.content) == (204, "GET, HEAD, POST", b"")
    head = await api.http.head("/healthz")
    assert (head.status_code, head.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"host": "evil.example.com"}, "host_not_allowed"),
        ({"host": "localhost.evil.example.com"}, "host_not_allowed"),
        ({"host": "user@localhost"}, "host_not_allowed"),
        ({"host": "localhost:x"}, "host_not_allowed"),
        ({"host": ""}, "host_not_allowed"),
        ({"x-forwarded-for": "192.0.2.1"}, "forwarded"),
        ({"forwarded": "for=192.0.2.1"}, "forwarded"),
        ({"x-real-ip": "192.0.2.1"}, "forwarded"),
        ({"origin": "https://evil.example.com"}, "cross_origin"),
        ({"origin": "null"}, "cross_origin"),
        ({"origin": "http://localhost:9999"}, "cross_origin"),
    ],
)
async def test_strangers_are_kept_out(api: Api, headers: dict[str, str], code: str) -> None:
    """Without keys nobody gets in by a foreign name, through a proxy, or from another site's page."""
    assert problem(await api.http.get("/v1/emails", headers=headers)) == (403, code)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
async def test_this_machine_gets_in(api: Api, host: str) -> None:
    """Every name of the loopback is served, and a page of the API's own origin too."""
    response = await api.http.get("/healthz", headers={"host": host, "origin": f"http://{host}"})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_an_accept_does_not_need_redis(tmp_path: Path, dead_queue: Queue) -> None:
    """With Redis away e-mails are accepted, cancelled and read all the same."""
    async with running(tmp_path / "data", dead_queue) as api:
        record = await api.accept()
        assert (await api.http.get(f"/v1/emails/{record['id']}")).json() == record
        cancelled = await api.http.post(f"/v1/emails/{record['id']}/cancel")
        assert cancelled.json()["status"] == "cancelled"
        ready = await api.http.get("/readyz")
        assert ready.status_code == 200
        assert (ready.json()["status"], ready.json()["redis"]["reachable"]) == ("ready", False)


async def test_an_accept_waits_for_a_silent_redis_once(
    tmp_path: Path, short_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that takes calls and answers none is waited for by one accept, and skipped by those after it."""
    path = str(short_folder / "silent.sock")
    connected = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(silent, path)
    async with server, Queue(unique_name(), f"unix://{path}") as queue:
        with caplog.at_level(logging.WARNING, "service.outbox"):
            async with asyncio.timeout(10), running(tmp_path / "data", queue) as api:
                for _ in range(50):
                    await api.accept()
    assert [record.message for record in caplog.records if record.name == "service.outbox"] == [
        "the queue is away, e-mails are accepted nevertheless: it does not answer"
    ]
    assert connected >= 1


async def test_a_queue_that_comes_back_is_used_again(tmp_path: Path, short_folder: Path) -> None:
    """Once Redis answers, e-mails are enqueued as they are accepted."""
    url = f"unix://{short_folder}/server.sock"
    async with Queue(unique_name(), url) as queue, running(tmp_path / "data", queue) as api:
        await api.accept()
        with Server(short_folder):
            async with asyncio.timeout(20):
                enqueued = False
                while not enqueued:
                    record = await api.accept()
                    enqueued = not await queue.missing([f"{record['id']}.1"])


async def test_a_full_disk_is_503(tmp_path: Path, queue: Queue) -> None:
    """When the disk is full an accept says so, nothing is kept, and readiness is gone."""
    async with running(tmp_path / "data", queue, min_free=str(2**60)) as api:
        response = await api.http.post("/v1/emails", json=LEAST)
        assert problem(response) == (503, "no_space")
        assert response.headers["retry-after"] == "5"
        assert (await api.http.get("/v1/emails")).json()["data"] == []
        ready = await api.http.get("/readyz")
        assert ready.status_code == 503
        assert (ready.json()["status"], ready.json()["store"]["reason"]) == ("unavailable", "no_space")


async def test_a_store_that_cannot_be_opened_ends_the_start(tmp_path: Path, queue: Queue) -> None:
    """A data directory that cannot be one stops the application instead of starting it empty."""
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreUnavailable):
        async with running(tmp_path / "data", queue):
            pass


async def test_a_fault_of_ours_is_500_and_says_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen error is a problem too, and tells the client nothing of the inside."""

    def broken(_self: Store, _email_id: str) -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(Store, "get", broken)
    response = await api.http.get("/v1/emails/em_01KAVWB3V3E7ZBYVG5Q8RFWT2N")
    assert problem(response) == (500, "internal_error")
    assert "hunter2" not in response.text


async def test_readiness_tells_of_redis_and_the_relays(tmp_path: Path, queue: Queue) -> None:
    """The states of the queue and of the relays, as the workers know them, are told, without a relay's password."""
    url = "smtp://me:hunter2@127.0.0.1:1?tls=none, smtp://127.0.0.1:2"
    async with running(tmp_path / "data", queue, smtp_url=url) as api:
        await api.accept(scheduled_at="2030-01-01T00:00:00Z")
        response = await api.http.get("/readyz")
        document = response.json()
        assert (response.status_code, document["status"]) == (200, "ready")
        assert document["store"].keys() == {"durable", "free_bytes"}
        assert document["redis"] == {"reachable": True, "scheduled": 1, "leased": 0, "dead": 0}
        unknown = [{"address": f"127.0.0.1:{port}", "state": "unknown"} for port in (1, 2)]
        assert (document["workers"], document["relays"]) == (0, unknown)
        assert "hunter2" not in response.text

        worker = await Store.open(tmp_path / "data", now=queue.now, min_free=0)
        reporter = Reporter(worker.tell, now=lambda: datetime(2026, 11, 24, tzinfo=UTC))
        for state, error in (("ok", None), ("login", "127.0.0.1:1: the relay said 535 5.7.8 no")):
            reporter.look([Health("127.0.0.1:1", state, error, None, 0), Health("127.0.0.1:2", "ok", None, None, 0)])
        document = (await api.http.get("/readyz")).json()
        since = {"since": "2026-11-24T00:00:00.000000Z"}
        assert (document["status"], document["workers"], document["relays"]) == (
            "ready",
            1,
            [
                {"address": "127.0.0.1:1", "state": "login", "error": error} | since,
                {"address": "127.0.0.1:2", "state": "ok"} | since,
            ],
        )
        await worker.close()
        document = (await api.http.get("/readyz")).json()
        assert (document["workers"], document["relays"]) == (0, unknown)


async def test_a_job_of_another_store_is_told(api: Api) -> None:
    """Workers stop at it, so nobody is ready; the reason names it."""
    queue = api.state["queue"]
    await api.accept(scheduled_at="2030-01-01T00:00:00Z")
    await queue.enqueue(jobs.payload("another"), id="em_x.1")
    response = await api.http.get("/readyz")
    document = response.json()
    assert (response.status_code, document["status"], document["redis"]["reason"]) == (
        503,
        "unavailable",
        "foreign_job",
    )
    assert "'em_x.1'" in document["redis"]["detail"]
    await queue.cancel("em_x.1")
    assert (await api.http.get("/readyz")).status_code == 200


async def test_the_inbox_shows_what_arrived(api: Api) -> None:
    """GET /inbox lists the messages newest first, and one of them can be read whole."""
    assert (await api.http.get("/inbox")).json() == {"object": "list", "data": []}
    inbox = Inbox(folder(api.state["settings"].data_dir))
    inbox.add("a@example.com", ["b@example.com"], b"Subject: one\r\n\r\nHi\r\n")
    newest = inbox.add("a@example.com", ["c@example.com"], b"Subject: two\r\nMessage-ID: <x@y>\r\n\r\nHo\r\n")
    listed = (await api.http.get("/inbox")).json()["data"]
    assert [one["subject"] for one in listed] == ["two", "one"]
    assert (listed[0]["from"], listed[0]["to"], listed[0]["message_id"]) == (
        "a@example.com",
        ["c@example.com"],
        "<x@y>",
    )
    whole = await api.http.get(f"/inbox/{newest.id}")
    assert whole.json() == listed[0] | {"raw": "Subject: two\r\nMessage-ID: <x@y>\r\n\r\nHo\r\n"}
    assert problem(await api.http.get("/inbox/00000000000000000001")) == (404, "not_found")


async def test_every_request_leaves_one_line(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """The access log has method, path, status and time, and never the query."""
    with caplog.at_level(logging.INFO, "service"):
        await api.http.get("/v1/emails?to=secret@example.com")
    (line,) = [record for record in caplog.records if record.name == "service.routes.access"]
    told = vars(line)
    assert (told["method"], told["path"], told["status"]) == ("GET", "/v1/emails", 200)
    assert told["ms"] >= 0
    assert "secret" not in repr(told)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"smtp_url": "smtp://me:hunter2@mail.example.com?tls=perhaps"},
            "SERVICE_SMTP_URL cannot be used: tls must be",
        ),
        ({"redis_url": "redis://:hunter2@localhost?socket_timeout=x"}, "SERVICE_REDIS_URL cannot be used"),
    ],
)
async def test_an_unusable_url_names_its_setting(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    """A URL that is found to be unusable only when it is used stops the start, named and without its password."""
    with pytest.raises(SettingsError, match=says) as caught:
        async with running(tmp_path / "data", **settings):
            pass
    assert "hunter2" not in str(caught.value)
