"""The suppression list over HTTP, and e-mails to addresses that are on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.access import keys
from service.access.scopes import Scope
from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


async def suppress(api: Api, addresses: Any, **fields: Any) -> list[dict[str, Any]]:
    """Suppress addresses; their entries."""
    response = await api.http.post("/v1/suppressions", json={"addresses": addresses} | fields)
    assert response.status_code == 200, response.text
    entries: list[dict[str, Any]] = response.json()["data"]
    return entries


async def test_an_address_is_suppressed_and_looked_up(api: Api) -> None:
    """In whatever case it is written, and with its domain in either form."""
    (entry,) = await suppress(api, "Ann@Bücher.Example", detail="asked by phone")
    assert entry == {
        "object": "suppression",
        "address": "ann@bücher.example",
        "reason": "manual",
        "email_id": None,
        "detail": "asked by phone",
        "created_at": entry["created_at"],
        "updated_at": entry["created_at"],
    }
    for address in ("ann@bücher.example", "ANN@xn--bcher-kva.example"):
        assert (await api.http.get(f"/v1/suppressions/{address}")).json() == entry
    for address in ("bob@example.org", "nonsense", "a/b@example.org"):
        assert problem(await api.http.get(f"/v1/suppressions/{address}")) == (404, "suppression_not_found")


async def test_many_are_suppressed_at_once(api: Api) -> None:
    """All in one write; an address that is given twice is one entry."""
    before = api.state["store"].seq
    entries = await suppress(api, [f"u{n}@example.org" for n in range(999)] + ["U0@example.org"], reason="complaint")
    assert (len(entries), {entry["reason"] for entry in entries}) == (999, {"complaint"})
    assert api.state["store"].seq == before + 999


async def test_the_weightier_reason_is_kept(api: Api) -> None:
    """Who unsubscribed stays so, though the address bounces later; who complained does for that."""
    reasons = ["bounce", "manual", "unsubscribe", "bounce", "complaint", "unsubscribe", "complaint"]
    found = [(await suppress(api, "a@example.org", reason=reason))[0]["reason"] for reason in reasons]
    assert found == ["bounce", "manual", "unsubscribe", "unsubscribe", "complaint", "complaint", "complaint"]
    events = (await api.http.get("/v1/events")).json()["data"]
    assert [(event["type"], event["subject"], event["data"]) for event in events] == [
        ("suppression.added", "suppression:a@example.org", {}),
        *[("suppression.updated", "suppression:a@example.org", {})] * 3,
    ]


async def test_the_list_goes_page_by_page(api: Api) -> None:
    """By address, all of them or those of one reason."""
    await suppress(api, ["c@example.org", "a@example.org"])
    await suppress(api, ["b@example.org", "d@example.org"], reason="bounce")
    page = (await api.http.get("/v1/suppressions?limit=3")).json()
    assert [one["address"] for one in page.pop("data")] == ["a@example.org", "b@example.org", "c@example.org"]
    assert page == {"object": "list", "has_more": True, "after": "c@example.org"}
    rest = (await api.http.get("/v1/suppressions?limit=3&after=c@example.org")).json()
    assert ([one["address"] for one in rest["data"]], rest["has_more"]) == (["d@example.org"], False)
    for query, found, more in (
        ("", ["b", "d"], False),
        ("&limit=1", ["b"], True),
        ("&after=b@example.org", ["d"], False),
    ):
        page = (await api.http.get(f"/v1/suppressions?reason=bounce{query}")).json()
        assert ([one["address"][0] for one in page["data"]], page["has_more"]) == (found, more)
    assert (await api.http.get("/v1/suppressions?reason=complaint")).json()["data"] == []


async def test_an_entry_is_deleted(api: Api) -> None:
    """From then on the address gets e-mails again; a key must be an administrator's for that."""
    await suppress(api, ["a@example.org", "b@example.org"])
    response = await api.http.delete("/v1/suppressions/A@example.org")
    assert (response.status_code, response.content) == (204, b"")
    assert problem(await api.http.delete("/v1/suppressions/a@example.org")) == (404, "suppression_not_found")
    assert (await api.accept(to="a@example.org"))["status"] == "scheduled"
    _, token = await keys.create(
        api.state["store"], name="", scopes=frozenset({Scope.SEND, Scope.READ}), expires_at=None, by="a test"
    )
    api.http.headers["authorization"] = f"Bearer {token}"
    await suppress(api, "c@example.org")
    answer = await api.http.delete("/v1/suppressions/b@example.org")
    assert problem(answer) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, [("/addresses", "is required")]),
        ({"addresses": []}, [("/addresses", "must have 1 to 1,000 entries")]),
        ({"addresses": ["a@example.org"] * 1_001}, [("/addresses", "must have 1 to 1,000 entries")]),
        ({"addresses": 5}, [("/addresses", "must be an address or a list of addresses")]),
        ({"addresses": ["a@example.org", 5]}, [("/addresses/1", "must be a string")]),
        (
            {"addresses": "Ann <a@example.org>", "reasn": "bounce"},
            [
                ("/addresses", "must be an address alone, such as ann@example.org"),
                ("/reasn", "does not exist; did you mean reason?"),
            ],
        ),
        (
            {"addresses": "a@example.org", "reason": "because", "detail": "x" * 501},
            [
                ("/detail", "must be at most 500 characters long"),
                ("/reason", "Input should be 'bounce', 'manual', 'unsubscribe' or 'complaint'"),
            ],
        ),
    ],
)
async def test_what_cannot_be_suppressed_is_refused(api: Api, body: Any, told: list[tuple[str, str]]) -> None:
    """With every bad field named; nothing is suppressed."""
    response = await api.http.post("/v1/suppressions", json=body)
    assert problem(response) == (422, "invalid_request")
    assert [(one["pointer"], one["detail"]) for one in response.json()["errors"]] == told
    assert (await api.http.get("/v1/suppressions")).json()["data"] == []


