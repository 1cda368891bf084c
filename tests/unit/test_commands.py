"""Building calls and reading replies, without a server: what a reply may look like, and which calls may be repeated."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from importlib import resources
from typing import Any

import pytest

from zqueue import replies
from zqueue.clock import moment
from zqueue.commands import (
    SCRIPTS,
    Call,
    Commands,
    Kept,
    Settlement,
    claim_format,
    eviction_policy,
    replicated,
    synced,
)
from zqueue.envelope import NewJob
from zqueue.errors import CorruptJob
from zqueue.job import Job, JobRecord, JobState, Priority
from zqueue.keys import Keys
from zqueue.replies import Claimed, Delivery, Fire, Stats

KEYS = Keys("q")
COMMANDS = Commands(KEYS)
KEPT = Kept(1, 2)
ENVELOPE = b'0{"payload":5}'


def test_a_script_is_its_prelude_and_its_file() -> None:
    """The server knows a script by the SHA-1 of them all together."""
    folder = resources.files("zqueue") / "lua"
    files = ("_prelude.lua", "_limits.lua", "_parking.lua", "_places.lua", "nudge.lua")
    text = b"\n".join((folder / file).read_bytes() for file in files)
    assert SCRIPTS["nudge"].text == text
    assert SCRIPTS["nudge"].sha == hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def test_what_may_be_sent_twice() -> None:
    """A claim would lease twice, what counts or takes away answer wrongly; everything else may be repeated unseen."""
    calls: dict[str, Call[Any]] = {
        "enqueue": COMMANDS.enqueue("p", "n", [NewJob(1).encode(9)]),
        "claim": COMMANDS.claim(1, 2, "t", 3, solo_ok=False, worker="", kept=KEPT),
        "settle": COMMANDS.settle([], KEPT),
        "extend": COMMANDS.extend([], 1),
        "progress": COMMANDS.progress((b"a", "t"), b"1"),
        "cancel": COMMANDS.cancel([]),
        "reschedule": COMMANDS.reschedule(b"7", []),
        "requeue": COMMANDS.requeue([]),
        "purge": COMMANDS.purge(JobState.DEAD, None, 1),
        "pause": COMMANDS.pause(paused=False),
        "limit": COMMANDS.limit("g", ""),
        "recur": COMMANDS.recur("n", b"t", b"w", 1, forward=False),
        "fire": COMMANDS.fire(b"n", b"1", 2, []),
        "unrecur": COMMANDS.unrecur("n"),
        "nudge": COMMANDS.nudge(),
        "missing": COMMANDS.missing([]),
        "get": COMMANDS.get("a"),
        "jobs": COMMANDS.jobs(JobState.DEAD, 1, None),
        "stats": COMMANDS.stats(),
    }
    assert set(calls) == set(SCRIPTS)
    once = {"claim", "settle", "cancel", "requeue", "purge", "unrecur"}
    assert {name for name, call in calls.items() if not call.repeatable} == once
    assert not COMMANDS.reschedule(b"+7", []).repeatable, "each time it would be later"
    others = (
        *claim_format(KEYS, 2),
        *COMMANDS.incarnation(),
        *COMMANDS.recurring(),
        COMMANDS.time(),
        eviction_policy(),
    )
    assert all(call.repeatable and not call.trailing for call in others)
    assert all(call.repeatable and call.trailing for call in (replicated(1, 2), synced(1, 2)))


def test_without_a_clock_the_servers_counts() -> None:
    """No time of this machine is sent."""
    assert COMMANDS.nudge().command[-2:] == (b"", "")


def test_a_first_page_has_no_cursor() -> None:
    """Empty words for lane, score and id; a job without a score starts at none; a parked one names its member."""
    assert COMMANDS.jobs(JobState.SCHEDULED, 7, None).command[-5:] == ("scheduled", 7, "", "", "")
    after = Job("x", 1, priority=Priority.LOW)
    assert COMMANDS.jobs(JobState.DEAD, 7, after).command[-5:] == ("dead", 7, 2, 0, "x")
    parked = JobRecord("x", 1, group="g", priority=Priority.LOW, score_us=12, parked=True)
    member = "g\x0020000000000000012x"
    assert COMMANDS.jobs(JobState.SCHEDULED, 7, parked).command[-5:] == ("scheduled", 7, 3, 0, member)


def test_a_settlement_is_five_words() -> None:
    """What a settlement leaves out goes as nothing."""
    call = COMMANDS.settle([Settlement(b"a", "t", "ack")], KEPT)
    assert call.command[-5:] == (b"a", "t", "ack", 0, "")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            [b"a", b"scheduled", b"7", ENVELOPE, None, None, None, None],
            JobRecord("a", 5, priority=Priority.HIGH, due_us=7, score_us=7),
        ),
        (
            [b"a", b"scheduled", b"1.7e+15", ENVELOPE, b":2:6", b"3:x:y", None, None],
            JobRecord(
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
            [b"a", b"leased", b"9", ENVELOPE, b"f00d:1:6", None, None, None],
            JobRecord("a", 5, state=JobState.LEASED, priority=Priority.HIGH, due_us=6, score_us=9, deliveries=1),
        ),
        (
            [b"a", b"dead", b"9", ENVELOPE, None, b"1:", None, None],
            JobRecord("a", 5, state=JobState.DEAD, priority=Priority.HIGH, score_us=9, attempts=1, error=""),
        ),
        (
            [b"a", b"parked", b"7", b'1{"group":"g","payload":5}', None, None, None, None],
            JobRecord("a", 5, group="g", due_us=7, score_us=7, parked=True),
        ),
        (
            [b"a", b"leased", b"9", ENVELOPE, b"f00d:1:6", None, b"0.5", None],
            JobRecord(
                "a",
                5,
                state=JobState.LEASED,
                priority=Priority.HIGH,
                due_us=6,
                score_us=9,
                deliveries=1,
                progress=0.5,
            ),
        ),
        (
            [b"a", b"done", b"9", b'1{"payload":5,"keep_done_us":60000000}', b":0:69", None, None, b"[1]"],
            JobRecord("a", 5, state=JobState.DONE, score_us=9, keep_done=timedelta(minutes=1), result=[1]),
        ),
        (
            [b"a", b"done", b"9", ENVELOPE, b":0:69", None, b"{", b"no JSON"],
            JobRecord("a", 5, state=JobState.DONE, priority=Priority.HIGH, score_us=9),
        ),
        (None, None),
    ],
)
def test_rows(row: list[Any] | None, expected: JobRecord | None) -> None:
    """Each state's row becomes the job it describes."""
    assert replies.read_row(row) == expected


