"""One-click unsubscribing over HTTP (RFC 8058): the link in an e-mail, the page, and what mail programs send."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service import suppression
from service.access import keys
from service.access.scopes import Scope
from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue

PUBLIC = "https://mail.example.com/zq"
STRANGE = {"host": "mail.example.com", "x-forwarded-for": "192.0.2.7", "origin": "https://mail.example.com"}
"""A request that came through a proxy."""
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store, which recipients reach at `PUBLIC`."""
    async with running(tmp_path / "data", queue, public_url=PUBLIC) as api:
        yield api


async def offered(api: Api, **fields: Any) -> tuple[dict[str, Any], str]:
    """An e-mail that offers to unsubscribe, and the path of its link."""
    record = await api.accept(**{"unsubscribe": True, "scheduled_at": "2030-01-01T00:00:00Z"} | fields)
    return record, path_of(record)


def path_of(record: dict[str, Any]) -> str:
    """The path of the link in an e-mail."""
    assert record["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = record["headers"]["List-Unsubscribe"]
    assert link.startswith(f"<{PUBLIC}/unsubscribe/")
    return str(link)[len(PUBLIC) + 1 : -1]


async def reason(api: Api, address: str) -> str | None:
    """Why *address* is suppressed; None if it is not."""
    response = await api.http.get(f"/v1/suppressions/{address}")
    return None if response.status_code == 404 else str(response.json()["reason"])


async def types(api: Api, record: dict[str, Any]) -> list[str]:
    """The types of an e-mail's events."""
    events = (await api.http.get(f"/v1/emails/{record['id']}/events")).json()["data"]
    return [event["type"] for event in events]


async def test_one_click_unsubscribes(api: Api) -> None:
    """As a mail program sends it, from anywhere and without a key; again it is the same."""
    record, path = await offered(api, to="Ann <Ann@example.org>")
    await keys.create(api.state["store"], name="", scopes=frozenset({Scope.READ}), expires_at=None, by="a test")
    for _ in range(2):
        response = await api.http.post(path, data=ONE_CLICK, headers=STRANGE)
        assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    entry = suppression.find(api.state["store"], "ann@example.org")
    assert entry is not None
    assert (entry.reason, entry.email_id) == ("unsubscribe", record["id"])
    events = [event.type for event in api.state["store"].events(record["id"])]
    assert events == ["email.scheduled", "recipient.unsubscribed"]


async def test_looking_changes_nothing(api: Api) -> None:
    """The page asks with a button; programs that open every link unsubscribe nobody."""
    record, path = await offered(api, to="a&b@example.org")
    before = api.state["store"].seq
    for _ in range(3):
        page = await api.http.get(path, headers=STRANGE)
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
        assert '<form method="post"><button name="List-Unsubscribe" value="One-Click">' in page.text
        assert "a&amp;b@example.org" in page.text
    assert (await api.http.head(path)).status_code == 200
    assert (api.state["store"].seq, await types(api, record)) == (before, ["email.scheduled"])
    await api.http.post(path, data=ONE_CLICK)
    assert "You are unsubscribed" in (await api.http.get(path)).text


async def test_a_form_in_parts_is_understood(api: Api) -> None:
    """RFC 8058 lets programs send multipart/form-data as well."""
    _, path = await offered(api)
    response = await api.http.post(path, files={"List-Unsubscribe": (None, "One-Click")})
    assert (response.status_code, await reason(api, "b@example.com")) == (200, "unsubscribe")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b""}, 415),
        ({"json": ONE_CLICK}, 415),
        ({"data": {"List-Unsubscribe": "Perhaps"}}, 422),
        ({"content": b"", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 422),
        ({"content": b"\xff" * 100, "headers": {"content-type": "application/x-www-form-urlencoded"}}, 422),
        ({"content": b"--x\r\n\r\n\r\n--x--", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 422),
        ({"content": b"One-Click", "headers": {"content-type": "multipart/form-data"}}, 422),
        ({"data": {"x": "y" * 17_000}}, 413),
    ],
)
async def test_what_does_not_ask_for_it_unsubscribes_nobody(api: Api, sent: dict[str, Any], status: int) -> None:
    """A program that only tries links out does not send the form."""
    _, path = await offered(api)
    response = await api.http.post(path, **sent)
    assert problem(response)[0] == status
    if status == 415:
        assert response.headers["accept-post"] == "application/x-www-form-urlencoded, multipart/form-data"
    assert await reason(api, "b@example.com") is None