async def test_a_wrong_query_is_refused(api: Api) -> None:
    """With every bad parameter named."""
    response = await api.http.get("/v1/suppressions?reason=x&limit=0&page=2")
    assert problem(response) == (422, "invalid_request")
    assert [one["pointer"] for one in response.json()["errors"]] == ["limit", "page", "reason"]
    assert problem(await api.http.get("/v1/suppressions?reason=bounce&reason=manual")) == (422, "invalid_request")


async def test_nobody_to_send_to(api: Api) -> None:
    """An e-mail whose recipients are all suppressed is accepted as failed, and nothing is put into the queue."""
    await suppress(api, ["ann@example.org", "bob@example.org"], reason="bounce")
    record = await api.accept(to="Ann@example.org", cc=["bob@EXAMPLE.org"])
    assert (record["status"], record["reason"], record["next_attempt_at"]) == ("failed", "suppressed", None)
    assert [(one["address"], one["status"]) for one in record["recipients"]] == [
        ("Ann@example.org", "suppressed"),
        ("bob@example.org", "suppressed"),
    ]
    events = (await api.http.get(f"/v1/emails/{record['id']}/events")).json()["data"]
    assert [event["type"] for event in events] == ["email.failed"]
    assert (await api.state["queue"].stats()).scheduled == 0


async def test_one_of_several_is_passed_over(api: Api) -> None:
    """The others get the e-mail; so it is in a batch, and when recipients are changed."""
    await suppress(api, "ann@example.org")
    record = await api.accept(to=["ann@example.org", "bob@example.org"], scheduled_at="2030-01-01T00:00:00Z")
    assert record["status"] == "scheduled"
    assert [one["status"] for one in record["recipients"]] == ["suppressed", "pending"]
    batch = {"emails": [LEAST | {"to": "ann@example.org"}, LEAST | {"to": "bob@example.org"}]}
    made = (await api.http.post("/v1/emails/batch", json=batch)).json()["data"]
    found = [(await api.http.get(f"/v1/emails/{one['id']}")).json()["status"] for one in made]
    assert found == ["failed", "scheduled"]
    changed = await api.http.patch(f"/v1/emails/{record['id']}", json={"to": ["eve@example.org", "ann@example.org"]})
    assert [one["status"] for one in changed.json()["recipients"]] == ["pending", "suppressed"]
