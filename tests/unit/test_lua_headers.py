"""The scripts and their callers: each header documents what `Commands` sends, and each script uses it all.

A header numbers its arguments (`1 now`, `2 limit` ...); the last may be `3.. id, token, id, token ...`, which repeats.
"""

from __future__ import annotations

import re
from datetime import timedelta
from importlib import resources
from typing import Any, NamedTuple

import pytest

from zqueue.commands import CAP_S, CHUNK, SCRIPTS, Call, Commands, Kept, Settlement
from zqueue.envelope import NewJob
from zqueue.job import Job, JobState, Priority
from zqueue.keys import ORDER, Keys
from zqueue.testing import FakeClock

FOLDER = resources.files("zqueue") / "lua"
NAMES = sorted(SCRIPTS)
KEYS = Keys("q")
CLOCK = FakeClock()
NOW = b"%d" % CLOCK.now_us()
COMMANDS = Commands(KEYS, CLOCK)
KEPT = Kept(keep_us=77, most=88)
JOBS = [NewJob(n, id=f"j{n}", delay=timedelta(seconds=n), on_conflict="replace").encode(100) for n in range(3)]
PRELUDE = ("_prelude", "_limits", "_parking", "_places")


class Header(NamedTuple):
    """What a script's header says of its arguments: the words of each single one, and of the group that repeats."""

    single: list[str]
    repeated: list[str]


def _lines(name: str) -> list[str]:
    return (FOLDER / f"{name}.lua").read_text().splitlines()


def _comment(name: str) -> list[str]:
    lines = _lines(name)
    end = next(at for at, line in enumerate(lines) if not line.startswith("--"))
    return lines[:end]


def _header(name: str) -> Header:
    lines = _comment(name)
    start = next((at for at, line in enumerate(lines) if line.startswith("-- ARGV")), None)
    assert start is not None, f"{name}.lua documents no ARGV"
    end = next(at for at, line in enumerate(lines) if line.startswith("-- Answers"))
    text = "   ".join(line.removeprefix("--").replace("ARGV", "").strip() for line in lines[start:end])
    single: list[str] = []
    while found := re.search(rf"(?:^|   |, ){len(single) + 1}(\.\.)? ", text):
        before, text = text[: found.start()], text[found.end() :]
        if single:
            single[-1] = before
        if found[1]:
            words = re.split(r"   |\.\.\.", text)[0].strip(" ,").split(", ")
            period = next(n for n in range(1, len(words) + 1) if words[n:] == words[: len(words) - n])
            return Header(single, words[:period])
        single.append("")
    single[-1:] = [text] if single else []
    return Header(single, [])


def _args(call: Call[Any]) -> list[Any]:
    _evalsha, _sha, count, *rest = call.command
    return rest[count:]


