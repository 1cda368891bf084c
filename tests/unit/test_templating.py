"""Filling templates: what they may do, what they may not, and what becomes of those that never end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.email.faults import Fault, InvalidRequest
from service.templating import frames
from service.templating.renderer import MEMORY, CutShort, Rendered, Renderer, Source


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    """One with the limits of the service."""
    fresh = Renderer()
    yield fresh
    await fresh.close()


async def faults(renderer: Renderer, source: Source, variables: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """What is wrong with a template, or with filling it."""
    with pytest.raises(InvalidRequest) as caught:
        await (renderer.check(source) if variables is None else renderer.render(source, variables))
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


async def test_each_part_is_filled(renderer: Renderer) -> None:
    """HTML is escaped, subject and text are not; what a template has not, it does not make."""
    source = Source(
        "Hello {{ name }}", "Hi {{ name }},\n{% for n in items %}- {{ n }}\n{% endfor %}", "<b>{{ name }}</b>"
    )
    assert await renderer.render(source, {"name": "<Ann> & Co", "items": [1, 2]}) == Rendered(
        "Hello <Ann> & Co", "Hi <Ann> & Co,\n- 1\n- 2\n", "<b>&lt;Ann&gt; &amp; Co</b>"
    )
    assert await renderer.render(Source(text="x"), {}) == Rendered(text="x")
    assert await renderer.render(Source(text="{{ n }} {{ s }}"), {"n": 10**29, "s": "é\U0001f600"}) == Rendered(
        text=f"{10**29} é\U0001f600"
    )


async def test_filters_that_load_modules_work(renderer: Renderer) -> None:
    """The process can open no file; whatever a filter needs is loaded before."""
    source = Source(
        text="{{ 'a b c'|wordwrap(3) }} {{ {'a': 1}|pprint }} {{ 'x'|tojson }} {{ [1]|random }} "
        "{{ 'http://a.example'|urlize }} {{ 1234|filesizeformat }} {{ 'é'|urlencode }} {{ [3, 1]|sort|join(',') }} "
        "{{ {'a': 1}|xmlattr }} {{ 'a b'|title }} {{ '<b>x</b>'|striptags }} {{ 1.5|round }} {{ cycler(1).next() }}"
    )
    assert (await renderer.render(source, {})).text == (
        "a b\nc {'a': 1} \"x\" 1 "
        '<a href="http://a.example" rel="noopener">http://a.example</a> 1.2 kB %C3%A9 1,3 '
        ' a="1" A B x 2.0 1'
    )


@pytest.mark.parametrize(
    ("html", "says"),
    [
        ("{% if %}", "has in line 1: Expected an expression, got 'end of statement block'"),
        ("a\n\n{{ x", "has in line 3: unexpected end of template, expected 'end of print statement'."),
        ("\n{% include 'a' %}", "has in line 2: a template cannot load another one here"),
        ("{% import 'a' as a %}", "has in line 1: a template cannot load another one here"),
        ("{% extends 'a' %}", "has in line 1: a template cannot load another one here"),
        ("\n{{ x|nofilter }}", "has in line 2: No filter named 'nofilter'."),
        ("{{ " + "(" * 3_000 + ")" * 3_000 + " }}", "is nested too deeply"),
    ],
)
async def test_what_is_no_template_is_told_with_its_line(renderer: Renderer, html: str, says: str) -> None:
    """Every mistake that can be known before there are variables is; parts that are well are not named."""
    assert await faults(renderer, Source("{{ a }}", "{{ b }}", html)) == [("/html", says)]


async def test_all_bad_parts_are_told(renderer: Renderer) -> None:
    """Not the first alone."""
    assert [where for where, _ in await faults(renderer, Source("{{", "ok", "{%"))] == ["/subject", "/html"]


_OVERFLOW = "fails in line 1: OverflowError was raised"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\n{{ missing }}", "fails in line 2: 'missing' is undefined"),
        ("{{ user.name }}", "fails in line 1: 'dict object' has no attribute 'name'"),
        ("{{ nothing }}", "fails in line 1: it prints a null; give it a value, or use the filter default('...', true)"),
        ("{{ 1 / 0 }}", "fails in line 1: division by zero"),
        ("{{ 'a' + 1 }}", 'fails in line 1: can only concatenate str (not "int") to str'),
        ("{{ ''.__class__.__mro__ }}", "fails in line 1: access to attribute '__class__' of 'str' object is unsafe."),
        (
            "{{ '{0.__class__}'.format(1) }}",
            "fails in line 1: access to attribute '__class__' of 'int' object is unsafe.",
        ),
        ("{{ range(1000000000)|length }}", _OVERFLOW),
        ("{{ user.update({'a': 1}) }}", "fails in line 1: access to attribute 'update' of 'dict' object is unsafe."),
        ("{{ lipsum() }}", "fails in line 1: 'lipsum' is undefined"),
        ("{{ '{:d}'.format(secret) }}", "fails in line 1: ValueError was raised"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself too deeply"),
        (r"{{ '\ud800' }}", "comes to half of a surrogate pair, which is no text"),
        ("{{ 'x' * 2000000 }}", "comes to more than 1,048,576 characters"),
        ("{{ 'x' * 2000000000 }}", "needs too much memory"),
        ("{{ '%2000000000d' % 1 }}", "needs too much memory"),
    ],
)
async def test_what_cannot_be_filled_is_told_with_its_line(renderer: Renderer, text: str, says: str) -> None:
    """No value that was given is told; nothing of this machine is reached; the next template is filled as ever."""
    variables: dict[str, Any] = {"user": {}, "nothing": None, "secret": "hunter2"}
    found = await faults(renderer, Source(text=text), variables)
    assert [where for where, _ in found] == ["/text"]
    assert found[0][1].removeprefix(says) == ""
    assert await renderer.render(Source(text="{{ 1 + 1 }}"), {}) == Rendered(text="2")


BOMB = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% if a == b - 99999 %}x{% endif %}{% endfor %}{% endfor %}"
)


async def test_a_template_that_never_ends_is_killed() -> None:
    """The part that takes too long is named, and that it may be for the machine; those who waited are served."""
    renderer = Renderer(timedelta(seconds=0.5))
    bomb, harmless = Source("s", "t", BOMB), Source(text="{{ n }}")
    try:
        with pytest.raises(CutShort) as caught:
            await renderer.render(bomb, {})
        assert caught.value.faults == (Fault("/html", "takes longer than 0.5 s"),)
        found, *others = await asyncio.gather(
            faults(renderer, bomb, {}), *(renderer.render(harmless, {"n": n}) for n in range(5))
        )
        assert found == [("/html", "takes longer than 0.5 s")]
        assert others == [Rendered(text=str(n)) for n in range(5)]
        assert await renderer.render(harmless, {"n": 6}) == Rendered(text="6")
    finally:
        await renderer.close()


async def test_compiling_is_bounded_too() -> None:
    """A template whose compiling would take for ever is no template."""
    renderer = Renderer(timedelta(seconds=0.5))
    try:
        found = await faults(renderer, Source(text="{{ 9 ** (9 ** (9 ** 9)) }}"))
        assert found == [("/text", "takes longer than 0.5 s")]
    finally:
        await renderer.close()


async def test_a_process_that_died_is_replaced(renderer: Renderer) -> None:
    """Whatever killed it while nobody looked, the next template is filled."""
    await renderer.check(Source(text="x"))
    first = renderer.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await renderer.render(Source(text="{{ 1 }}"), {}) == Rendered(text="1")
    assert renderer.pid != first


async def test_who_stops_waiting_leaves_nothing_behind(renderer: Renderer) -> None:
    """An answer that nobody waits for any more is not taken for the answer to the next question."""
    await renderer.check(Source(text="x"))
    waiting = asyncio.create_task(renderer.render(Source(text=BOMB), {}))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await renderer.render(Source(text="{{ 1 }}"), {}) == Rendered(text="1")


async def test_the_process_knows_no_secrets(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment, where passwords are, it is given nothing; nor may it open files or use much memory."""
    monkeypatch.setenv("SERVICE_SMTP_URL", "smtp://user:hunter2@example.com")
    await renderer.check(Source(text="x"))
    own = Path(f"/proc/{renderer.pid}")
    assert b"hunter2" not in (own / "environ").read_bytes()
    limits = (own / "limits").read_text()
    assert re.search(r"Max open files +3 +3 ", limits)
    assert re.search(r"Max address space +536870912 +536870912 ", limits)


def test_a_process_ends_with_its_parent() -> None:
    """One whose parent is gone ends though it is filling a template that never ends."""
    command = [sys.executable, "-m", "service.templating.child", "0.2", str(MEMORY), "1000"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert child.stdin is not None
    with child:
        child.stdin.write(frames.encode({"parts": {"text": BOMB}, "variables": {}}))
        child.stdin.close()
        assert child.wait(30) == -signal.SIGALRM
