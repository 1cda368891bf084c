"""Templates as they are kept: versions, deletion, pages, and how an e-mail is made from one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.email.draft import Filled, TemplateCall
from service.email.faults import InvalidRequest
from service.templating.library import Library, StaleVersion, Template, TemplateNotFound
from service.templating.renderer import Renderer, Source
from tests.unit.store_emails import NOW, opened

ONE, TWO = Source("Hi {{ name }}", "1 {{ name }}"), Source(None, None, "<p>2 {{ name }}</p>")


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    """An empty one."""
    renderer = Renderer()
    async with opened(tmp_path) as store:
        yield Library(store, renderer)
    await renderer.close()


async def test_every_version_stays_readable(library: Library) -> None:
    """The newest is what the name means; the same text again is no new version."""
    first, second = Template("a", 1, ONE, NOW, NOW), Template("a", 2, TWO, NOW, NOW)
    assert await library.put("a", ONE) == (first, True)
    assert await library.put("a", ONE) == (first, False)
    assert await library.put("a", TWO) == (second, False)
    assert await library.put("a", ONE) == (Template("a", 3, ONE, NOW, NOW), False)
    assert [library.get("a", version) for version in (1, 2)] == [first, second]
    assert library.get("a") == library.get("a", 3) == Template("a", 3, ONE, NOW, NOW)
    for name, version in (("a", 4), ("b", None), ("b", 1)):
        with pytest.raises(TemplateNotFound):
            library.get(name, version)


async def test_a_deleted_template_is_gone_and_its_numbers_are_not_used_again(library: Library) -> None:
    """What an e-mail says it was made from never means another text."""
    await library.put("a", ONE)
    await library.put("a", TWO)
    await library.delete("a")
    for version in (None, 1, 2):
        with pytest.raises(TemplateNotFound):
            library.get("a", version)
    with pytest.raises(TemplateNotFound):
        await library.delete("a")
    assert library.page(10) == ([], False)
    template, created = await library.put("a", TWO)
    assert (template.version, created) == (3, True)
    with pytest.raises(TemplateNotFound):
        library.get("a", 2)


async def test_only_the_version_that_is_meant_is_replaced(library: Library) -> None:
    """Two people who edit the same template do not undo each other's work unseen."""
    with pytest.raises(TemplateNotFound):
        await library.put("a", ONE, version=1)
    await library.put("a", ONE)
    await library.put("a", TWO, version=1)
    with pytest.raises(StaleVersion):
        await library.put("a", ONE, version=1)
    with pytest.raises(StaleVersion):
        await library.delete("a", version=1)
    await library.delete("a", version=2)


async def test_what_is_no_template_is_not_kept(library: Library) -> None:
    """A mistake is told when it is made, not when an e-mail is to be sent."""
    with pytest.raises(InvalidRequest) as caught:
        await library.put("a", Source(text="{{"))
    assert [fault.pointer for fault in caught.value.faults] == ["/text"]
    assert library.page(10) == ([], False)


async def test_pages_leave_out_what_is_deleted(library: Library) -> None:
    """A page is full though what was deleted lies between."""
    for name in "abcdef":
        await library.put(name, ONE)
    for name in "abde":
        await library.delete(name)
    named = [([one.name for one in page], more) for page, more in (library.page(1), library.page(2))]
    assert named == [(["c"], True), (["c", "f"], False)]
    assert [one.name for one in library.page(5, after="c")[0]] == ["f"]


async def test_an_email_is_made_from_a_version(library: Library) -> None:
    """The newest, or the one that is named; the e-mail says which."""
    await library.put("a", ONE)
    await library.put("a", TWO)
    assert await library.fill(TemplateCall("a", None, {"name": "<x>"})) == Filled("", None, "<p>2 &lt;x&gt;</p>", "a@2")
    assert await library.fill(TemplateCall("a", 1, {"name": "<x>"})) == Filled("Hi <x>", "1 <x>", None, "a@1")
    assert await library.preview("a", 1, {"name": "x"}) == Filled("Hi x", "1 x", None, "a@1")


@pytest.mark.parametrize(
    ("name", "version", "variables", "told"),
    [
        ("b", None, {}, [("/template/name", "is not the name of a template")]),
        ("b", 1, {}, [("/template/name", "is not the name of a template")]),
        ("a", 2, {}, [("/template/version", "is not one of this template, which is at version 1")]),
        (
            "a",
            None,
            {},
            [
                ("/template/variables", "do not fill a@1: its subject fails in line 1: 'name' is undefined"),
                ("/template/variables", "do not fill a@1: its text fails in line 1: 'name' is undefined"),
            ],
        ),
        (
            "a",
            1,
            {"name": "x\r\nBcc: y@example.com"},
            [
                (
                    "/template/variables",
                    "do not fill a@1: its subject has a line break or another control character in it, "
                    "which a header cannot hold",
                )
            ],
        ),
    ],
)
async def test_what_cannot_be_made_is_told(
    library: Library, name: str, version: int | None, variables: dict[str, Any], told: list[tuple[str, str]]
) -> None:
    """By the field of the request that is at fault."""
    await library.put("a", ONE)
    with pytest.raises(InvalidRequest) as caught:
        await library.fill(TemplateCall(name, version, variables))
    assert [(fault.pointer, fault.detail) for fault in caught.value.faults] == told
