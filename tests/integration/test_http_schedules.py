"""The API of schedules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.email.times import from_z
from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue, cron

DAILY: dict[str, Any] = {"cron": "0 9 * * *", "timezone": "Europe/Berlin", "email": LEAST}


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


async def put(api: Api, name: str, status: int = 201, **fields: Any) -> dict[str, Any]:
    """Write a schedule like `DAILY` but for *fields*; the answer."""
    response = await api.http.put(f"/v1/schedules/{name}", json=DAILY | fields)
    assert response.status_code == status, response.text
    assert response.headers["etag"] == f'"{response.json()["rev"]}"'
    record: dict[str, Any] = response.json()
    return record


async def test_a_schedule_is_written_and_read(api: Api, queue: Queue) -> None:
    """It shows when it fires next, and is in the queue for that moment."""
    record = await put(api, "daily")
    (first, *_) = record["next_fires"]
    assert record == {
        "object": "schedule",
        "name": "daily",
        "rev": 1,
        "status": "active",
        "cron": "0 9 * * *",
        "every": None,
        "timezone": "Europe/Berlin",
        "misfire": "once",
        "email": LEAST,
        "next_fires": record["next_fires"],
        "last_slot": None,
        "last_fired_at": None,
        "last_email_id": None,
        "last_error": None,
        "created_at": record["created_at"],
        "updated_at": record["created_at"],
    }
    assert len(record["next_fires"]) == 5
    assert from_z(first) == cron("0 9 * * *", "Europe/Berlin").next_after(queue.now())
    (there,) = await queue.recurring()
    assert (there.name, there.next_at, there.task) == ("daily", from_z(first), "schedule")
    assert (await api.http.get("/v1/schedules/daily")).json() == record
    assert await put(api, "daily", 200) == record
    assert (await put(api, "daily", 200, misfire="skip"))["rev"] == 2
    assert problem(await api.http.get("/v1/schedules/other")) == (404, "schedule_not_found")


async def test_schedules_are_listed_by_name(api: Api) -> None:
    """Page by page."""
    for name in "cab":
        await put(api, name)
    page = (await api.http.get("/v1/schedules?limit=2")).json()
    assert [one["name"] for one in page.pop("data")] == ["a", "b"]
    assert page == {"object": "list", "has_more": True, "after": "b"}
    rest = (await api.http.get("/v1/schedules?after=b")).json()
    assert ([one["name"] for one in rest["data"]], rest["has_more"]) == (["c"], False)


@pytest.mark.parametrize(
    ("query", "where"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("limit=101", "limit"), ("after=a&after=b", "after"), ("q=x", "q")],
)
async def test_a_bad_page_is_refused(api: Api, query: str, where: str) -> None:
    """An unknown parameter, too."""
    response = await api.http.get(f"/v1/schedules?{query}")
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == [where]


async def test_pause_and_resume(api: Api, queue: Queue) -> None:
    """Both are idempotent; a paused one is not in the queue, and a PUT leaves it paused unless it says otherwise."""
    await put(api, "daily")
    for _ in range(2):
        paused = (await api.http.post("/v1/schedules/daily/pause")).json()
        assert (paused["status"], paused["rev"], paused["next_fires"]) == ("paused", 2, [])
    assert await queue.recurring() == []
    assert (await put(api, "daily", 200, cron="0 8 * * *"))["status"] == "paused"
    resumed = (await api.http.post("/v1/schedules/daily/resume")).json()
    assert (resumed["status"], resumed["rev"], len(resumed["next_fires"])) == ("active", 4, 5)
    assert len(await queue.recurring()) == 1
    assert (await put(api, "daily", 200, paused=True))["status"] == "paused"
    for step in ("pause", "resume", "run"):
        assert problem(await api.http.post(f"/v1/schedules/other/{step}")) == (404, "schedule_not_found")


async def test_run_now(api: Api) -> None:
    """The e-mail is sent at once, as often as it is asked for, or once for one idempotency key."""
    record = await put(api, "daily", email=LEAST | {"tags": ["daily"]})
    first = await api.http.post("/v1/schedules/daily/run")
    assert (first.status_code, first.json()["tags"]) == (201, ["daily"])
    assert first.headers["location"] == f"/v1/emails/{first.json()['id']}"
    key = {"Idempotency-Key": "k"}
    again = [await api.http.post("/v1/schedules/daily/run", headers=key) for _ in range(2)]
    assert [one.headers.get("idempotent-replayed") for one in again] == [None, "true"]
    assert again[0].json()["id"] == again[1].json()["id"] != first.json()["id"]
    assert len((await api.http.get("/v1/emails?tag=daily")).json()["data"]) == 2
    assert (await api.http.get("/v1/schedules/daily")).json() == record


async def test_a_schedule_is_deleted(api: Api, queue: Queue) -> None:
    """It is gone, from the queue as well."""
    await put(api, "daily")
    response = await api.http.delete("/v1/schedules/daily")
    assert (response.status_code, response.content) == (204, b"")
    assert await queue.recurring() == []
    assert problem(await api.http.delete("/v1/schedules/daily")) == (404, "schedule_not_found")
    assert problem(await api.http.get("/v1/schedules/daily")) == (404, "schedule_not_found")


async def test_if_match_guards_a_revision(api: Api) -> None:
    """Another revision than the one that is meant is not changed."""
    await put(api, "a")
    stale, fresh = {"If-Match": '"2"'}, {"If-Match": '"1"'}
    for method, path in (("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")):
        response = await api.http.request(method, f"/v1/schedules/a{path}", headers=stale)
        assert problem(response) == (412, "stale_revision")
    assert problem(await api.http.put("/v1/schedules/a", json=DAILY, headers=stale)) == (412, "stale_revision")
    assert (await api.http.post("/v1/schedules/a/pause", headers=fresh)).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"cron": "0 25 * * *"}, ["/cron"]),
        ({"timezone": "Nowhere"}, ["/timezone"]),
        ({"email": {"to": "nobody"}, "misfire": 5}, ["/misfire"]),
        ({"email": {"to": "nobody"}}, ["/email/from", "/email/text", "/email/to"]),
        ({"email": LEAST | {"scheduled_at": "2030-01-01T00:00:00Z"}}, ["/email/scheduled_at"]),
        (
            {"email": {"from": "a@example.com", "to": "b@example.com", "template": {"name": "x"}}},
            ["/email/template/name"],
        ),
    ],
)
async def test_what_is_no_schedule_is_refused(api: Api, wrong: dict[str, Any], where: list[str]) -> None:
    """Every bad field is named, those of the e-mail by their place in the body."""
    response = await api.http.put("/v1/schedules/a", json=DAILY | wrong)
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == where
    assert (await api.http.get("/v1/schedules")).json()["data"] == []


async def test_a_schedule_is_kept_while_the_queue_is_away(tmp_path: Path, short_folder: Path) -> None:
    """The store has it, which is what counts: the reconciler puts it into the queue once that is back."""
    away = Queue("mail", f"unix://{short_folder}/nobody.sock")
    async with away, running(tmp_path / "data", away) as api:
        record = await put(api, "daily")
        assert (await api.http.get("/v1/schedules/daily")).json() == record