def test_a_row_that_does_not_decode() -> None:
    """An error where one job was asked for, a job without a payload where many were."""
    row = [b"a", b"dead", b"9", b"2{", None, None, None, None]
    with pytest.raises(CorruptJob):
        replies.read_row(row)
    (shown,) = replies.read_rows([row])
    assert shown.error is not None
    assert shown == JobRecord("a", None, state=JobState.DEAD, priority=Priority.LOW, score_us=9, error=shown.error)
    (waits,) = replies.read_rows([[b"a", b"parked", b"9", b"x", None, None, None, None]])
    assert waits == JobRecord("a", None, score_us=9, error=waits.error, parked=True)


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
    """Time, wait, whether to ask again, three words a schedule that is due, and five words a job."""
    jobs = [b"a", ENVELOPE, b"2", b"90", b"1:x", b"b", b"1{", b"1", b"95", b""]
    deliveries = [Delivery(b"a", ENVELOPE, 2, 90, b"1:x"), Delivery(b"b", b"1{", 1, 95, b"")]
    reply = [b"100", b"2500000", b"1", b"0", *jobs]
    assert replies.read_claimed(reply) == Claimed(100, 2.5, True, [], deliveries)
    due = [b"n", b"1.7e+15", b"spec", b"m", b"60", b"x\ny"]
    claimed = replies.read_claimed([b"100", b"0", b"", b"2", *due, *jobs])
    assert claimed == Claimed(
        100, 0.0, False, [Fire(b"n", b"1.7e+15", b"spec"), Fire(b"m", b"60", b"x\ny")], deliveries
    )
    assert [fire.slot_us for fire in claimed.fires] == [1_700_000_000_000_000, 60]
    assert replies.read_claimed([b"100", b"0", b"", b"0"]) == Claimed(100, 0.0, False, [], [])
    for torn in (reply[:-1], [b"100", b"0", b"", b"2", *due[:-1]]):
        with pytest.raises(ValueError, match="zip"):
            replies.read_claimed(torn)


def test_the_other_answers() -> None:
    """Enqueue, settle, progress, recurring and fields of INFO."""
    row = [b"a", b"dead", b"9", ENVELOPE, None, None, None, None]
    held = Job("a", 5, state=JobState.DEAD, priority=Priority.HIGH, score_us=9)
    assert replies.read_enqueued([b"1", b"7", row, None]) == (1, [7, held, None])
    assert replies.read_settled([b"1", b"ok", b"gone"]) == (1, ["ok", "gone"])
    assert replies.read_word(b"stolen") == "stolen"
    assert replies.flags([1, 0]) == [True, False]
    assert replies.read_pairs([b"a", b"1", b"b", b"2"]) == {b"a": b"1", b"b": b"2"}
    assert replies.read_scores([b"a", b"1.7e+15", b"b", b"-inf"]) == {b"a": 1_700_000_000_000_000, b"b": 0}
    read = replies.read_info("run_id")
    assert read(b"# Server\r\nredis_version:7\r\nrun_id:abc\r\nx:y") == "abc"
    assert read(b"# Server\r\nrun_ids:abc\r\n") == ""
    assert (replies.read_text(b"a"), replies.read_text(None)) == ("a", "")
    assert (replies.as_it_is(b"1"), replies.as_it_is(None)) == (b"1", None)


def test_stats() -> None:
    """Counts, and how late the head is: not at all when it is due later, or there is none."""
    stats = Stats(3, 1, 2, 4, 5, 6, True, 7, moment(60), timedelta(microseconds=40))
    assert replies.read_stats([b"100", 3, 1, 2, 4, 5, 6, b"1", 7, b"60"]) == (100, stats)
    later = replies.read_stats([b"100", 0, 0, 0, 0, 0, 0, b"", 0, b"200"])[1]
    assert (later.paused, later.next_due_at, later.oldest_due_age) == (False, moment(200), timedelta(0))
    assert replies.read_stats([b"100", 0, 0, 0, 0, 0, 0, b"", 0, b""])[1].next_due_at is None


def test_the_stats_of_shards_add_up() -> None:
    """Jobs add up; a worker is seen on every shard; the head is the first, and as late as the latest."""
    one = Stats(1, 2, 3, 4, 5, 6, False, 7, moment(60), timedelta(microseconds=40))
    two = Stats(10, 20, 30, 40, 50, 60, True, 6, moment(50), timedelta(microseconds=50))
    none = Stats(0, 0, 0, 0, 0, 0, False, 0, None, timedelta(0))
    together = Stats(11, 22, 33, 44, 55, 66, True, 7, moment(50), timedelta(microseconds=50))
    assert replies.add_stats([one, none, two]) == together
    assert replies.add_stats([none, none]) == none
