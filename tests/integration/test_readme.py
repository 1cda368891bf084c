"""What README.md and docs/ show in Python runs as it stands there, and says what they say."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from pathlib import Path

import zqueue
import zqueue.testing

ROOT = Path(zqueue.__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SAID = [r"Hello Ada, attempt 1, due \d\d:\d\d:\d\d\.\d{6}\n", "3\n"]
"""What each snippet prints, in order."""


def snippets() -> list[str]:
    """Every Python block of the pages."""
    return [code for page in PAGES for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)]


async def _run(code: str, folder: Path) -> tuple[int | None, str, str]:
    """A program on a server of its own, in *folder* instead of the place that is printed; warnings are errors."""
    here, places = re.subn(r"embedded://[\w/]+", f"embedded://{folder}", code)
    assert places == 1, "a snippet names its server once"
    words = (sys.executable, "-W", "error", "-c", here)
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*words, cwd=folder.parent, stdout=pipe, stderr=pipe)
    out, errors = await asyncio.wait_for(program.communicate(), 60)
    return program.returncode, out.decode(), errors.decode()


async def test_the_snippets_run(short_folder: Path) -> None:
    """Each is a whole program, which ends well, prints what it is said to print, and complains of nothing."""
    programs = snippets()
    outcomes = await asyncio.gather(*(_run(code, short_folder / f"{n}") for n, code in enumerate(programs)))
    assert [(status, errors) for status, _out, errors in outcomes] == [(0, "")] * len(SAID)
    for (_status, out, _errors), said in zip(outcomes, SAID, strict=True):
        assert re.fullmatch(said, out), out


def test_the_names_in_the_table_are_those_of_the_library() -> None:
    """Every call in the README's table of what to use is one that a queue, a job, or the library has."""
    text = PAGES[0].read_text().partition("## Use the library")[2].partition("What it promises")[0]
    table = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| to ")]
    words = {word for line in table for word in re.findall(r"`(?:zqueue\.|job\.|task\.)?(\w+)[(`]", line)}
    owners = (zqueue, zqueue.testing, zqueue.Queue, zqueue.Job, zqueue.Task)
    known = {name for owner in owners for name in dir(owner)} | set(inspect.signature(zqueue.Queue).parameters)
    modules = {path.stem for path in Path(zqueue.__file__).parent.glob("*.py")}
    assert words - known - modules == set()
    assert len(words) > 15
