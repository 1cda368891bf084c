"""Cancel and retry by filter, and the list of what is due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.email.record import Reply
from service.email.times import to_z
from service.outbox import bulk
from tests.integration.api import LEAST, Api, problem, running
from tests.integration.test_http_patch import attempt
from zqueue import Queue

AT = "2030-01-01T00:00:00Z"


@pytest.fixture
async def api(tmp_path: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The API on an empty store, which changes few e-mails by one write."""
    monkeypatch.setattr(bulk, "CHUNK", 7)
    async with running(tmp_path / "data", queue) as api:
        yield api


async def act(api: Api, action: str, **body: Any) -> dict[str, Any]:
    """The answer to a bulk action."""
    response = await api.http.post(f"/v1/emails/{action}", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def counts(answer: dict[str, Any]) -> tuple[int, int, int, int]:
    """What it counted."""
    return answer["matched"], answer["changed"], answer["unchanged"], answer["refused"]


async def statuses(api: Api) -> list[str]:
    """Of all e-mails, newest first."""
    return [one["status"] for one in (await api.http.get("/v1/emails", params={"limit": 100})).json()["data"]]


async def fill(api: Api, count: int, **fields: Any) -> None:
    """Accept *count* e-mails."""
    emails = [LEAST | {"scheduled_at": AT} | fields for _ in range(count)]
    response = await api.http.post("/v1/emails/batch", json={"emails": emails})
    assert response.status_code == 201, response.text


async def test_everything_that_matches_is_cancelled(api: Api, queue: Queue) -> None:
    """Not one page but all of it; what is not like the filter stays, and the jobs are taken back."""
    await fill(api, 30, tags=["news"])
    await fill(api, 2)
    answer = await act(api, "cancel", tag="news")
    assert answer == {
        "object": "bulk",
        "action": "cancel",
        "dry_run": False,
        "matched": 30,
        "changed": 30,
        "unchanged": 0,
        "refused": 0,
    }
    assert await statuses(api) == ["scheduled"] * 2 + ["cancelled"] * 30
    assert (await queue.stats()).scheduled == 2
    assert counts(await act(api, "cancel", tag="news")) == (30, 0, 30, 0)


async def test_a_dry_run_only_counts(api: Api) -> None:
    """It tells what would come of it, also for what it is too late for, and changes nothing."""
    await fill(api, 9)
    sent = await api.accept()
    await attempt(api, sent["id"], Reply(250, "ok"))
    before = api.state["store"].read_events(0, 1000).last
    assert counts(await act(api, "cancel", to="B@example.com", dry_run=True)) == (10, 9, 0, 1)
    assert counts(await act(api, "retry", q="hello", dry_run=True)) == (10, 0, 9, 1)
    assert api.state["store"].read_events(0, 1000).last == before
    assert counts(await act(api, "cancel", to="B@example.com")) == (10, 9, 0, 1)


async def test_failed_ones_are_retried(api: Api, queue: Queue) -> None:
    """All that failed in a span of time go out again, each under its next job."""
    records = [await api.accept() for _ in range(10)]
    for record in records[:8]:
        await attempt(api, record["id"], Reply(550, "no"))
    assert counts(await act(api, "retry", status="failed", scheduled_after="2020-01-01T00:00:00Z")) == (8, 8, 0, 0)
    assert await statuses(api) == ["scheduled"] * 10
    assert await queue.missing([f"{record['id']}.2" for record in records[:8]]) == []


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, [""]),
        ({"dry_run": True}, [""]),
        ({"status": "asleep", "dry_run": 1, "tags": ["x"]}, ["/dry_run", "/status", "/tags"]),
        ({"scheduled_after": "soon", "q": ""}, ["/q", "/scheduled_after"]),
        ({"status": "scheduled", "tag": None, "dry_run": None}, ["/dry_run", "/tag"]),
    ],
)
async def test_a_bulk_action_must_say_what_it_is_for(api: Api, body: dict[str, Any], pointers: list[str]) -> None:
    """Without a filter, or with a bad one, nothing is done."""
    await fill(api, 1)
    response = await api.http.post("/v1/emails/cancel", json=body)
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == pointers
    assert await statuses(api) == ["scheduled"]


async def test_what_is_due_comes_first(api: Api) -> None:
    """sort=scheduled_at lists what is not final by its time, page by page."""
    now = api.state["outbox"].now()
    times = [now + timedelta(hours=hours) for hours in (3, 1, 5, 2, 4)]
    records = [await api.accept(scheduled_at=to_z(at)) for at in times]
    await api.http.post(f"/v1/emails/{records[2]['id']}/cancel")
    expected = [records[n]["id"] for n in (1, 3, 0, 4)]
    first = (await api.http.get("/v1/emails", params={"sort": "scheduled_at", "limit": 3})).json()
    assert ([one["id"] for one in first["data"]], first["has_more"], first["before"]) == (expected[:3], True, None)
    rest = {"sort": "scheduled_at", "limit": 3, "after": first["after"]}
    second = (await api.http.get("/v1/emails", params=rest)).json()
    assert ([one["id"] for one in second["data"]], second["has_more"]) == (expected[3:], False)


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("sort=created_at", ["sort"]),
        ("sort=scheduled_at&before=5", ["before"]),
        ("sort=scheduled_at&after=5", ["after"]),
        ("after=2026-11-24T13:00:00.000000Z.em_01KAVWB3V3E7ZBYVG5Q8RFWT2N", ["after"]),
    ],
)
async def test_a_bad_order_is_named(api: Api, query: str, pointers: list[str]) -> None:
    """Cursors belong to the order that gave them."""
    response = await api.http.get(f"/v1/emails?{query}")
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == pointers
