"""What the command line says of itself: help, its page, and how it fails without its libraries."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from zqueue.cli import documents, exits, main
from zqueue.cli.program import program
from zqueue.job import JobRecord, JobState, Priority

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text()


def help_of(*command: str) -> str:
    """What ``--help`` prints."""
    ended = CliRunner().invoke(program, [*command, "--help"])
    assert (ended.exit_code, ended.stderr) == (0, "")
    return ended.stdout


def test_the_page_lists_the_commands() -> None:
    """All of them, in the order of the help, each with options that exist."""
    rows = re.findall(r"^\| `zqueue ([a-z]+)(.*?)` \|", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == list(program.commands)
    for name, usage in rows:
        assert set(re.findall(r"--[a-z-]+", usage)) - set(re.findall(r"--[a-z-]+", help_of(name))) == set()


def test_exit_statuses_are_documented() -> None:
    """The same words in the help, on the page, and in the code."""
    shown = help_of()
    for status, meaning in exits.MEANINGS.items():
        assert f"  {status}  {meaning}\n" in shown
        assert f"| {status} | {meaning} |\n" in PAGE
    assert list(exits.MEANINGS) == [0, 1, 2, 3, 4, 5]


def test_the_page_lists_the_keys_of_a_job() -> None:
    """In their order: programs read them."""
    (row,) = re.findall(r"^\| a job .*? \| (.*?);", PAGE, re.MULTILINE)
    assert re.findall(r"`([a-z_]+)`", row) == list(documents.of_job(JobRecord("x", None)))


@pytest.mark.parametrize("name", list(program.commands))
def test_every_command_explains_itself(name: str) -> None:
    """A sentence, and a line for each option that is not hidden."""
    command = program.commands[name]
    assert command.help
    assert help_of(name).startswith(f"Usage: program {name} ")
    shown = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    assert [each.name for each in shown if not each.help] == []


def test_a_command_that_is_none() -> None:
    """Is refused with status 2, and with the one that was meant."""
    ended = CliRunner().invoke(program, ["stat"])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "No such command 'stat'" in ended.stderr


@pytest.mark.parametrize(
    ("status", "words", "as_exit_status"),
    [
        (0, "ended with status 0", 0),
        (7, "ended with status 7", 7),
        (-9, "was killed by SIGKILL", 137),
        (-250, "was killed by signal 250", 378),
    ],
)
def test_how_a_child_ended(status: int, words: str, as_exit_status: int) -> None:
    """In words, and as a shell says it."""
    assert (exits.describe(status), exits.of_process(status)) == (words, as_exit_status)


@pytest.mark.parametrize("library", ["click", "rich"])
def test_without_the_extra_it_says_what_to_install(library: str) -> None:
    """One line, and status 1."""
    absent = f"import sys; sys.modules[{library!r}] = None; from zqueue.cli import main; sys.exit(main(['--version']))"
    ended = subprocess.run([sys.executable, "-c", absent], cwd=ROOT, capture_output=True, text=True, check=False)
    told = f"zqueue: the command line needs {library}: pip install 'zqueue[cli]'\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", told)


def test_the_installed_program() -> None:
    """Is ``main``, which answers with the exit status."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"zqueue": "zqueue.cli:main"}
    assert (main(["--version"]), main(["--nonsense"])) == (0, 2)


def test_python_m_zqueue() -> None:
    """Is the same program."""
    ended = subprocess.run(
        [sys.executable, "-m", "zqueue", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: zqueue ")


def test_a_cursor_survives_the_command_line() -> None:
    """What the next page needs of the last job comes back, in a word that no shell touches; nothing else does."""
    parked = JobRecord("ü /1", None, state=JobState.SCHEDULED, group="a/b", score_us=5, parked=True)
    dead = JobRecord("x", None, state=JobState.DEAD, priority=Priority.HIGH, score_us=7)
    assert documents.cursor(parked) == "scheduled/1/5/a%2Fb/%C3%BC%20%2F1"
    assert [documents.read_cursor(documents.cursor(each)) for each in (parked, dead)] == [parked, dead]
    for text in ("", "soon", "dead/1/5//x/y", "gone/1/5//x", "dead/9/5//x", "dead/1/soon//x"):
        with pytest.raises(click.BadParameter):
            documents.read_cursor(text)
