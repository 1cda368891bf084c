"""``GET /v1/events`` as a list."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.access import keys
from service.access.scopes import Scope
from tests.integration.api import Api, running
from zqueue import Queue


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


async def accept(api: Api) -> str:
    """A new e-mail, due in a year."""
    return str((await api.accept(scheduled_at="2027-11-24T12:00:00Z"))["id"])


async def note(api: Api, type_: str, **data: Any) -> None:
    """Write an event."""
    await api.state["store"].write(lambda it: it.note("key:test", type_, data))


async def test_a_list_goes_through_the_log(api: Api) -> None:
    """Oldest first, page after page by `after`; a list of one e-mail or of some types has only those."""
    first, second = await accept(api), await accept(api)
    await api.http.post(f"/v1/emails/{first}/cancel")
    await note(api, "key.refused", why="expired")

    async def page(query: str) -> tuple[list[int], str, bool, bool]:
        found: dict[str, Any] = (await api.http.get(f"/v1/events{query}")).json()
        return [event["seq"] for event in found["data"]], found["after"], found["has_more"], found["reset"]

    assert await page("?limit=3") == ([1, 2, 3], "3", True, False)
    assert await page("?limit=3&after=3") == ([4], "4", False, False)
    assert await page("?types=key.*") == ([4], "4", False, False)
    assert await page(f"?email_id={first}&limit=1") == ([1], "1", True, False)
    assert await page(f"?email_id={first}&after=1") == ([3], "4", False, False)
    assert await page("?after=99") == ([], "4", False, True)
    assert (await api.http.get(f"/v1/events?email_id={second}")).json()["data"][0]["email_id"] == second
    last = (await api.http.get("/v1/events?after=3")).json()["data"][0]
    assert (last["subject"], last["data"]) == ("key:test", {"why": "expired"})


async def test_what_is_in_a_document_is_told_nobody(api: Api) -> None:
    """Of a document an event tells which one and its revision; of a webhook's progress nothing at all."""

    def write(it: Any) -> None:
        it.put("secret", "s", {"value": "hush"}, type="webhook.created")
        it.put("webhook", "w", {"cursor": 1}, type="webhook.progress")

    await api.state["store"].write(write)
    response = await api.http.get("/v1/events")
    assert "hush" not in response.text
    told = [(event["type"], event["subject"], event["rev"], event["data"]) for event in response.json()["data"]]
    assert told == [("webhook.created", "secret:s", 1, {})]


async def test_who_did_what_is_for_admins(api: Api) -> None:
    """With a key that may only read, events of the audit are neither listed nor streamed."""
    tokens = {}
    for scope in (Scope.READ, Scope.ADMIN):
        _, tokens[scope] = await keys.create(
            api.state["store"], name="", scopes=frozenset({scope}), expires_at=None, by="a test"
        )

    async def types(scope: Scope) -> set[str]:
        response = await api.http.get("/v1/events", headers={"Authorization": f"Bearer {tokens[scope]}"})
        return {event["type"] for event in response.json()["data"]}

    assert await types(Scope.READ) == {"key.created"}
    assert await types(Scope.ADMIN) == {"key.created", "audit.key_created"}


async def test_a_list_looks_at_so_many_lines(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that finds little says that there is more, and where to go on."""
    monkeypatch.setattr("service.routes.events.MOST_LINES", 100)

    def many(it: Any) -> None:
        for _ in range(250):
            it.note("key:test", "key.made", {})

    await api.state["store"].write(many)
    await note(api, "key.refused")
    told = []
    after, pages = "0", 0
    while True:
        page = (await api.http.get(f"/v1/events?types=key.refused&after={after}")).json()
        told += [event["seq"] for event in page["data"]]
        after, pages = page["after"], pages + 1
        if not page["has_more"]:
            break
    assert (told, after, pages) == ([251], "251", 3)