@pytest.mark.parametrize(
    ("name", "call", "single", "repeated"),
    [
        (
            "enqueue",
            COMMANDS.enqueue("p", "nonce", JOBS),
            {"now, us": NOW, "nonce": "nonce"},
            {"id": JOBS[0][0], "envelope": JOBS[0][1], "when": JOBS[0][2], "replace": b"1"},
        ),
        (
            "claim",
            COMMANDS.claim(11, 22, "f00d", 33, solo_ok=True, worker="w", kept=KEPT),
            {
                "now, us": NOW,
                "limit": 11,
                "lease, us": 22,
                "fencing token": "f00d",
                "most deliveries": 33,
                '"1" = one job on its last delivery': b"1",
                "worker id": "w",
                "keep dead, us": 77,
                "keep dead and done, count": 88,
            },
            {},
        ),
        (
            "settle",
            COMMANDS.settle([Settlement(b"j", "f00d", "retry", 5, "451")] * 3, KEPT),
            {"now, us": NOW, "keep dead, us": 77, "keep dead and done, count": 88},
            {"id": b"j", "token": "f00d", "verb": "retry", "time": 5, "text": "451"},
        ),
        (
            "extend",
            COMMANDS.extend([(b"j", "f00d")] * 3, 22),
            {"now, us": NOW, "lease, us": 22},
            {"id": b"j", "token": "f00d"},
        ),
        (
            "progress",
            COMMANDS.progress((b"j", "f00d"), b"0.5"),
            {"id": b"j", "token": "f00d", "value, JSON": b"0.5"},
            {},
        ),
        ("cancel", COMMANDS.cancel(["a", "b"]), {"now, us": NOW}, {"ids": "a"}),
        ("reschedule", COMMANDS.reschedule(b"+5", ["a", "b"]), {"now, us": NOW, "when": b"+5"}, {"ids": "a"}),
        ("requeue", COMMANDS.requeue(["a", "b"]), {"now, us": NOW}, {"ids": "a"}),
        (
            "purge",
            COMMANDS.purge(JobState.DONE, 44, 55),
            {"now, us": NOW, "state": "done", "least age, us": 44, "limit": 55},
            {},
        ),
        ("pause", COMMANDS.pause(paused=True), {"now, us": NOW, '"1" = pause': b"1"}, {}),
        ("limit", COMMANDS.limit("g", "1:2:3"), {"now, us": NOW, "group": "g", "limit": "1:2:3"}, {}),
        (
            "recur",
            COMMANDS.recur("n", b"times", b"what", 66, forward=True),
            {
                "now, us": NOW,
                "name": "n",
                "times, JSON": b"times",
                "misfire policy and envelope": b"what",
                "next slot, us": 66,
                '"1" = no slot before': b"1",
            },
            {},
        ),
        (
            "fire",
            COMMANDS.fire(b"n", b"66", 99, [(b"j", b"1{}", 66)] * 3),
            {"now, us": NOW, "name": b"n", "slot it is at, us": b"66", "next slot, us": 99},
            {"id": b"j", "envelope": b"1{}", "due": 66},
        ),
        ("unrecur", COMMANDS.unrecur("n"), {"name": "n"}, {}),
        ("missing", COMMANDS.missing(["a", "b"]), {}, {"ids": "a"}),
        ("nudge", COMMANDS.nudge("w"), {"now, us": NOW, "id of a worker that leaves": "w"}, {}),
        ("get", COMMANDS.get("a"), {"id": "a"}, {}),
        (
            "jobs",
            COMMANDS.jobs(JobState.DEAD, 9, Job("x", 1, priority=Priority.LOW, score_us=7)),
            {"state": "dead", "limit": 9, "lane": 2, "score": 7, "id of the job to start after": "x"},
            {},
        ),
        ("stats", COMMANDS.stats(), {"now, us": NOW}, {}),
    ],
)
def test_a_header_documents_what_is_sent(
    name: str, call: Call[Any], single: dict[str, Any], repeated: dict[str, Any]
) -> None:
    """Argument by argument, in order: the header's words, and the value that `Commands` puts there."""
    assert call.command[:3] == ("EVALSHA", SCRIPTS[name].sha, len(ORDER) + (name == "enqueue"))
    header = _header(name)
    assert len(header.single) == len(single)
    for words, expected in zip(header.single, single, strict=True):
        assert words.startswith(expected)
    assert header.repeated == list(repeated)
    args = _args(call)
    assert args[: len(single)] == list(single.values())
    rest = args[len(single) :]
    assert rest[: len(repeated)] == list(repeated.values())
    assert bool(repeated) == bool(rest)
    assert not repeated or len(rest) % len(repeated) == 0


