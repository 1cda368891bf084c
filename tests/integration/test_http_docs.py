"""`/openapi.json` and `/docs`: the document and its page, served from this package alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from service.access import keys
from service.access.scopes import Scope
from service.routes import TABLE
from service.routes.openapi.document import build
from tests.integration.api import Api, running
from zqueue import Queue


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


class Page(HTMLParser):
    """What of a page is checked: its ids, its links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        if tag in ("script", "link", "img", "iframe"):
            self.loads.append(found.get("src") or found.get("href", ""))
        if tag == "style" or "style" in found or any(name.startswith("on") for name in found):
            self.inline.append(tag)


async def test_the_document_is_served_to_anyone_who_may_ask(api: Api) -> None:
    """Without a key too: it says what keys are for."""
    await keys.create(api.state["store"], name="", scopes=frozenset({Scope.READ}), expires_at=None, by="a test")
    response = await api.http.get("/openapi.json")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == build(TABLE)


async def test_the_page_loads_nothing_from_elsewhere(api: Api) -> None:
    """Its style and its script come from this service; the policy lets nothing else in, nor anything inline."""
    response = await api.http.get("/docs")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    page = Page(response.text)
    assert page.inline == []
    assert page.loads == ["/docs/docs.css", "/docs/docs.js"]
    kinds = [(await api.http.get(path)).headers["content-type"] for path in page.loads]
    assert kinds == ["text/css; charset=utf-8", "text/javascript; charset=utf-8"]


async def test_the_page_shows_every_operation(api: Api) -> None:
    """Each with its path and a command to try it; every link within the page leads somewhere, and no id comes twice."""
    text = (await api.http.get("/docs")).text
    page = Page(text)
    document = build(TABLE)
    operations = [shown["operationId"] for item in document["paths"].values() for shown in item.values()]
    assert set(operations) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert [link for link in page.links if link.startswith("#") and link[1:] not in page.ids] == []
    assert text.count("<code>curl ") == len(operations)
