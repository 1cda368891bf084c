"""``PATCH /v1/emails/{id}``: reschedule and edit, as long as it is not too late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.email import life
from service.email.record import Ending, Outcome, Reply
from service.email.times import from_z, to_z
from tests.integration.api import Api, problem, running
from zqueue import JobState, Queue, fixed

AT = "2030-01-01T00:00:00.000000Z"
LATER = "2030-02-01T00:00:00.000000Z"


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


async def patch(api: Api, record: dict[str, Any], rev: str | None = None, **fields: Any) -> httpx.Response:
    """Ask for *fields* to be otherwise."""
    headers = {} if rev is None else {"If-Match": rev}
    return await api.http.patch(f"/v1/emails/{record['id']}", json=fields, headers=headers)


async def attempt(api: Api, email_id: str, reply: Reply) -> None:
    """Try to send an e-mail that is due, to a relay that answers *reply*."""
    store = api.state["store"]
    email = store.get(email_id)
    assert email is not None
    assert email.state.next_attempt_at is not None
    now = email.state.next_attempt_at
    begin = partial(life.begin, now=now, rev=email.rev, by=store.by, date=now, digest="d")
    run = (await store.change(email_id, begin)).state.run
    outcome = Outcome(Ending.ANSWERED, {"b@example.com": reply})
    settle = partial(life.settle, now=now, run=run, outcome=outcome, backoff=fixed(60), on_unknown="retry")
    await store.change(email_id, settle)


async def test_a_new_time_is_a_new_job(api: Api, queue: Queue) -> None:
    """A rescheduled e-mail has a job of the next generation at its new time, and the old job is gone."""
    record = await api.accept(scheduled_at=AT)
    response = await patch(api, record, scheduled_at="2030-02-01T01:00:00", timezone="Europe/Berlin")
    assert (response.status_code, response.headers["etag"]) == (200, '"2"')
    assert response.json() == record | {
        "rev": 2,
        "scheduled_at": LATER,
        "next_attempt_at": LATER,
        "retry_until": to_z(from_z(LATER) + timedelta(days=5)),
    }
    old, new = await queue.get(f"{record['id']}.1"), await queue.get(f"{record['id']}.2")
    assert old is None
    assert new is not None
    assert (new.state, new.due_at) == (JobState.SCHEDULED, from_z(LATER))


async def test_content_is_edited_before_the_first_attempt(api: Api, queue: Queue) -> None:
    """Each field that is given is replaced, null sets it back, all others stay; the job is the same."""
    record = await api.accept(
        scheduled_at=AT, to=["Bob <b@example.com>", "c@example.com"], cc="d@example.com", html="<p>Hi</p>", tags=["a"]
    )
    response = await patch(
        api, record, subject="Better", to="e@example.com", html=None, tags=["b"], envelope_from="bounces@example.com"
    )
    assert response.status_code == 200, response.text
    assert response.json() == record | {
        "rev": 2,
        "subject": "Better",
        "to": ["e@example.com"],
        "html": None,
        "tags": ["b"],
        "envelope_from": "bounces@example.com",
        "recipients": [
            {"address": address, "status": "pending", "code": None, "reply": None}
            for address in ("e@example.com", "d@example.com")
        ],
    }
    assert await queue.missing([f"{record['id']}.1"]) == []
    assert (await api.http.get(f"/v1/emails/{record['id']}")).json() == response.json()


async def test_attachments_can_be_replaced_and_stay_otherwise(api: Api) -> None:
    """An edit of something else keeps the attachments; a new list of them takes their place."""
    record = await api.accept(scheduled_at=AT, attachments=[{"filename": "a.txt", "content": "QQ=="}])
    edited = (await patch(api, record, subject="x")).json()
    assert edited["attachments"] == record["attachments"]
    keep = {name: record["attachments"][0][name] for name in ("filename", "sha256")}
    both = (await patch(api, record, attachments=[keep, {"filename": "b.txt", "content": "Qg=="}])).json()
    assert [one["filename"] for one in both["attachments"]] == ["a.txt", "b.txt"]
    assert (await patch(api, record, attachments=None)).json()["attachments"] == []


async def test_a_template_can_take_the_place_of_the_bodies(api: Api) -> None:
    """An edit may name a template; what it made stays until a body is given."""
    await api.http.put("/v1/templates/news", json={"subject": "News for {{ name }}", "text": "Hi {{ name }}"})
    record = await api.accept(scheduled_at=AT, html="<p>Hi</p>", cc="c@example.com")
    filled = (await patch(api, record, template={"name": "news", "variables": {"name": "Ann"}})).json()
    parts = ("subject", "text", "html", "template", "cc")
    assert [filled[part] for part in parts] == ["News for Ann", "Hi Ann", None, "news@1", ["c@example.com"]]
    moved = (await patch(api, record, cc=None)).json()
    assert [moved[part] for part in parts] == ["News for Ann", "Hi Ann", None, "news@1", []]
    edited = (await patch(api, record, text="Bye")).json()
    assert [edited[part] for part in parts] == ["News for Ann", "Bye", None, None, []]
    both = await patch(api, record, text="Bye", template={"name": "news", "variables": {"name": "Ann"}})
    assert problem(both) == (422, "invalid_request")
    assert [one["pointer"] for one in both.json()["errors"]] == ["/text"]


async def test_nothing_new_changes_nothing(api: Api) -> None:
    """A patch that asks for what is so already leaves the revision as it is."""
    record = await api.accept(scheduled_at=AT, tags=["a"])
    for fields in ({}, {"subject": record["subject"]}, {"scheduled_at": AT}, {"tags": ["a"], "max_retries": 3}):
        response = await patch(api, record, **fields)
        assert (response.status_code, response.json()) == (200, record)


async def test_retries_and_their_end(api: Api) -> None:
    """max_retries and retry_until can be changed; null sets them back to their defaults."""
    record = await api.accept(scheduled_at=AT)
    until = to_z(from_z(AT) + timedelta(hours=1))
    changed = (await patch(api, record, max_retries=0, retry_until=until)).json()
    assert (changed["max_retries"], changed["retry_until"]) == (0, until)
    assert (changed["next_attempt_at"], changed["rev"]) == (AT, 2)
    back = (await patch(api, record, max_retries=None, retry_until=None)).json()
    assert (back["max_retries"], back["retry_until"]) == (3, record["retry_until"])


async def test_an_end_of_ones_own_stays(api: Api) -> None:
    """An explicit retry_until does not move with the time, and a time after it is refused."""
    until = to_z(from_z(AT) + timedelta(hours=1))
    record = await api.accept(scheduled_at=AT, retry_until=until)
    sooner = to_z(from_z(AT) - timedelta(hours=1))
    assert (await patch(api, record, scheduled_at=sooner)).json()["retry_until"] == until
    response = await patch(api, record, scheduled_at=LATER)
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == ["/retry_until"]


async def test_once_tried_only_the_times_can_change(api: Api, queue: Queue) -> None:
    """While it is retrying, timing can be changed; content gets 409, for every attempt sends the same."""
    record = await api.accept(scheduled_at=to_z(api.state["outbox"].now() + timedelta(seconds=30)))
    await attempt(api, record["id"], Reply(451, "later"))
    response = await patch(api, record, subject="Better")
    assert problem(response) == (409, "email_retrying")
    assert "tried already" in response.json()["detail"]
    moved = await patch(api, record, scheduled_at=AT, max_retries=9)
    assert moved.status_code == 200, moved.text
    assert (moved.json()["status"], moved.json()["next_attempt_at"], moved.json()["max_retries"]) == (
        "retrying",
        AT,
        9,
    )
    job = await queue.get(f"{record['id']}.2")
    assert job is not None
    assert job.due_at == from_z(AT)


@pytest.mark.parametrize(("reply", "status"), [(Reply(250, "ok"), "completed"), (Reply(550, "no"), "failed")])
async def test_what_is_final_stays(api: Api, reply: Reply, status: str) -> None:
    """A completed or failed e-mail cannot be changed: 409."""
    record = await api.accept()
    await attempt(api, record["id"], reply)
    assert problem(await patch(api, record, scheduled_at=AT)) == (409, f"email_{status}")
    assert problem(await patch(api, record, subject="x")) == (409, f"email_{status}")


async def test_a_retried_email_keeps_its_content(api: Api) -> None:
    """After /retry an e-mail is scheduled again, but it was attempted: content stays, times may change."""
    record = await api.accept()
    await attempt(api, record["id"], Reply(550, "no"))
    await api.http.post(f"/v1/emails/{record['id']}/retry")
    assert problem(await patch(api, record, subject="x")) == (409, "email_scheduled")
    assert (await patch(api, record, scheduled_at=AT)).json()["next_attempt_at"] == AT


async def test_if_match_guards_every_change(api: Api) -> None:
    """PATCH, cancel and retry heed If-Match: another revision gets 412 and changes nothing."""
    record = await api.accept(scheduled_at=AT)
    assert (await patch(api, record, '"1"', subject="x")).status_code == 200
    assert problem(await patch(api, record, '"1"', subject="y")) == (412, "stale_revision")
    assert (await patch(api, record, '"7", "2"', subject="y")).json()["rev"] == 3
    assert (await patch(api, record, "*", subject="z")).json()["rev"] == 4
    assert problem(await patch(api, record, 'W/"4"', subject="x")) == (412, "stale_revision")
    assert problem(await patch(api, record, "4", subject="x")) == (412, "stale_revision")
    cancel = f"/v1/emails/{record['id']}/cancel"
    assert problem(await api.http.post(cancel, headers={"If-Match": '"3"'})) == (412, "stale_revision")
    assert (await api.http.post(cancel, headers={"If-Match": '"4"'})).json()["status"] == "cancelled"
    failed = await api.accept()
    await attempt(api, failed["id"], Reply(550, "no"))
    retry = f"/v1/emails/{failed['id']}/retry"
    assert problem(await api.http.post(retry, headers={"If-Match": '"1"'})) == (412, "stale_revision")
    assert (await api.http.post(retry, headers={"If-Match": '"3"'})).json()["rev"] == 4


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"subject": "a\nb", "to": "nobody", "sbject": 1}, ["/sbject", "/subject", "/to"]),
        ({"text": None}, ["/text"]),
        ({"from": None}, ["/from"]),
        ({"to": []}, ["/to"]),
        ({"scheduled_at": None}, ["/scheduled_at"]),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, ["/scheduled_at"]),
        ({"timezone": "Europe/Berlin"}, ["/timezone"]),
        ({"retry_until": "2029-01-01T00:00:00Z"}, ["/retry_until"]),
        ({"max_retries": -1}, ["/max_retries"]),
        ({"unsubscribe": True}, ["/unsubscribe"]),
        ({"status": "cancelled"}, ["/status"]),
        ({"cc": [f"u{n}@example.com" for n in range(100)]}, ["/to"]),
    ],
)
async def test_a_bad_patch_names_every_field(api: Api, fields: dict[str, Any], where: list[str]) -> None:
    """What a new e-mail may not have cannot come about by an edit, and nothing is changed."""
    record = await api.accept(scheduled_at=AT)
    response = await patch(api, record, **fields)
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == where
    assert (await api.http.get(f"/v1/emails/{record['id']}")).json() == record


async def test_a_concurrent_change_is_not_lost(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit that meets another one is made again from what that left: both are there in the end."""
    record = await api.accept(scheduled_at=AT)
    store, real, once = api.state["store"], api.state["store"].get, [True]

    def stale(email_id: str) -> Any:
        found = real(email_id)
        return first if once and once.pop() else found

    first = real(record["id"])
    await patch(api, record, tags=["b"])
    monkeypatch.setattr(store, "get", stale)
    response = await patch(api, record, subject="Better")
    assert (response.json()["subject"], response.json()["tags"], response.json()["rev"]) == ("Better", ["b"], 3)


async def test_an_unknown_email_is_404(api: Api) -> None:
    """There is nothing to change."""
    unknown = {"id": "em_01KAVWB3V3E7ZBYVG5Q8RFWT2N"}
    assert problem(await patch(api, unknown, subject="x")) == (404, "email_not_found")
    assert problem(await patch(api, unknown, '"1"', subject="x")) == (404, "email_not_found")
