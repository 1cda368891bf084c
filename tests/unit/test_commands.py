"""Building calls and reading replies, without a server: what a reply may look like, and which calls may be repeated."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from importlib import resources
from typing import Any

import pytest

from zqueue import replies
from zqueue.clock import moment
from zqueue.commands import SCRIPTS, Call, Commands, Kept, Settlement, claim_format
from zqueue.envelope import NewJob
from zqueue.errors import CorruptJob
from zqueue.job import Job, JobState, Priority
from zqueue.keys import Keys
from zqueue.replies import Claimed, Delivery, Stats

KEYS = Keys("q")
COMMANDS = Commands(KEYS)
DEAD = Kept(1, 2)
ENVELOPE = b'0{"payload":5}'


def test_a_script_is_its_prelude_and_its_file() -> None:
    """The server knows a script by the SHA-1 of both together."""
    folder = resources.files("zqueue") / "lua"
    text = (folder / "_prelude.lua").read_bytes() + b"\n" + (folder / "nudge.lua").read_bytes()
    assert SCRIPTS["nudge"].text == text
    assert SCRIPTS["nudge"].sha == hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def test_what_may_be_sent_twice() -> None:
    """A claim would lease twice, a cancel and a settle answer wrongly; everything else may be repeated unseen."""
    calls: dict[str, Call[Any]] = {
        "enqueue": COMMANDS.enqueue("p", "n", [NewJob(1).encode(9)]),
        "claim": COMMANDS.claim(1, 2, "t", 3, solo_ok=False, worker="", kept=DEAD),
        "settle": COMMANDS.settle([], DEAD),
        "extend": COMMANDS.extend([], 1),
        "cancel": COMMANDS.cancel([]),
        "nudge": COMMANDS.nudge(),
        "missing": COMMANDS.missing([]),
        "get": COMMANDS.get("a"),
        "jobs": COMMANDS.jobs(JobState.DEAD, 1, None),
        "stats": COMMANDS.stats(),
    }
    assert set(calls) == set(SCRIPTS)
    assert {name for name, call in calls.items() if not call.repeatable} == {"claim", "settle", "cancel"}
    assert all(call.repeatable for call in (*claim_format(KEYS), *COMMANDS.incarnation()))


def test_without_a_clock_the_servers_counts() -> None:
    """No time of this machine is sent."""
    assert COMMANDS.nudge().command[-1] == b""


def test_a_first_page_has_no_cursor() -> None:
    """Empty words for lane, score and id; a job without a score starts at none."""
    assert COMMANDS.jobs(JobState.SCHEDULED, 7, None).command[-5:] == ("scheduled", 7, "", "", "")
    after = Job("x", 1, priority=Priority.LOW)
    assert COMMANDS.jobs(JobState.DEAD, 7, after).command[-5:] == ("dead", 7, 2, 0, "x")


def test_a_settlement_is_five_words() -> None:
    """What a settlement leaves out goes as nothing."""
    call = COMMANDS.settle([Settlement(b"a", "t", "ack")], DEAD)
    assert call.command[-5:] == (b"a", "t", "ack", 0, "")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            [b"a", b"scheduled", b"7", ENVELOPE, None, None],
            Job("a", 5, priority=Priority.HIGH, due_us=7, score_us=7),
        ),
        (
            [b"a", b"scheduled", b"1.7e+15", ENVELOPE, b":2:6", b"3:x:y"],
            Job(
                "a",
                5,
                priority=Priority.HIGH,
                due_us=1_700_000_000_000_000,
                score_us=1_700_000_000_000_000,
                deliveries=2,
                attempts=3,
                error="x:y",
            ),
        ),
        (
            [b"a", b"leased", b"9", ENVELOPE, b"f00d:1:6", None],
            Job("a", 5, state=JobState.LEASED, priority=Priority.HIGH, due_us=6, score_us=9, deliveries=1),
        ),
        (
            [b"a", b"dead", b"9", ENVELOPE, None, b"1:"],
            Job("a", 5, state=JobState.DEAD, priority=Priority.HIGH, score_us=9, attempts=1, error=""),
        ),
        (None, None),
    ],
)
def test_rows(row: list[Any] | None, expected: Job | None) -> None:
    """Each state's row becomes the job it describes."""
    assert replies.read_row(row) == expected


def test_a_row_that_does_not_decode() -> None:
    """An error where one job was asked for, a job without a payload where many were."""
    row = [b"a", b"dead", b"9", b"2{", None, None]
    with pytest.raises(CorruptJob):
        replies.read_row(row)
    (shown,) = replies.read_rows([row])
    assert shown.error is not None
    assert shown == Job("a", None, state=JobState.DEAD, priority=Priority.LOW, score_us=9, error=shown.error)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (b"", (0, None)),
        (b"2:451: later", (2, "451: later")),
        (b"1:", (1, "")),
        (b"junk", (0, "")),
        (b"x:junk", (0, "junk")),
        (b"-1:x", (0, "x")),
        (b"1:\xff", (1, "�")),
    ],
)
def test_attempts_entries(entry: bytes, expected: tuple[int, str | None]) -> None:
    """A count and an error; anything else never fails to read."""
    assert replies.read_failures(entry) == expected


def test_a_claims_answer() -> None:
    """Time, wait, whether to ask again, and five words a job."""
    reply = [b"100", b"2500000", b"1", b"a", ENVELOPE, b"2", b"90", b"1:x", b"b", b"1{", b"1", b"95", b""]
    assert replies.read_claimed(reply) == Claimed(
        100, 2.5, True, [Delivery(b"a", ENVELOPE, 2, 90, b"1:x"), Delivery(b"b", b"1{", 1, 95, b"")]
    )
    assert replies.read_claimed([b"100", b"0", b""]) == Claimed(100, 0.0, False, [])
    with pytest.raises(ValueError, match="zip"):
        replies.read_claimed(reply[:-1])


def test_the_other_answers() -> None:
    """Enqueue, settle, stats and the run id."""
    row = [b"a", b"dead", b"9", ENVELOPE, None, None]
    assert replies.read_enqueued([b"1", b"7", row, None]) == (1, [7, replies.read_row(row), None])
    assert replies.read_settled([b"1", b"ok", b"gone"]) == (1, ["ok", "gone"])
    stats = Stats(3, 1, 2, 4, 5, moment(60), timedelta(microseconds=40))
    assert replies.read_stats([b"100", 3, 1, 2, 4, 5, b"60"]) == (100, stats)
    assert replies.read_stats([b"100", 0, 0, 0, 0, 0, b"200"])[1].oldest_due_age == timedelta(0)
    assert replies.read_stats([b"100", 0, 0, 0, 0, 0, b""])[1].next_due_at is None
    assert replies.read_run_id(b"# Server\r\nredis_version:7\r\nrun_id:abc\r\nx:y") == "abc"
    assert (replies.read_text(b"a"), replies.read_text(None)) == ("a", "")
    assert (replies.as_it_is(b"1"), replies.as_it_is(None)) == (b"1", None)
