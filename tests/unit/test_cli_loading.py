"""What ``zqueue worker module:attribute`` can name, and how it is told what it cannot."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import zqueue
from zqueue.cli.failures import Misused
from zqueue.cli.loading import load

APP = """
import zqueue

queue = zqueue.Queue("app", "redis://localhost:1")
bare = zqueue.Queue("bare", "redis://localhost:1")
lost = zqueue.Queue("lost")
number = 7

@queue.task
async def do(what: str) -> None: ...

@lost.task
async def lose() -> None: ...

own = zqueue.Worker(queue, concurrency=1)

class Settings:
    queue = queue

def make():
    return own

def wants(argument):
    return queue
"""


@pytest.fixture(autouse=True)
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder with a module ``app``."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "broken.py").write_text("import app\nimport no_such_library\n")
    monkeypatch.setenv("ZQUEUE_URL", "http://localhost:1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("app", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("target", ["app:queue", "app:Settings.queue", "app:own", "app:make"])
def test_a_worker_is_found(target: str) -> None:
    """In a module of the current directory: a queue's, itself, or what a function makes; also below an attribute."""
    worker = load(target, {})
    assert isinstance(worker, zqueue.Worker)
    assert list(worker.queue.tasks) == ["do"]
    assert (worker is sys.modules["app"].own) == (target in ("app:own", "app:make"))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("nowhere:queue", {}, "there is no module 'nowhere', from the current directory or installed"),
        ("app.sub:queue", {}, "there is no module 'app.sub', from the current directory or installed"),
        ("app", {}, "'app' does not say which attribute of which module"),
        (":queue", {}, "':queue' does not say which attribute of which module"),
        ("app:kew", {}, "app has no 'kew'; it has queue (a Queue), bare (a Queue), lost (a Queue), own (a Worker)"),
        ("app:Settings.own", {}, "app has no 'Settings.own'; it has queue (a Queue), "),
        ("zqueue:nothing", {}, "zqueue has no 'nothing'; it has nothing that a worker could run"),
        ("app:number", {}, "app:number is neither a Queue nor a Worker: its type is int"),
        ("app:do", {}, "app:do is neither a Queue nor a Worker: its type is Task"),
        ("app:wants", {}, "app:wants cannot be called without arguments: missing a required argument: 'argument'"),
        ("app:bare", {}, "queue 'bare' (app:bare) has no tasks"),
        ("app:own", {"concurrency": 3}, "app:own is a Worker, which brings its own settings"),
        ("app:queue", {"lease": timedelta(0)}, "app:queue: a lease must be at least 0.1 s long, not 0:00:00"),
        ("app:lost", {}, "app:lost: a queue's URL starts with one of redis:// "),
    ],
)  # fmt: skip
def test_what_is_no_worker_is_refused(target: str, options: dict[str, Any], message: str) -> None:
    """In a line that says what was found instead."""
    with pytest.raises(Misused) as refusal:
        load(target, options)
    assert refusal.value.message.startswith(message)


def test_an_error_inside_the_module_is_not_hidden() -> None:
    """A library that a module does not find is not taken for the module itself."""
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load("broken:queue", {})
