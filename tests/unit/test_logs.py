"""What the processes log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from service.logs import configure
from service.settings import Settings


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Leave the logging of the test run as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def settings(log_format: Literal["console", "json"], log_level: Literal["info", "warning"] = "info") -> Settings:
    """Settings that differ in how is logged."""
    return Settings(_env_file=None, log_format=log_format, log_level=log_level)


def test_json_lines_carry_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    """With json each event is one object, from either library, with its fields, its time and its traceback."""
    configure(settings("json"))
    logging.getLogger("service.x").info("sent %d", 2, extra={"to": "Zoë"})
    structlog.get_logger("service.y").warning("late", seconds=3)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logging.getLogger("service.z").exception("broken")
    first, second, third = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "sent 2", "to": "Zoë", "level": "info", "logger": "service.x"}
    assert (second["event"], second["seconds"], second["level"], second["logger"]) == (
        "late",
        3,
        "warning",
        "service.y",
    )
    assert "ZeroDivisionError" in third["exception"]


def test_console_lines_are_plain_and_below_the_level_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """With console each event is one readable line, without colours where nobody looks, from the level up."""
    configure(settings("console", "warning"))
    logging.getLogger("service.x").info("unseen")
    logging.getLogger("service.x").warning("seen", extra={"n": 1})
    (line,) = capsys.readouterr().err.splitlines()
    assert "seen" in line
    assert "n=1" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\rb", "a\nb c", "a\x00b", "a\x9b31mb", "a\u202eb"])
def test_what_a_stranger_sent_moves_no_cursor(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With console a control character, of a path or of a relay's answer, is written as an escape, on the same line."""
    configure(settings("console"))
    logging.getLogger("service.x").info("the relay said %s", text, extra={"path": text})
    written = capsys.readouterr().err
    assert written.endswith("\n")
    assert written[:-1].isprintable()


def test_a_traceback_shows_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    """The text of an e-mail or a password that a function holds when it fails is not in the log."""

    def send(password: str) -> None:
        raise PermissionError(len(password))

    configure(settings("console"))
    try:
        send("".join(("open", "sesame")))
    except PermissionError:
        logging.getLogger("service.x").exception("broken")
    logged = capsys.readouterr().err
    assert "in send" in logged
    assert "PermissionError: 10" in logged
    assert "opensesame" not in logged
