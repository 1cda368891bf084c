"""The API of e-mails, end to end but for the sending."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from service.email import life
from service.email.record import Ending, Outcome, Reply
from service.email.times import from_z, to_z
from tests.integration.api import Api, problem, running
from zqueue import JobState, Queue, fixed


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


async def fail(api: Api, email_id: str) -> None:
    """Send an e-mail to a relay that refuses it."""
    store, now = api.state["store"], api.state["outbox"].now()
    rev = getattr(store.get(email_id), "rev", 0)
    await store.change(email_id, partial(life.begin, now=now, rev=rev, by=store.by, date=now, digest="d"))
    outcome = Outcome(Ending.ANSWERED, {"b@example.com": Reply(550, "no such user")})
    await store.change(
        email_id, partial(life.settle, now=now, run=1, outcome=outcome, backoff=fixed(1), on_unknown="retry")
    )


async def test_an_accepted_email_is_stored_and_enqueued(api: Api, queue: Queue) -> None:
    """POST answers 201 with the whole record, and its job waits for the same moment."""
    at = to_z(api.state["outbox"].now() + timedelta(hours=1))
    response = await api.http.post(
        "/v1/emails",
        json={
            "from": "Ann <a@example.com>",
            "to": ["Bob <b@example.com>"],
            "cc": "c@example.com",
            "bcc": "b@example.com",
            "subject": "Hello",
            "text": "Hi",
            "headers": {"X-A": "1"},
            "tags": ["t"],
            "scheduled_at": at,
            "max_retries": 1,
        },
    )
    record = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/emails/{record['id']}"
    assert response.headers["etag"] == '"1"'
    assert record == {
        "id": record["id"],
        "object": "email",
        "status": "scheduled",
        "reason": None,
        "rev": 1,
        "message_id": f"<{record['id']}@example.com>",
        "from": "Ann <a@example.com>",
        "to": ["Bob <b@example.com>"],
        "cc": ["c@example.com"],
        "bcc": ["b@example.com"],
        "reply_to": [],
        "subject": "Hello",
        "headers": {"X-A": "1"},
        "tags": ["t"],
        "template": None,
        "envelope_from": None,
        "attachments": [],
        "created_at": record["created_at"],
        "scheduled_at": at,
        "next_attempt_at": at,
        "attempts": 0,
        "max_retries": 1,
        "retry_until": to_z(from_z(at) + timedelta(days=5)),
        "last_error": None,
        "recipients": [
            {"address": "b@example.com", "status": "pending", "code": None, "reply": None},
            {"address": "c@example.com", "status": "pending", "code": None, "reply": None},
        ],
        "text": "Hi",
        "html": None,
    }
    job = await queue.get(f"{record['id']}.1")
    assert job is not None
    assert (job.state, job.payload, job.due_at, job.group) == (
        JobState.SCHEDULED,
        {"store": api.state["store"].id},
        from_z(at),
        "example.com",
    )


async def test_an_email_without_a_time_is_due_now(api: Api) -> None:
    """Without scheduled_at the time is the queue server's now."""
    before = api.state["outbox"].now()
    record = await api.accept()
    assert before <= from_z(record["scheduled_at"]) <= api.state["outbox"].now()
    assert record["created_at"] == record["scheduled_at"] == record["next_attempt_at"]


