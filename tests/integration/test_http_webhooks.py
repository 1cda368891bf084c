"""The API of webhooks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.email.times import from_z
from service.webhooks import registry
from tests.integration.api import Api, problem, running
from tests.receiver import answer, receiving
from zqueue import Queue

URL = "https://hooks.example.com/in?token=t0ken"


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue, webhook_allow_private=True) as api:
        yield api


async def create(api: Api, **fields: Any) -> dict[str, Any]:
    """A new webhook, with its secret."""
    response = await api.http.post("/v1/webhooks", json={"url": URL} | fields)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_a_webhook_is_made_and_shown(api: Api) -> None:
    """Whole, and with its secret this once."""
    response = await api.http.post(
        "/v1/webhooks", json={"url": URL, "types": ["email.completed", "key.*"], "description": "Ours"}
    )
    made = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/webhooks/{made['id']}"
    assert response.headers["cache-control"] == "no-store"
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made == {
        "id": made["id"],
        "object": "webhook",
        "url": URL,
        "types": ["email.completed", "key.*"],
        "description": "Ours",
        "enabled": True,
        "disabled_reason": None,
        "cursor": 0,
        "failures": 0,
        "failing_since": None,
        "next_attempt_at": None,
        "last_error": None,
        "last_status": None,
        "last_delivered_at": None,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }
    again = await api.http.get(f"/v1/webhooks/{made['id']}")
    assert (again.status_code, again.json()) == (200, made)


async def test_webhooks_are_listed_page_by_page(api: Api) -> None:
    """The oldest first, without their secrets."""
    ids = [(await create(api))["id"] for _ in range(3)]
    first = await api.http.get("/v1/webhooks?limit=2")
    assert [one["id"] for one in first.json()["data"]] == ids[:2]
    assert (first.json()["has_more"], first.json()["after"]) == (True, ids[1])
    second = (await api.http.get(f"/v1/webhooks?limit=2&after={ids[1]}")).json()
    assert ([one["id"] for one in second["data"]], second["has_more"]) == (ids[2:], False)
    assert "whsec" not in first.text


async def test_a_webhook_is_changed(api: Api) -> None:
    """What is given, and nothing else; a null takes a field back."""
    made = await create(api, description="Ours", types=["*"])
    path = f"/v1/webhooks/{made['id']}"
    changed = (await api.http.patch(path, json={"url": "https://example.org/", "types": None, "enabled": False})).json()
    assert (changed["url"], changed["types"], changed["description"]) == (
        "https://example.org/",
        ["email.*", "recipient.*"],
        "Ours",
    )
    assert (changed["enabled"], changed["disabled_reason"]) == (False, "asked")
    changed = (await api.http.patch(path, json={"description": None, "enabled": True})).json()
    assert (changed["description"], changed["enabled"], changed["disabled_reason"]) == (None, True, None)
    assert (await api.http.patch(path, json={})).json()["url"] == "https://example.org/"


async def test_a_webhook_is_deleted(api: Api) -> None:
    """Once; whatever is asked of it then is a 404."""
    made = await create(api)
    path = f"/v1/webhooks/{made['id']}"
    assert (await api.http.delete(path)).status_code == 204
    for request in (
        api.http.delete(path),
        api.http.get(path),
        api.http.patch(path, json={}),
        api.http.post(f"{path}/test"),
        api.http.post(f"{path}/enable"),
        api.http.post(f"{path}/secret"),
        api.http.post(f"{path}/replay", json={"after": 0}),
        api.http.get(f"/v1/webhooks/{'x' * 5_000}"),
    ):
        assert problem(await request) == (404, "webhook_not_found")


async def test_a_test_message_says_what_came_of_it(api: Api) -> None:
    """Sent at once and signed, whether the webhook is enabled or not."""
    async with receiving() as receiver:
        made = await create(api, url=receiver.url())
        receiver.answers = [answer(200), answer(404)]
        path = f"/v1/webhooks/{made['id']}/test"
        taken = (await api.http.post(path)).json()
        assert taken == {"object": "webhook_test", "delivered": True, "status": 200, "error": None, "ms": taken["ms"]}
        message = receiver.requests[0].verified(made["secret"])
        assert (message["type"], message["data"]) == ("webhook.test", {"webhook_id": made["id"]})
        assert abs(from_z(message["timestamp"]) - datetime.now(UTC)).total_seconds() < 60
        await api.http.patch(f"/v1/webhooks/{made['id']}", json={"enabled": False})
        refused = (await api.http.post(path)).json()
        assert (refused["delivered"], refused["status"], refused["error"]) == (False, 404, "answered 404")


async def test_a_secret_is_exchanged(api: Api) -> None:
    """Both sign what is sent from then on, so that a receiver may change over when it likes."""
    async with receiving() as receiver:
        made = await create(api, url=receiver.url())
        changed = (await api.http.post(f"/v1/webhooks/{made['id']}/secret")).json()
        assert changed["secret"] != made["secret"]
        await api.http.post(f"/v1/webhooks/{made['id']}/test")
        for secret in (made["secret"], changed["secret"]):
            assert receiver.requests[0].verified(secret)["type"] == "webhook.test"


async def test_a_replay_moves_the_cursor(api: Api) -> None:
    """To a line, or to before the first event of a time."""
    made = await create(api)
    for _ in range(3):
        await api.accept()
    path = f"/v1/webhooks/{made['id']}/replay"
    assert (await api.http.post(path, json={"after": 2})).json()["cursor"] == 2
    assert (await api.http.post(path, json={"since": made["created_at"]})).json()["cursor"] == 0
    last = api.state["store"].seq
    assert (await api.http.post(path, json={"since": "2199-01-01T00:00:00Z"})).json()["cursor"] == last


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("", {}, ["/url"]),
        ("", {"url": 1, "types": [], "nix": 1}, ["/nix", "/types", "/url"]),
        (
            "",
            {"url": "ftp://x", "types": ["email.sent"], "description": "x" * 501},
            ["/description", "/types/0", "/url"],
        ),
        ("", {"url": "https://x/" + "x" * 2_000}, ["/url"]),
        ("/ID/replay", {}, ["/after"]),
        ("/ID/replay", {"after": 1, "since": "2026-11-24T09:30:00Z"}, ["/after"]),
        ("/ID/replay", {"after": -1}, ["/after"]),
        ("/ID/replay", {"after": 99}, ["/after"]),
        ("/ID/replay", {"since": "yesterday"}, ["/since"]),
        ("/ID/replay", {"since": 5}, ["/since"]),
    ],
)
async def test_bad_requests_are_refused(api: Api, path: str, body: dict[str, Any], pointers: list[str]) -> None:
    """With all that is wrong, field by field."""
    made = await create(api)
    response = await api.http.post(f"/v1/webhooks{path.replace('ID', made['id'])}", json=body)
    assert problem(response) == (422, "invalid_request")
    assert [error["pointer"] for error in response.json()["errors"]] == pointers


async def test_bad_changes_are_refused(api: Api) -> None:
    """As bad requests are."""
    made = await create(api)
    response = await api.http.patch(f"/v1/webhooks/{made['id']}", json={"url": "https://u:p@x/", "enabled": "yes"})
    assert [error["pointer"] for error in response.json()["errors"]] == ["/enabled", "/url"]
    assert "u:p" not in response.text


async def test_private_targets_are_refused_unless_allowed(tmp_path: Path, queue: Queue) -> None:
    """At once where the URL shows it; a name that leads there is found out when it is sent to."""
    async with running(tmp_path / "data", queue) as api:
        response = await api.http.post("/v1/webhooks", json={"url": "http://169.254.169.254/latest"})
        assert problem(response) == (422, "invalid_request")
        made = await create(api, url="http://localhost:9/")
        tested = (await api.http.post(f"/v1/webhooks/{made['id']}/test")).json()
        assert tested["error"] == (
            "its host leads into a private network; the setting SERVICE_WEBHOOK_ALLOW_PRIVATE=1 allows it"
        )


async def test_there_may_be_a_hundred(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused."""
    monkeypatch.setattr(registry, "MOST", 1)
    await create(api)
    assert problem(await api.http.post("/v1/webhooks", json={"url": URL})) == (409, "too_many_webhooks")


async def test_no_secret_leaves_another_way(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by the list of events nor by the log of the process."""
    with caplog.at_level(logging.DEBUG, "service"):
        made = await create(api)
        rotated = (await api.http.post(f"/v1/webhooks/{made['id']}/secret")).json()
        events = await api.http.get("/v1/events")
    assert [event["type"] for event in events.json()["data"] if event["type"].startswith("webhook.")] == [
        "webhook.created",
        "webhook.secret_rotated",
    ]
    for secret in (made["secret"], rotated["secret"], "t0ken"):
        assert secret not in events.text + caplog.text
