"""Attachments over HTTP: uploaded or in the request, kept, and in the message."""

from __future__ import annotations

import base64
import email as stdlib_email
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue

LOGO = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store, for messages of up to 1 MiB."""
    async with running(tmp_path / "data", queue, max_message="1MiB") as api:
        yield api


async def upload(api: Api, data: bytes, media: str = "image/png") -> str:
    """Upload a file; its SHA-256."""
    response = await api.http.post("/v1/attachments", content=data, headers={"content-type": media})
    assert response.status_code == 201, response.text
    assert response.json() == {"object": "attachment", "sha256": sha256(data).hexdigest(), "size": len(data)}
    return sha256(data).hexdigest()


async def test_an_uploaded_file_is_attached_by_its_hash(api: Api) -> None:
    """Upload once, reference by sha256, as often as one likes; the record shows what is attached."""
    digest = await upload(api, LOGO)
    assert await upload(api, LOGO, "application/x-anything") == digest
    attachment = {"filename": "logo.png", "sha256": digest, "content_id": "logo"}
    for _ in range(2):
        record = await api.accept(html='<img src="cid:logo">', attachments=[attachment])
        assert record["attachments"] == [attachment | {"content_type": "image/png", "size": len(LOGO)}]
        assert "content" not in record["attachments"][0]


async def test_a_file_in_the_request_is_kept(api: Api) -> None:
    """Base64 in the request and an upload of the same bytes are the same file, and a new process finds it."""
    content = base64.b64encode(LOGO).decode()
    record = await api.accept(attachments=[{"filename": "logo.png", "content": content}])
    (shown,) = record["attachments"]
    assert api.state["store"].blob(shown["sha256"]) == LOGO
    again = await api.accept(attachments=[{"filename": "other.png", "sha256": shown["sha256"]}])
    assert again["attachments"][0]["size"] == len(LOGO)


async def test_a_referenced_file_is_not_taken_for_rubbish(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that an e-mail names looks used before the e-mail is accepted; one that went meanwhile is named."""
    digest = await upload(api, LOGO)
    store = api.state["store"]
    path = api.state["settings"].data_dir / "blobs" / digest[:2] / digest
    os.utime(path, (0, 0))
    attachment = {"filename": "logo.png", "sha256": digest}
    await api.accept(attachments=[attachment])
    assert path.stat().st_mtime > 0
    path.unlink()
    monkeypatch.setattr(store, "blob_size", lambda _: len(LOGO))  # as it was a moment before
    response = await api.http.post("/v1/emails", json=LEAST | {"attachments": [attachment]})
    assert problem(response) == (422, "invalid_request")
    assert response.json()["errors"] == [
        {"pointer": "/attachments/0/sha256", "detail": "is gone; upload the file again"}
    ]


async def test_nothing_is_kept_of_a_refused_request(api: Api) -> None:
    """A request with a fault leaves no file behind."""
    content = base64.b64encode(LOGO).decode()
    body = LEAST | {"to": "nobody", "attachments": [{"filename": "logo.png", "content": content}]}
    assert problem(await api.http.post("/v1/emails", json=body)) == (422, "invalid_request")
    assert api.state["store"].blob_size(sha256(LOGO).hexdigest()) is None


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"x" * (1024 * 1024 + 1), {"content-type": "image/png"}, (413, "body_too_large")),
        (b"x", {"content-type": "image/png", "content-encoding": "gzip"}, (415, "unsupported_media_type")),
    ],
)
async def test_a_bad_upload_is_refused(
    api: Api, body: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    """What is larger than any message, or compressed on the way, is not kept."""
    assert problem(await api.http.post("/v1/attachments", content=body, headers=headers)) == expected


async def test_an_upload_needs_no_type_and_no_bytes(api: Api) -> None:
    """Any body will do, also an empty one."""
    response = await api.http.post("/v1/attachments", content=b"")
    assert (response.status_code, response.json()["size"]) == (201, 0)


async def test_a_full_disk_takes_no_upload(tmp_path: Path, queue: Queue) -> None:
    """An upload heeds the space that accepts leave free."""
    async with running(tmp_path / "data", queue, min_free=str(2**60)) as api:
        assert problem(await api.http.post("/v1/attachments", content=b"x")) == (503, "no_space")


async def test_the_message_as_it_is_sent_is_bounded(api: Api) -> None:
    """What counts is the built message: files below the limit that are above it in base64 are named."""
    digest = await upload(api, b"x" * 900_000)
    body = LEAST | {"attachments": [{"filename": "a", "sha256": digest}]}
    response = await api.http.post("/v1/emails", json=body)
    assert problem(response) == (422, "invalid_request")
    (fault,) = response.json()["errors"]
    assert fault["pointer"] == "/attachments"
    assert fault["detail"].startswith("would make a message of 1,23")
    assert fault["detail"].endswith("SERVICE_MAX_MESSAGE is 1,048,576")


async def test_a_text_is_bounded_by_what_it_becomes(api: Api) -> None:
    """A plain text just below the limit is taken though its estimate is above; one that has to be encoded is not."""
    await api.accept(text="x" * 76 + "\n" + ("y" * 76 + "\n") * 13_000)
    response = await api.http.post("/v1/emails", json=LEAST | {"html": "ü" * 450_000})
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == ["/html"]


async def test_the_message_can_be_read(api: Api) -> None:
    """GET /message is what will be sent, with the attachments and without Bcc."""
    content = base64.b64encode(LOGO).decode()
    record = await api.accept(
        bcc="secret@example.com",
        scheduled_at="2030-01-01T00:00:00Z",
        attachments=[{"filename": "logo.png", "content": content}],
    )
    response = await api.http.get(f"/v1/emails/{record['id']}/message")
    assert (response.status_code, response.headers["content-type"]) == (200, "message/rfc822")
    assert response.headers["content-disposition"] == f'attachment; filename="{record["id"]}.eml"'
    assert b"secret" not in response.content
    message = stdlib_email.message_from_bytes(response.content)
    assert (message["Subject"], message["Message-ID"]) == ("Hello", record["message_id"])
    assert message["Date"] == "Tue, 01 Jan 2030 00:00:00 +0000"
    files = [part for part in message.walk() if part.get_filename() == "logo.png"]
    assert [part.get_payload(decode=True) for part in files] == [LOGO]
    missing = await api.http.get("/v1/emails/em_01KAVWB3V3E7ZBYVG5Q8RFWT2N/message")
    assert problem(missing) == (404, "email_not_found")
