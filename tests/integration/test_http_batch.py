"""``POST /v1/emails/batch``: many e-mails, each with what one may have, as one write."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


async def send(api: Api, *emails: Any, **fields: Any) -> Any:
    """The answer to a batch."""
    return await api.http.post("/v1/emails/batch", json={"emails": list(emails), **fields})


async def ids(api: Api) -> list[str]:
    """The ids of all e-mails, oldest first."""
    found = (await api.http.get("/v1/emails", params={"limit": 100})).json()["data"]
    return [one["id"] for one in reversed(found)]


async def test_each_email_has_what_one_may_have(api: Api, queue: Queue) -> None:
    """Attachments and a schedule per item; each e-mail is stored and enqueued, in order, by one write."""
    lines = api.state["store"].read_events(0, 1000).last
    response = await send(
        api,
        LEAST,
        LEAST | {"scheduled_at": "2030-01-01T09:00:00", "timezone": "Europe/Berlin", "tags": ["t"]},
        LEAST | {"attachments": [{"filename": "a.txt", "content": base64.b64encode(b"A").decode()}]},
    )
    assert response.status_code == 201, response.text
    answer = response.json()
    assert answer == {"object": "batch", "data": [{"id": email_id} for email_id in await ids(api)], "errors": []}
    records = [(await api.http.get(f"/v1/emails/{one['id']}")).json() for one in answer["data"]]
    assert records[1]["scheduled_at"] == "2030-01-01T08:00:00.000000Z"
    assert [len(one["attachments"]) for one in records] == [0, 0, 1]
    assert await queue.missing([f"{one['id']}.1" for one in answer["data"]]) == []
    assert api.state["store"].read_events(0, 1000).last == lines + 3


async def test_strict_is_all_or_nothing(api: Api) -> None:
    """By default one bad e-mail means that none is accepted, and every fault is told by its pointer."""
    bad = {**LEAST, "to": "nobody", "sbject": "x"}
    response = await send(api, LEAST, bad, 7, {**LEAST, "attachments": [{"filename": "a", "sha256": "0" * 64}]})
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == [
        "/emails/1/sbject",
        "/emails/1/to",
        "/emails/2",
        "/emails/3/attachments/0/sha256",
    ]
    assert await ids(api) == []


async def test_permissive_accepts_what_it_can(api: Api) -> None:
    """The good ones are accepted in order, the others told by index with pointers into the body."""
    response = await send(api, {**LEAST, "to": []}, LEAST, "x", LEAST, mode="permissive")
    assert response.status_code == 201
    assert [one["id"] for one in response.json()["data"]] == await ids(api)
    assert response.json()["errors"] == [
        {"index": 0, "errors": [{"pointer": "/emails/0/to", "detail": "must have at least 1 entry"}]},
        {"index": 2, "errors": [{"pointer": "/emails/2", "detail": "must be an object, {...}"}]},
    ]
    assert len(await ids(api)) == 2


async def test_permissive_with_nothing_good_is_422(api: Api) -> None:
    """When no e-mail can be accepted there is nothing to answer 201 for."""
    response = await send(api, {**LEAST, "to": "nobody"}, mode="permissive")
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == ["/emails/0/to"]


@pytest.mark.parametrize(
    ("body", "where", "says"),
    [
        ({}, "/emails", "is required"),
        ({"emails": []}, "/emails", "must have at least 1 entry"),
        ({"emails": [LEAST] * 1001}, "/emails", "must have at most 1000 entries"),
        ({"emails": {}}, "/emails", "must be a list"),
        ({"emails": [LEAST], "mode": "loose"}, "/mode", "Input should be 'strict' or 'permissive'"),
        ({"emails": [LEAST], "mod": "strict"}, "/mod", "does not exist; did you mean mode?"),
    ],
)
async def test_a_bad_batch_says_what_is_right(api: Api, body: dict[str, Any], where: str, says: str) -> None:
    """The batch itself is checked before its e-mails are."""
    response = await api.http.post("/v1/emails/batch", json=body)
    assert problem(response) == (422, "invalid_request")
    assert response.json()["errors"] == [{"pointer": where, "detail": says}]
    assert await ids(api) == []


async def test_a_thousand_at_once(api: Api, queue: Queue) -> None:
    """A batch of 1,000 is accepted as one write and enqueued as one call."""
    emails = [LEAST | {"to": f"u{n}@example.com", "scheduled_at": "2030-01-01T00:00:00Z"} for n in range(1000)]
    response = await send(api, *emails)
    assert (response.status_code, len(response.json()["data"])) == (201, 1000)
    assert (await queue.stats()).scheduled == 1000


async def test_the_faults_of_a_hostile_batch_are_bounded(api: Api) -> None:
    """A thousand e-mails of a hundred mistakes get an answer of at most a hundred faults, soon."""
    worst = [{f"subjekt{n}": 1 for n in range(100)} for _ in range(1000)]
    async with asyncio.timeout(30):
        for mode in ("strict", "permissive"):
            response = await send(api, *worst, mode=mode)
            assert problem(response) == (422, "invalid_request")
            assert len(response.json()["errors"]) == 100
