"""API keys over HTTP: who gets in, with which scope, how often, and what is written down of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.access import keys
from service.access.scopes import Scope
from service.settings import SettingsError
from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue

STRANGE = {"host": "mail.example.com", "x-forwarded-for": "192.0.2.7", "origin": "https://shop.example.com"}
"""A request that came through a proxy, from another site."""


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


async def make(api: Api, *scopes: Scope, expires_in: float | None = None) -> tuple[str, dict[str, str]]:
    """The id of a new key, and the header that sends it."""
    expires_at = None if expires_in is None else api.state["queue"].now() + timedelta(seconds=expires_in)
    key, token = await keys.create(
        api.state["store"], name="", scopes=frozenset(scopes), expires_at=expires_at, by="a test"
    )
    return key.id, {"authorization": f"Bearer {token}"}


async def test_the_first_key_locks_the_api(api: Api) -> None:
    """Without keys this machine needs none; from the first one on every request does, in this process at once."""
    assert (await api.http.get("/v1/emails")).status_code == 200
    _, header = await make(api, Scope.READ)
    response = await api.http.get("/v1/emails")
    assert problem(response) == (401, "key_missing")
    assert response.headers["www-authenticate"] == 'Bearer realm="zqueue"'
    assert (await api.http.get("/v1/emails", headers=header)).status_code == 200


async def test_a_key_is_enough_wherever_the_request_comes_from(api: Api) -> None:
    """Through a proxy, under another name: a key is asked for instead of the address."""
    assert problem(await api.http.get("/v1/emails", headers=STRANGE)) == (403, "host_not_allowed")
    _, header = await make(api, Scope.READ)
    assert (await api.http.get("/v1/emails", headers=STRANGE | header)).status_code == 200
    assert (await api.http.get("/healthz", headers=STRANGE)).status_code == 200
    assert problem(await api.http.get("/v1/emails", headers=STRANGE)) == (401, "key_missing")


async def test_health_needs_no_key(api: Api) -> None:
    """What watches the service need not be trusted with a key; without keys it must be of this machine."""
    assert problem(await api.http.get("/readyz", headers={"host": "evil.example.com"})) == (403, "host_not_allowed")
    await make(api, Scope.READ)
    assert (await api.http.get("/healthz")).status_code == 200
    assert (await api.http.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Bearer zq_abc_def",
        "Bearer",
        "Bearer ",
        "Basic enE6eA==",
        "zq_abc_def",
        "bearer\u00e9 x",
        "Bearer " + "x" * 9000,
    ],
)
async def test_a_wrong_key_is_a_401(api: Api, header: str) -> None:
    """With a challenge that says why; what was sent is not repeated."""
    await make(api, Scope.READ)
    response = await api.http.get("/v1/emails", headers={b"authorization": header.encode("latin-1")})
    assert problem(response) == (401, "key_invalid")
    assert response.headers["www-authenticate"].startswith('Bearer realm="zqueue", error="invalid_token"')
    assert "def" not in response.text + response.headers["www-authenticate"]


async def test_two_keys_are_none(api: Api) -> None:
    """Which of them would count is not guessed."""
    _, header = await make(api, Scope.READ)
    both = [("authorization", header["authorization"])] * 2
    assert problem(await api.http.get("/v1/emails", headers=both)) == (401, "key_invalid")


async def test_a_key_ends(api: Api) -> None:
    """A revoked key and an expired one are refused with the reason, from the next request on."""
    revoked, header = await make(api, Scope.READ)
    assert (await api.http.get("/v1/emails", headers=header)).status_code == 200
    await keys.revoke(api.state["store"], revoked, by="a test")
    response = await api.http.get("/v1/emails", headers=header)
    assert problem(response) == (401, "key_invalid")
    assert response.json()["detail"] == f"The API key {revoked} was revoked."
    expired, header = await make(api, Scope.READ, expires_in=-1)
    response = await api.http.get("/v1/emails", headers=header)
    assert response.json()["detail"] == f"The API key {expired} has expired."


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((Scope.SEND,), {"post": 201, "get": 403}),
        ((Scope.READ,), {"post": 403, "get": 200}),
        ((Scope.SEND, Scope.READ), {"post": 201, "get": 200}),
        ((Scope.ADMIN,), {"post": 201, "get": 200}),
    ],
)
async def test_a_scope_is_what_it_says(api: Api, scopes: tuple[Scope, ...], expected: dict[str, int]) -> None:
    """Sending is not reading, nor the other way round; admin may do both."""
    _, header = await make(api, *scopes)
    posted = await api.http.post("/v1/emails", json=LEAST, headers=header)
    got = await api.http.get("/v1/emails", headers=header)
    assert {"post": posted.status_code, "get": got.status_code} == expected


async def test_a_lacking_scope_is_named(api: Api) -> None:
    """403 with the scope that would do, for people and for programs."""
    key_id, header = await make(api, Scope.READ)
    response = await api.http.post("/v1/emails", json=LEAST, headers=header)
    assert problem(response) == (403, "insufficient_scope")
    assert response.json()["detail"] == f"The API key {key_id} lacks the scope send."
    assert response.headers["www-authenticate"].endswith(', scope="send"')


async def test_a_method_that_is_none_needs_no_key(api: Api) -> None:
    """405 with what the address takes; it says nothing that the documentation does not."""
    await make(api, Scope.READ)
    response = await api.http.delete("/v1/emails")
    assert problem(response) == (405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD, POST"


async def test_idempotency_keys_are_each_api_keys_own(api: Api) -> None:
    """Two clients that count their requests alike do not get each other's answers."""
    headers = [header | {"idempotency-key": "1"} for _, header in [await make(api, Scope.SEND) for _ in "ab"]]
    ids = [(await api.http.post("/v1/emails", json=LEAST, headers=one)).json()["id"] for one in (*headers, *headers)]
    assert ids[0] == ids[2] != ids[1] == ids[3]


