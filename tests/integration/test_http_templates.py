"""The API of templates, and e-mails that are made from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api import Api, problem, running
from zqueue import Queue

WELCOME = {"subject": "Hello {{ name }}", "text": "Hi {{ name }}!", "html": "<p>Hi {{ name }}!</p>"}
BOMB = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% if a == b - 99999 %}x{% endif %}{% endfor %}{% endfor %}"
)


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store; a template may take half a second."""
    async with running(tmp_path / "data", queue, template_timeout=0.5) as api:
        yield api


async def put(api: Api, name: str, status: int = 201, **parts: str | None) -> dict[str, Any]:
    """Write a template; the answer."""
    response = await api.http.put(f"/v1/templates/{name}", json=parts or WELCOME)
    assert response.status_code == status, response.text
    record: dict[str, Any] = response.json()
    return record


async def faults(api: Api, path: str, body: Any, method: str = "POST") -> list[tuple[str, str]]:
    """What a request with this body is refused for."""
    response = await api.http.request(method, path, json=body)
    assert problem(response) == (422, "invalid_request")
    return [(one["pointer"], one["detail"]) for one in response.json()["errors"]]


async def test_a_template_is_written_and_read(api: Api) -> None:
    """PUT makes it, then its next version; each version stays readable, and the entity tag is the version."""
    first = await put(api, "welcome")
    assert first == {
        "object": "template",
        "name": "welcome",
        "version": 1,
        "created_at": first["created_at"],
        "updated_at": first["created_at"],
        **WELCOME,
    }
    assert await put(api, "welcome", 200) == first
    second = await put(api, "welcome", 200, text="Bye {{ name }}")
    assert (second["version"], second["subject"], second["html"]) == (2, None, None)
    newest = await api.http.get("/v1/templates/welcome")
    assert (newest.json(), newest.headers["etag"]) == (second, '"2"')
    assert (await api.http.get("/v1/templates/welcome?version=1")).json()["text"] == WELCOME["text"]
    assert problem(await api.http.get("/v1/templates/welcome?version=3")) == (404, "template_not_found")
    assert problem(await api.http.get("/v1/templates/nobody")) == (404, "template_not_found")


async def test_templates_are_listed_by_name(api: Api) -> None:
    """Page by page, without their bodies."""
    for name in "cab":
        await put(api, name)
    page = (await api.http.get("/v1/templates?limit=2")).json()
    assert [one["name"] for one in page.pop("data")] == ["a", "b"]
    assert page == {"object": "list", "has_more": True, "after": "b"}
    rest = (await api.http.get("/v1/templates?limit=2&after=b")).json()
    assert ([sorted(one) for one in rest["data"]], rest["has_more"]) == (
        [["created_at", "name", "object", "subject", "updated_at", "version"]],
        False,
    )


async def test_a_template_is_deleted(api: Api) -> None:
    """It is gone from then on."""
    await put(api, "a")
    response = await api.http.delete("/v1/templates/a")
    assert (response.status_code, response.content) == (204, b"")
    assert problem(await api.http.delete("/v1/templates/a")) == (404, "template_not_found")
    assert problem(await api.http.get("/v1/templates/a")) == (404, "template_not_found")


async def test_if_match_guards_a_version(api: Api) -> None:
    """Another version than the one that is meant is neither replaced nor deleted."""
    await put(api, "a")
    for tag, status in (('"1"', 200), ('"1"', 412), ("x", 412), ("*", 200)):
        text = {"text": f"{tag} {status}"}
        response = await api.http.put("/v1/templates/a", json=text, headers={"If-Match": tag})
        assert response.status_code == status
    assert problem(await api.http.delete("/v1/templates/a", headers={"If-Match": '"1"'})) == (412, "stale_version")
    assert (await api.http.delete("/v1/templates/a", headers={"If-Match": '"3"'})).status_code == 204


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, [("/text", "is required unless html is given")]),
        ({"text": None, "subject": "x"}, [("/text", "is required unless html is given")]),
        ({"text": "x", "htlm": "x"}, [("/htlm", "does not exist; did you mean html?")]),
        ({"text": 5}, [("/text", "must be a string")]),
        ({"text": "x", "subject": "x" * 2_001}, [("/subject", "must be at most 2000 characters long")]),
        (
            {"text": "a\n{% if %}", "html": "{{ x", "subject": "ok"},
            [
                ("/text", "has in line 2: Expected an expression, got 'end of statement block'"),
                ("/html", "has in line 1: unexpected end of template, expected 'end of print statement'."),
            ],
        ),
    ],
)
async def test_what_is_no_template_is_refused(api: Api, body: dict[str, Any], told: list[tuple[str, str]]) -> None:
    """By PUT, with every bad field named and the line in it."""
    assert await faults(api, "/v1/templates/a", body, "PUT") == told
    assert problem(await api.http.get("/v1/templates/a")) == (404, "template_not_found")


