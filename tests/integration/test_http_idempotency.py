"""Idempotency keys: a request that takes effect once, however often and whenever it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.email.times import to_z
from service.outbox import Outbox
from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


def keyed(key: str) -> dict[str, str]:
    """The header of a request with this key."""
    return {"Idempotency-Key": key}


async def count(api: Api) -> int:
    """How many e-mails there are."""
    return len((await api.http.get("/v1/emails", params={"limit": 100})).json()["data"])


async def test_the_same_request_again_gets_the_first_answer(api: Api) -> None:
    """A replay says so, answers what the first did - though the e-mail has moved on - and accepts nothing."""
    at = to_z(api.state["outbox"].now() + timedelta(hours=1))
    first = await api.http.post("/v1/emails", json=LEAST | {"scheduled_at": at}, headers=keyed("k-1"))
    await api.http.post(f"/v1/emails/{first.json()['id']}/cancel")
    again = await api.http.post("/v1/emails", json=LEAST | {"scheduled_at": at}, headers=keyed("k-1"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert (again.headers["location"], again.headers["etag"]) == (first.headers["location"], '"1"')
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await count(api) == 1


async def test_a_replay_needs_nothing_that_was_right_only_then(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that has passed since, for which a new request gets 422, is no matter to a replay."""
    now = api.state["outbox"].now()
    body = LEAST | {"scheduled_at": to_z(now + timedelta(minutes=1))}
    first = await api.http.post("/v1/emails", json=body, headers=keyed("k"))
    monkeypatch.setattr(Outbox, "now", lambda _self: now + timedelta(hours=2))
    again = await api.http.post("/v1/emails", json=body, headers=keyed("k"))
    assert (again.status_code, again.json()) == (201, first.json())
    assert problem(await api.http.post("/v1/emails", json=body, headers=keyed("other"))) == (422, "invalid_request")


@pytest.mark.parametrize("change", [{"subject": "Other"}, {"text": "Hi "}])
async def test_another_request_with_the_key_is_refused(api: Api, change: dict[str, Any]) -> None:
    """A key belongs to its first request; another one gets 422 and does nothing."""
    await api.http.post("/v1/emails", json=LEAST, headers=keyed("k"))
    response = await api.http.post("/v1/emails", json=LEAST | change, headers=keyed("k"))
    assert problem(response) == (422, "idempotency_key_reused")
    assert response.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert await count(api) == 1


async def test_a_key_outlives_the_process(tmp_path: Path, queue: Queue) -> None:
    """A new process over the same data directory still knows the key."""
    async with running(tmp_path / "data", queue) as api:
        first = await api.http.post("/v1/emails", json=LEAST, headers=keyed("k"))
    async with running(tmp_path / "data", queue) as api:
        again = await api.http.post("/v1/emails", json=LEAST, headers=keyed("k"))
        assert (again.json(), await count(api)) == (first.json(), 1)


async def test_an_error_is_not_kept(api: Api) -> None:
    """What was refused may be put right and sent under the same key."""
    wrong = {**LEAST, "to": "nobody"}
    assert problem(await api.http.post("/v1/emails", json=wrong, headers=keyed("k"))) == (422, "invalid_request")
    assert (await api.http.post("/v1/emails", json=LEAST, headers=keyed("k"))).status_code == 201


async def test_a_request_in_flight_is_409(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first request is being worked on, the same one gets 409; afterwards it gets its answer."""
    entered, go_on = asyncio.Event(), asyncio.Event()
    compose = Outbox.compose

    async def slow(self: Outbox, draft: Any, now: Any = None) -> Any:
        entered.set()
        await go_on.wait()
        return await compose(self, draft, now)

    monkeypatch.setattr(Outbox, "compose", slow)
    first = asyncio.create_task(api.http.post("/v1/emails", json=LEAST, headers=keyed("k")))
    await entered.wait()
    meanwhile = await api.http.post("/v1/emails", json=LEAST, headers=keyed("k"))
    assert problem(meanwhile) == (409, "idempotency_key_in_use")
    assert meanwhile.headers["retry-after"] == "1"
    go_on.set()
    record = (await first).json()
    assert (await api.http.post("/v1/emails", json=LEAST, headers=keyed("k"))).json() == record


async def test_two_processes_accept_a_key_once(tmp_path: Path, queue: Queue) -> None:
    """The same request at two processes at once makes one e-mail, and both get it."""
    async with running(tmp_path / "data", queue) as one, running(tmp_path / "data", queue) as two:
        for n in range(20):
            answers = await asyncio.gather(
                *(each.http.post("/v1/emails", json=LEAST, headers=keyed(f"k{n}")) for each in (one, two))
            )
            assert [answer.status_code for answer in answers] == [201, 201]
            assert answers[0].json() == answers[1].json()
            assert sum("idempotent-replayed" in answer.headers for answer in answers) == 1
        assert await count(one) == 20


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\tb", "é".encode().decode("latin-1")])
async def test_a_bad_key_is_named(api: Api, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters; anything else is 422, named by its header."""
    response = await api.http.post("/v1/emails", json=LEAST, headers={b"Idempotency-Key": key.encode("latin-1")})
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == ["Idempotency-Key"]
    assert await count(api) == 0


async def test_the_longest_key_is_taken(api: Api) -> None:
    """255 characters are fine, and so is every visible one."""
    keys = ["x" * 255, "".join(map(chr, range(0x21, 0x7F)))]
    for key in keys:
        assert (await api.http.post("/v1/emails", json=LEAST, headers=keyed(key))).status_code == 201


async def test_a_batch_is_replayed_with_its_errors(api: Api) -> None:
    """A replay of a permissive batch tells the same ids and the same errors."""
    body = {"mode": "permissive", "emails": [LEAST, {**LEAST, "to": "nobody"}, LEAST]}
    first = await api.http.post("/v1/emails/batch", json=body, headers=keyed("k"))
    again = await api.http.post("/v1/emails/batch", json=body, headers=keyed("k"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert [one["index"] for one in again.json()["errors"]] == [1]
    assert again.headers["idempotent-replayed"] == "true"
    assert await count(api) == 2
    other = await api.http.post("/v1/emails", json=LEAST, headers=keyed("k"))
    assert problem(other) == (422, "idempotency_key_reused")