def test_every_script_has_its_call() -> None:
    """The table above knows every file of the folder, and `Commands` every script."""
    table = test_a_header_documents_what_is_sent.pytestmark[0].args[1]
    assert sorted(row[0] for row in table) == NAMES
    assert sorted(f"{name}.lua" for name in [*NAMES, *PRELUDE]) == sorted(file.name for file in FOLDER.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_script_binds_what_its_header_names(name: str) -> None:
    """Each documented argument is used; a group's start and width are the header's."""
    header = _header(name)
    code = "\n".join(line for line in _lines(name) if not line.startswith("--"))
    used = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", code)}
    assert used == set(range(1, len(header.single) + 1))
    if len(header.repeated) > 1:
        assert f"FIRST, WIDTH = {len(header.single) + 1}, {len(header.repeated)}\n" in code
        assert "#ARGV > FIRST - 1 + MOST * WIDTH" in code
    elif header.repeated and header.single:
        assert f"FIRST = {len(header.single) + 1}\n" in code
        assert "#ARGV > FIRST - 1 + MOST " in code
    elif header.repeated:
        assert "#ARGV > MOST " in code


@pytest.mark.parametrize("name", NAMES)
def test_a_header_says_what_it_must(name: str) -> None:
    """Purpose first, under the script's name; then the answer, the failure and the cost."""
    comment = " ".join(line.removeprefix("--").strip() for line in _comment(name))
    assert comment.startswith(f"{name}: ")
    assert "Answers " in comment
    assert re.search(r"Never fails|Fails on|fail\b", comment)
    assert re.search(r"O\([^)]+\)\.", comment)


def test_the_preludes_keys_are_those_of_every_call() -> None:
    """The names the prelude binds stand in the order in which `keys` lists the keys."""
    code = (FOLDER / "_prelude.lua").read_text()
    assert "local DUE = {KEYS[1], KEYS[2], KEYS[3]}\n" in code
    bound = ["due:0", "due:1", "due:2"]
    for names, start, end in re.findall(r"^local ([A-Z, ]+) = unpack\(KEYS, (\d+), (\d+)\)", code, re.MULTILINE):
        assert int(start) == len(bound) + 1
        bound += names.lower().split(", ")
        assert int(end) == len(bound)
    assert bound == list(ORDER)


def test_every_call_passes_every_key() -> None:
    """A script touches no key that was not passed to it: none makes one up."""
    assert COMMANDS.nudge().command[3 : 3 + len(ORDER)] == KEYS.all
    enqueue = COMMANDS.enqueue("p", "nonce", JOBS).command
    assert enqueue[3 : 4 + len(ORDER)] == (*KEYS.all, KEYS.call("p"))
    for name in [*NAMES, *PRELUDE]:
        code = "\n".join(_lines(name))
        assert "zq:" not in code
        assert name in ("enqueue", "_prelude") or "KEYS" not in code


def test_figures_that_two_sides_share() -> None:
    """The longest sleep is the same in Lua and Python, and a chunk is within what a script takes."""
    code = (FOLDER / "_prelude.lua").read_text()
    assert f"local CAP = {int(CAP_S * 1_000_000)} " in code
    most = re.search(r"local MOST = (\d+) ", code)
    assert most is not None
    assert int(most[1]) >= CHUNK


def _code(name: str) -> list[str]:
    """The lines of a script that are code."""
    return [line for line in _lines(name) if line.strip() and not line.strip().startswith("--")]


@pytest.mark.parametrize("name", [*NAMES, *PRELUDE])
def test_a_script_fits_a_screen(name: str) -> None:
    """At most 60 lines of code (claim 100, each part of the prelude 80), each of at most 120 characters."""
    limits = {"claim": 100} | dict.fromkeys(PRELUDE, 80)
    assert len(_code(name)) <= limits.get(name, 60)
    assert max(map(len, _lines(name))) <= 120


def test_all_scripts_can_be_read_in_an_afternoon() -> None:
    """At most 700 lines of code in all."""
    assert sum(len(_code(name)) for name in [*NAMES, *PRELUDE]) <= 700


@pytest.mark.parametrize("name", NAMES)
def test_numbers_go_back_as_integers(name: str) -> None:
    """No time is concatenated or formatted by Lua, which would write 1.7e+15."""
    code = "\n".join(_lines(name))
    assert not re.search(r"\.\. *(now|due|delay|lease)\b", code)
    assert "tostring(now" not in code