async def test_a_bad_name_is_refused(api: Api) -> None:
    """Names are plain words, so that they fit everywhere."""
    for name in ("-a", "a%20b", "%C3%A9", "x" * 101, ".."):
        response = await api.http.put(f"/v1/templates/{name}", json=WELCOME)
        assert problem(response) in ((422, "invalid_request"), (404, "not_found"))
    assert (await api.http.get("/v1/templates")).json()["data"] == []


async def test_a_preview_sends_nothing(api: Api) -> None:
    """It shows what an e-mail would say, with whatever version is named."""
    await put(api, "a")
    await put(api, "a", 200, html="<b>{{ name }}</b>")
    assert (await api.http.post("/v1/templates/a/preview", json={"variables": {"name": "A & B"}})).json() == {
        "object": "preview",
        "template": "a@2",
        "subject": "",
        "text": None,
        "html": "<b>A &amp; B</b>",
    }
    old = await api.http.post("/v1/templates/a/preview", json={"version": 1, "variables": {"name": "Ann"}})
    assert (old.json()["template"], old.json()["subject"]) == ("a@1", "Hello Ann")
    assert await faults(api, "/v1/templates/a/preview", {}) == [
        ("/variables", "do not fill a@2: its html fails in line 1: 'name' is undefined")
    ]
    assert problem(await api.http.post("/v1/templates/b/preview", json={})) == (404, "template_not_found")
    assert (await api.http.get("/v1/emails")).json()["data"] == []


async def test_an_email_is_made_from_a_template_when_it_is_accepted(api: Api) -> None:
    """Its record has the text, and says which version that came from; later versions do not change it."""
    await put(api, "welcome")
    body = {"from": "a@example.com", "to": "b@example.com", "template": {"name": "welcome", "variables": {"name": "B"}}}
    record = (await api.http.post("/v1/emails", json=body)).json()
    await put(api, "welcome", 200, text="Bye")
    again = (await api.http.get(f"/v1/emails/{record['id']}")).json()
    assert [again[name] for name in ("subject", "text", "html", "template")] == [
        "Hello B",
        "Hi B!",
        "<p>Hi B!</p>",
        "welcome@1",
    ]
    own = (await api.http.post("/v1/emails", json=body | {"subject": "Mine"})).json()
    assert (own["subject"], own["text"], own["template"]) == ("Mine", "Bye", "welcome@2")


async def test_a_template_that_cannot_be_filled_sends_nothing(api: Api) -> None:
    """The error is told when the e-mail is to be accepted, not when it is to be sent."""
    await put(api, "a")
    body = {"from": "a@example.com", "to": "b@example.com", "template": {"name": "a", "variables": {"name": "x\ny"}}}
    assert await faults(api, "/v1/emails", body) == [
        (
            "/template/variables",
            "do not fill a@1: its subject has a line break or another control character in it, "
            "which a header cannot hold",
        )
    ]
    assert await faults(api, "/v1/emails", body | {"template": {"name": "b"}}) == [
        ("/template/name", "is not the name of a template")
    ]
    assert (await api.http.get("/v1/emails")).json()["data"] == []