async def test_a_key_has_its_rate(tmp_path: Path, queue: Queue) -> None:
    """Every answer says what is left; beyond it 429 says when to come again, and other keys and scopes go on."""
    async with running(tmp_path / "data", queue, api_rate="send=2/h") as api:
        _, header = await make(api, Scope.ADMIN)
        _, other = await make(api, Scope.SEND)
        first = await api.http.post("/v1/emails", json=LEAST, headers=header)
        assert first.headers["ratelimit-policy"] == '"send";q=2;w=3600'
        assert first.headers["ratelimit"] == '"send";r=1;t=1800'
        second = await api.http.post("/v1/emails", json={}, headers=header)
        assert (second.status_code, second.headers["ratelimit"]) == (422, '"send";r=0;t=3600')
        third = await api.http.post("/v1/emails", json=LEAST, headers=header)
        assert problem(third) == (429, "too_many_requests")
        assert third.headers["ratelimit"] == '"send";r=0;t=3600'
        assert 0 < int(third.headers["retry-after"]) <= 1800
        assert (await api.http.get("/v1/emails", headers=header)).headers.get("ratelimit") is None
        assert (await api.http.post("/v1/emails", json=LEAST, headers=other)).status_code == 201


async def test_an_address_that_others_reach_needs_a_key_first(tmp_path: Path, queue: Queue) -> None:
    """Without one the API does not start there; with one, or told that something guards it, it does."""
    data_dir = tmp_path / "data"
    with pytest.raises(SettingsError, match="lets others reach an API that asks for no key"):
        async with running(data_dir, queue, host="0.0.0.0"):
            pass
    async with running(data_dir, queue, host="0.0.0.0", open=True) as api:
        assert problem(await api.http.get("/v1/emails", headers={"host": "a.example"})) == (403, "host_not_allowed")
        await make(api, Scope.READ)
    async with running(data_dir, queue, host="0.0.0.0") as api:
        assert problem(await api.http.get("/v1/emails")) == (401, "key_missing")


async def test_what_an_admin_changes_is_written_down(api: Api) -> None:
    """By which key, how and where; reading is not, nor what was refused. An admin reads it back."""
    key_id, header = await make(api, Scope.ADMIN)
    body = {"url": "https://hooks.example.com/x", "types": ["email.*"]}
    created = await api.http.post("/v1/webhooks", json=body, headers=header)
    assert created.status_code == 201, created.text
    path = f"/v1/webhooks/{created.json()['id']}"
    assert (await api.http.get(path, headers=header)).status_code == 200
    assert (await api.http.patch(path, json={"nonsense": 1}, headers=header)).status_code == 422
    assert (await api.http.delete(path, headers=header)).status_code == 204
    events = (await api.http.get("/v1/events?types=audit.*", headers=header)).json()["data"]
    assert [(one["type"], one["subject"], one["data"]) for one in events] == [
        ("audit.key_created", f"key:{key_id}", {"name": "", "scopes": ["admin"], "expires_at": None, "by": "a test"}),
        *(
            ("audit.admin", f"key:{key_id}", {"key": key_id, "method": method, "path": where, "action": action})
            for method, where, action in (
                ("POST", "/v1/webhooks", "Have an endpoint told what happens"),
                ("DELETE", path, "Delete a webhook"),
            )
        ),
    ]