async def test_a_wrong_token_leads_nowhere(api: Api) -> None:
    """Whatever is changed in it: 404, and the same words for all."""
    record, path = await offered(api)
    other, other_path = await offered(api, to="c@example.com")
    token, other_token = path.rpartition("/")[2], other_path.rpartition("/")[2]
    (said, mac), (other_said, other_mac) = token.split("."), other_token.split(".")
    wrong = [
        *("x", ".", "%00", said, f"{said}.", f"{said}.{other_mac}", f"{other_said}.{mac}", f"{token}=", f"{token}A"),
        *(f"{said}.{mac[:-1]}", f"{token}.{mac}", "x" * 5_000, f"{said}%C3%A9.{mac}", record["id"], other["id"]),
    ]
    answers = set()
    for one in wrong:
        for response in (
            await api.http.get(f"/unsubscribe/{one}"),
            await api.http.post(f"/unsubscribe/{one}", data=ONE_CLICK),
        ):
            assert problem(response) == (404, "not_found")
            answers.add(response.text)
    assert len(answers) == 1
    assert (await api.http.get("/v1/suppressions")).json()["data"] == []


async def test_a_link_is_good_in_every_process_and_only_for_this_store(api: Api, tmp_path: Path, queue: Queue) -> None:
    """The key is in the store: a restart keeps it, another store has another one."""
    _, path = await offered(api)
    async with running(tmp_path / "data", queue, public_url=PUBLIC) as second:
        assert (await second.http.get(path)).status_code == 200
        assert (await offered(second))[1].partition(".")[0] != path.partition(".")[0]
    async with running(tmp_path / "other", queue, public_url=PUBLIC) as stranger:
        assert problem(await stranger.http.get(path)) == (404, "not_found")
        await offered(stranger)
        assert problem(await stranger.http.get(path)) == (404, "not_found")


async def test_the_key_is_told_nobody(api: Api) -> None:
    """It is in the store, and in no event."""
    await offered(api)
    events = (await api.http.get("/v1/events")).json()["data"]
    assert [event["type"] for event in events] == ["email.scheduled"]
    document = api.state["store"].document("secret", "unsubscribe")
    assert document is not None
    assert document.data["key"] not in str(events)
    assert len(document.data["key"]) == 64


async def test_the_log_has_no_tokens(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log of requests cannot unsubscribe others."""
    _, path = await offered(api)
    with caplog.at_level(logging.INFO, "service.routes.access"):
        await api.http.get(path)
    assert [vars(record)["path"] for record in caplog.records] == ["/unsubscribe/..."]


async def test_a_new_recipient_gets_a_link_of_their_own(api: Api) -> None:
    """An edit of the recipient makes the link anew, and an edit of headers does not take it away."""
    record, path = await offered(api)
    url = f"/v1/emails/{record['id']}"
    changed = (await api.http.patch(url, json={"to": "c@example.com"})).json()
    assert path_of(changed) != path
    kept = (await api.http.patch(url, json={"headers": {"X-A": "b", "list-unsubscribe": "<https://a.example>"}})).json()
    assert kept["headers"] == {"X-A": "b"} | changed["headers"]
    response = await api.http.patch(url, json={"to": ["c@example.com", "d@example.com"]})
    assert [one["pointer"] for one in response.json()["errors"]] == ["/to"]
    await api.http.post(path_of(kept), data=ONE_CLICK)
    assert [await reason(api, f"{name}@example.com") for name in "bc"] == [None, "unsubscribe"]


async def test_it_needs_to_be_reached(tmp_path: Path, queue: Queue) -> None:
    """Without SERVICE_PUBLIC_URL nobody could follow a link, so none is made."""
    async with running(tmp_path / "data", queue) as api:
        response = await api.http.post("/v1/emails", json=LEAST | {"unsubscribe": True})
        assert [one["pointer"] for one in response.json()["errors"]] == ["/unsubscribe"]
        assert "List-Unsubscribe" not in (await api.accept())["headers"]
        assert problem(await api.http.get("/unsubscribe/x")) == (404, "not_found")


async def test_each_of_a_batch_gets_a_link_of_its_own(api: Api) -> None:
    """Many recipients are many e-mails, each with its own link."""
    emails = [LEAST | {"to": f"u{n}@example.org", "unsubscribe": True} for n in range(5)]
    made = (await api.http.post("/v1/emails/batch", json={"emails": emails})).json()["data"]
    records = [(await api.http.get(f"/v1/emails/{one['id']}")).json() for one in made]
    assert len({path_of(record) for record in records}) == 5
    await api.http.post(path_of(records[3]), data=ONE_CLICK)
    assert [await reason(api, f"u{n}@example.org") for n in range(5)] == [None, None, None, "unsubscribe", None]