async def test_a_record_reads_back_the_same(api: Api) -> None:
    """GET shows what POST answered, by its revision."""
    record = await api.accept()
    response = await api.http.get(f"/v1/emails/{record['id']}")
    assert (response.status_code, response.json(), response.headers["etag"]) == (200, record, '"1"')
    for known in ('"1"', '"7", W/"1"', "*"):
        again = await api.http.get(f"/v1/emails/{record['id']}", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", '"1"')
    other = await api.http.get(f"/v1/emails/{record['id']}", headers={"If-None-Match": '"2", 1'})
    assert other.status_code == 200


async def test_cancel_takes_back_the_email_and_its_job(api: Api, queue: Queue) -> None:
    """A cancelled e-mail has no job, and cancelling it again changes nothing."""
    record = await api.accept(scheduled_at="2030-01-01T00:00:00Z")
    first = await api.http.post(f"/v1/emails/{record['id']}/cancel")
    second = await api.http.post(f"/v1/emails/{record['id']}/cancel")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == record | {"status": "cancelled", "rev": 2, "next_attempt_at": None}
    assert second.json() == first.json()
    assert await queue.get(f"{record['id']}.1") is None


async def test_cancel_and_retry_come_too_late(api: Api) -> None:
    """A failed e-mail cannot be cancelled, nor a cancelled one retried: 409 says where it stands."""
    failed, cancelled = await api.accept(), await api.accept()
    await fail(api, failed["id"])
    await api.http.post(f"/v1/emails/{cancelled['id']}/cancel")
    assert problem(await api.http.post(f"/v1/emails/{failed['id']}/cancel")) == (409, "email_failed")
    response = await api.http.post(f"/v1/emails/{cancelled['id']}/retry")
    assert problem(response) == (409, "email_cancelled")
    assert response.json()["detail"] == "It is too late to retry this e-mail: it is cancelled."


async def test_retry_sends_a_failed_email_again(api: Api, queue: Queue) -> None:
    """A retry schedules a failed e-mail for now under a new job, and once is as good as twice."""
    record = await api.accept()
    await fail(api, record["id"])
    response = await api.http.post(f"/v1/emails/{record['id']}/retry")
    again = await api.http.post(f"/v1/emails/{record['id']}/retry")
    assert (response.status_code, response.json()["status"], response.json()["rev"]) == (200, "scheduled", 4)
    assert again.json() == response.json()
    job = await queue.get(f"{record['id']}.2")
    assert job is not None
    assert job.due_at == from_z(response.json()["next_attempt_at"])


async def test_events_tell_the_story(api: Api) -> None:
    """The events of an e-mail are its whole history, oldest first."""
    record = await api.accept()
    await fail(api, record["id"])
    answer = (await api.http.get(f"/v1/emails/{record['id']}/events")).json()
    assert (answer["object"], answer["has_more"]) == ("list", False)
    assert [(event["type"], event["run"]) for event in answer["data"]] == [
        ("email.scheduled", 0),
        ("email.sending", 1),
        ("email.failed", 1),
    ]
    assert [event["seq"] for event in answer["data"]] == sorted(event["seq"] for event in answer["data"])
    assert answer["data"][2]["data"]["error"] == "550 no such user"
    assert all(event["email_id"] == record["id"] and event["at"].endswith("Z") for event in answer["data"])


@pytest.mark.parametrize("email_id", ["em_01KAVWB3V3E7ZBYVG5Q8RFWT2N", "em_x", "..%2f..%2fetc%2fpasswd", "%00"])
async def test_an_unknown_email_is_404(api: Api, email_id: str) -> None:
    """Whatever is no id of an e-mail is not found, on every route."""
    for method, path in [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")]:
        status, code = problem(await api.http.request(method, f"/v1/emails/{email_id}{path}"))
        assert (status, code) in {(404, "email_not_found"), (404, "not_found")}


async def test_lists_page_in_both_directions(api: Api) -> None:
    """A list is newest first, without bodies, and its cursors lead to the page after and the page before."""
    ids = [(await api.accept())["id"] for _ in range(5)][::-1]
    first = (await api.http.get("/v1/emails", params={"limit": 2})).json()
    assert ([one["id"] for one in first["data"]], first["has_more"], first["object"]) == (ids[:2], True, "list")
    assert "text" not in first["data"][0]
    second = (await api.http.get("/v1/emails", params={"limit": 2, "after": first["after"]})).json()
    assert ([one["id"] for one in second["data"]], second["has_more"]) == (ids[2:4], True)
    third = (await api.http.get("/v1/emails", params={"limit": 2, "after": second["after"]})).json()
    assert ([one["id"] for one in third["data"]], third["has_more"]) == (ids[4:], False)
    back = (await api.http.get("/v1/emails", params={"limit": 2, "before": second["before"]})).json()
    assert ([one["id"] for one in back["data"]], back["has_more"]) == (ids[:2], False)
    end = (await api.http.get("/v1/emails", params={"after": third["after"]})).json()
    assert end == {"object": "list", "has_more": False, "after": None, "before": None, "data": []}


async def test_lists_are_filtered(api: Api) -> None:
    """Each filter narrows the list, and several narrow it together."""
    a = await api.accept(to="ann@example.com", tags=["x"], scheduled_at="2030-01-01T00:00:00Z", subject="Invoice 7")
    b = await api.accept(to="bob@example.com", tags=["x", "y"], scheduled_at="2031-01-01T00:00:00Z")
    await api.http.post(f"/v1/emails/{b['id']}/cancel")

    async def ids(**query: str) -> list[str]:
        response = await api.http.get("/v1/emails", params=query)
        assert response.status_code == 200, response.text
        return [one["id"] for one in response.json()["data"]]

    assert await ids(status="scheduled") == [a["id"]]
    assert await ids(to="bob@example.com") == [b["id"]]
    assert await ids(tag="x") == [b["id"], a["id"]]
    assert await ids(tag="x", status="cancelled") == [b["id"]]
    assert await ids(scheduled_after="2030-06-01T00:00:00Z") == [b["id"]]
    assert await ids(scheduled_before="2030-06-01T02:00:00+02:00") == [a["id"]]
    assert await ids(q="invoice") == [a["id"]]
    assert await ids(q="nothing") == []


async def test_a_bad_query_names_every_parameter(api: Api) -> None:
    """All bad parameters of a list are told at once."""
    response = await api.http.get(
        "/v1/emails?status=asleep&limit=0&after=x&before=5&statuses=x&tag=&tag=b&scheduled_after=now&q="
    )
    assert problem(response) == (422, "invalid_request")
    assert [(one["pointer"], one["detail"]) for one in response.json()["errors"]] == [
        ("after", "must be a cursor that an earlier answer gave"),
        ("before", "cannot be used together with after"),
        ("limit", "must be a whole number from 1 to 100"),
        ("q", "must be 1 to 500 characters long"),
        (
            "scheduled_after",
            "must be a date and time with seconds and an offset, such as "
            "2026-11-24T09:30:00Z or 2026-11-24T09:30:00+01:00",
        ),
        ("status", "must be one of scheduled, sending, retrying, completed, failed, held, cancelled"),
        ("statuses", "does not exist; did you mean status?"),
        ("tag", "is given more than once"),
    ]


async def test_an_offset_typed_into_a_query_is_understood(api: Api) -> None:
    """A plus sign that arrives as a blank still means an offset."""
    response = await api.http.get("/v1/emails?scheduled_after=2026-11-24T09:30:00+01:00")
    assert response.status_code == 200


async def test_what_was_accepted_outlives_the_process(tmp_path: Path, queue: Queue) -> None:
    """A new API over the same data directory shows every e-mail as it was."""
    async with running(tmp_path / "data", queue) as api:
        record = await api.accept()
    async with running(tmp_path / "data", queue) as api:
        assert (await api.http.get(f"/v1/emails/{record['id']}")).json() == record


async def test_a_default_sender_is_used(tmp_path: Path, queue: Queue) -> None:
    """SERVICE_DEFAULT_FROM stands in for a missing from."""
    async with running(tmp_path / "data", queue, default_from="Shop <shop@example.com>") as api:
        response = await api.http.post("/v1/emails", json={"to": "b@example.com", "text": "Hi"})
        assert (response.status_code, response.json()["from"]) == (201, "Shop <shop@example.com>")


async def test_a_time_just_past_is_sent_now(api: Api) -> None:
    """A scheduled_at up to five minutes ago is taken for now; an older one is refused."""
    now = datetime.now(UTC)
    record = await api.accept(scheduled_at=to_z(now - timedelta(minutes=4)))
    assert from_z(record["scheduled_at"]) >= now - timedelta(seconds=1)
    old = {"from": "a@example.com", "to": "b@example.com", "text": "x", "scheduled_at": to_z(now - timedelta(hours=1))}
    assert problem(await api.http.post("/v1/emails", json=old)) == (422, "invalid_request")
