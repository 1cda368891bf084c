"""Progress of long work."""

from __future__ import annotations

import io
import re
import sys

import pytest

from zqueue.cli import progress


class Screen(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """What a person would see of stderr."""
    fresh = Screen()
    monkeypatch.setattr(sys, "stderr", fresh)
    monkeypatch.setenv("TERM", "xterm-256color")
    return fresh


def test_a_bar_past_a_second(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Says what is done and how much of it; it is gone at the end. What is printed meanwhile is not taken along."""
    screen = at_a_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.0)
    with progress.progress("Requeueing", 10) as advance:
        advance(3)
        print("data")
        advance(4)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "Requeueing" in shown
    assert " 7/10" in shown
    assert screen.getvalue().endswith("\x1b[2K")
    assert (capsys.readouterr().out, "data" in shown) == ("data\n", False)


def test_no_bar_for_what_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written within a second."""
    screen = at_a_terminal(monkeypatch)
    with progress.progress("Requeueing", 10) as advance:
        advance(10)
    assert screen.getvalue().replace("\x1b[?25h", "") == ""


@pytest.mark.parametrize("visible", [True, False])
def test_no_bar_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch, visible: bool) -> None:
    """Not in a log file, nor between the rows of a table."""
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.0)
    stderr = io.StringIO() if visible else Screen()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress.progress("Requeueing", 10, visible=visible) as advance:
        advance(10)
    assert stderr.getvalue() == ""
