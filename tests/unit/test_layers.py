"""What the import linter cannot see. Its own contracts, the layers, are in `pyproject.toml`; `make lint` runs it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import zqueue

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "zqueue").rglob("*.py"), *(ROOT / "service").rglob("*.py")])


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _library_names(tree: ast.AST) -> Iterator[str]:
    """Every name of `zqueue` that a module uses: imported from it, or taken from the module itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "zqueue":
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "zqueue":
            yield node.attr


def test_the_service_uses_public_names_only() -> None:
    """Whatever the service takes from the library is in `zqueue.__all__`."""
    used = {
        name: set(_library_names(ast.parse((ROOT / name).read_text())))
        for name in map(_name, MODULES)
        if name.startswith("service/")
    }
    assert {name: names - set(zqueue.__all__) for name, names in used.items() if names - set(zqueue.__all__)} == {}
    assert "Queue" in set().union(*used.values()), "the search finds what is used"


def test_public_names_are_those_of_the_design() -> None:
    """A name of the public interface comes and goes on purpose, with its documentation."""
    assert zqueue.__all__ == sorted(zqueue.__all__)
    assert set(zqueue.__all__) == {
        *("Queue", "NewJob", "Job", "JobRecord", "JobState", "Priority", "Stats", "new_id"),
        *("Task", "current_job", "Worker", "run", "RetryLater", "Snooze", "Bury"),
        *("Retry", "Backoff", "fixed", "exponential", "steps"),
        *("Schedule", "Recurring", "cron", "every"),
        *("ZQueueError", "InvalidJob", "PayloadTooLarge", "DuplicateJob", "JobNotFound", "CorruptJob", "UnknownTask"),
        *("LeaseLost", "QueueUnavailable", "NotReplicated", "ResultNotKept", "JobFailed"),
        "EmbeddedServer",
    }
    assert all(getattr(zqueue, name).__doc__ for name in zqueue.__all__ if name != "new_id")


def test_every_error_is_a_zqueue_error() -> None:
    """One root to catch; bad input is a ValueError as well."""
    errors = [each for each in map(zqueue.__dict__.get, zqueue.__all__) if isinstance(each, type)]
    raised = [each for each in errors if issubclass(each, BaseException)]
    assert all(issubclass(each, zqueue.ZQueueError) for each in raised)
    assert {each.__name__ for each in raised if issubclass(each, ValueError)} == {"InvalidJob", "PayloadTooLarge"}


def test_words_of_a_job() -> None:
    """The states and the lanes are the words and numbers that other programs know."""
    assert [str(state) for state in zqueue.JobState] == ["scheduled", "leased", "done", "dead"]
    assert {lane.name: int(lane) for lane in zqueue.Priority} == {"HIGH": 0, "NORMAL": 1, "LOW": 2}


def test_keys_are_named_in_one_place() -> None:
    """No module but `keys` writes the prefix of a queue's keys."""
    writers = {
        _name(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("zq:")
    }
    assert writers == {"zqueue/keys.py"}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_says_what_it_is_and_stays_readable(path: Path) -> None:
    """A docstring at its head, and fewer than 400 lines."""
    text = path.read_text()
    assert path.name == "__main__.py" or ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) < 400
