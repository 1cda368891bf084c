"""The tables of `docs/features.md`: what they say of zqueue is shown by tests that exist."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

import zqueue

ROOT = Path(zqueue.__file__).parents[1]
PAGE = (ROOT / "docs" / "features.md").read_text()
EMAIL = (ROOT / "docs" / "email-complaints.md").read_text()
CELLS = {"yes", "part", "paid", "-", "?"}


def table(heading: str, page: str = PAGE) -> list[list[str]]:
    """The cells of each row under a heading, that of the columns' names first."""
    (section,) = re.findall(rf"^##? {heading}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    rows = [line.removeprefix("|").removesuffix("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.split(" |")] for row in rows if not row.startswith("---")]


FEATURES = table("Beside others")
ALSO = table("Also here")
COMPLAINTS = table("What users of others complain of")
OF_EMAIL = table("E-mail: what users of others complain of", EMAIL)


def named(cell: str) -> list[str]:
    """The tests a cell names."""
    tests = re.findall(r"`(tests/[\w/]+\.py::\w+)`", cell)
    assert "<br>".join(f"`{test}`" for test in tests) == cell, "nothing but tests"
    return tests


@functools.cache
def functions(file: str) -> set[str]:
    """The tests of a file."""
    path = ROOT / file
    assert path.is_file(), f"there is no {file}"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in ast.parse(path.read_text()).body if isinstance(each, kinds)}


ROWS = [row for rows in (FEATURES, ALSO, COMPLAINTS, OF_EMAIL) for row in rows[1:] if any(row[1:])]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0] if not row[0].isdigit() else f"complaint {row[0]}")
def test_each_row_is_shown_by_tests_that_exist(row: list[str]) -> None:
    """Every row names one at least, but for what is not here."""
    tests = named(row[-1])
    assert bool(tests) != row[1].startswith("no")
    missing = [test for test in tests if test.partition("::")[2] not in functions(test.partition("::")[0])]
    assert missing == []


def test_every_cell_is_filled() -> None:
    """Of each peer it is said whether it has a feature, in one of the words that the page explains."""
    features = [row for row in FEATURES[1:] if any(row[1:])]
    assert {len(row) for row in FEATURES} == {13}
    assert {cell for row in features for cell in row[2:12]} == CELLS
    assert [row[0] for row in features if row[1].split(",")[0].split(":")[0] not in ("yes", "no")] == []
    assert len(features) > 35


def test_all_complaints_are_there() -> None:
    """Each has a number, its source, and why it cannot happen here."""
    assert [row[0] for row in COMPLAINTS[1:]] == [f"{number}" for number in range(1, 27)]
    assert [row[0] for row in OF_EMAIL[1:]] == [f"{number}" for number in range(1, 24)]
    assert {len(row) for row in (*COMPLAINTS, *OF_EMAIL)} == {5}
    projects = set(re.findall(r"`([\w-]+)`\s+[\w-]+/[\w-]+[,.]", PAGE))
    said = [re.sub(r"\d+", "", source).replace(",", "").split() for _n, _what, source, _why, _tests in COMPLAINTS[1:]]
    assert {project for each in said for project in each} == projects
    assert [row[3] for row in COMPLAINTS[1:] if not row[3].endswith(".")] == []