async def test_a_bomb_is_an_error_of_its_sender_alone(api: Api) -> None:
    """A template that never ends is refused after its time; others are served meanwhile and afterwards."""
    await put(api, "bomb", text=BOMB)
    await put(api, "welcome")
    body = {"from": "a@example.com", "to": "b@example.com", "template": {"name": "bomb"}}
    found, health, other = await asyncio.gather(
        faults(api, "/v1/emails", body),
        api.http.get("/healthz"),
        api.http.post("/v1/templates/welcome/preview", json={"variables": {"name": "x"}}),
    )
    assert found == [("/template/variables", "do not fill bomb@1: its text takes longer than 0.5 s")]
    assert (health.status_code, other.status_code) == (200, 200)


async def test_one_template_many_recipients(api: Api) -> None:
    """Each gets an e-mail with its own variables; what is wrong is told in its entry."""
    await put(api, "news", subject="News for {{ name }}", text="{{ shop }} to {{ name }}")
    body: dict[str, Any] = {
        "from": "shop@example.com",
        "template": {"name": "news", "variables": {"shop": "Us"}},
        "recipients": [
            {"to": "ann@example.org", "variables": {"name": "Ann"}},
            {"to": "bob@example.org"},
            {"to": "eve@example.org", "variables": {"name": "Eve", "shop": "Them"}, "tags": ["vip"]},
        ],
    }
    told = [("/recipients/1/variables", "do not fill news@1: its subject fails in line 1: 'name' is undefined")]
    told.append(("/recipients/1/variables", "do not fill news@1: its text fails in line 1: 'name' is undefined"))
    assert await faults(api, "/v1/emails/batch", body) == told
    answer = (await api.http.post("/v1/emails/batch", json=body | {"mode": "permissive"})).json()
    emails = [(await api.http.get(f"/v1/emails/{one['id']}")).json() for one in answer["data"]]
    assert [(one["to"], one["subject"], one["text"], one["tags"]) for one in emails] == [
        (["ann@example.org"], "News for Ann", "Us to Ann", []),
        (["eve@example.org"], "News for Eve", "Them to Eve", ["vip"]),
    ]
    (error,) = answer["errors"]
    assert (error["index"], [(one["pointer"], one["detail"]) for one in error["errors"]]) == (1, told)


async def test_a_thousand_recipients(api: Api) -> None:
    """As many as a batch may have, each with its own text."""
    await put(api, "news", text="Hello {{ n }}")
    many = [{"to": f"u{n}@example.org", "variables": {"n": n}} for n in range(1_000)]
    body = {"from": "shop@example.com", "template": {"name": "news"}, "recipients": many}
    response = await api.http.post("/v1/emails/batch", json=body)
    assert response.status_code == 201, response.text
    assert len(response.json()["data"]) == 1_000
    last = (await api.http.get(f"/v1/emails/{response.json()['data'][-1]['id']}")).json()
    assert (last["to"], last["text"]) == (["u999@example.org"], "Hello 999")


async def test_a_bomb_in_a_batch_is_met_once(api: Api) -> None:
    """A thousand e-mails from a template that never ends take as long as one; those without it are accepted."""
    await put(api, "bomb", text=BOMB)
    many: list[dict[str, Any]] = [{"from": "a@example.com", "to": "b@example.com", "template": {"name": "bomb"}}] * 999
    body = {"emails": [*many, {"from": "a@example.com", "to": "b@example.com", "text": "x"}], "mode": "permissive"}
    answer = (await api.http.post("/v1/emails/batch", json=body)).json()
    assert len(answer["data"]) == 1
    told = [error["errors"][0]["pointer"] for error in answer["errors"]]
    assert told == ["/emails/0/template/variables", *(f"/emails/{n}/template" for n in range(1, 999))]


async def test_a_batch_has_an_end(api: Api) -> None:
    """What templates make of a small batch may be large; too much to be held at once is refused."""
    await put(api, "large", text="{{ 'x' * 1000000 }}")
    many = [{"to": f"u{n}@example.org"} for n in range(120)]
    body = {"from": "a@example.com", "template": {"name": "large"}, "recipients": many}
    assert (await faults(api, "/v1/emails/batch", body))[0] == (
        "/recipients/104",
        "is too much together with those before it; use smaller batches",
    )
