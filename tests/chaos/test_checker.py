"""The judge itself: bad histories are found out, and good ones are not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import Verdict, check
from tests.chaos.history import Attempt, Copy, History, Record, WorkerKill, read_journal

KILL = WorkerKill("w1.test", "aaaa", connections=2)
DIED = Attempt("aaaa", died=True)
FINE = Attempt("bbbb")


def copy(name: str, session: int, client: str = "w2.test", digest: str = "d") -> Copy:
    """The message of the e-mail *name* at the sink."""
    return Copy(f"<{name}>", session, client, digest)


def record(name: str, *attempts: Attempt, status: str = "completed") -> dict[str, Record]:
    """The e-mail *name* in the journal."""
    return {name: Record(f"<{name}>", status, attempts)}


def history(
    records: dict[str, Record],
    copies: Sequence[Copy],
    kills: Sequence[WorkerKill] = (KILL,),
    acknowledged: Sequence[str] | None = None,
) -> History:
    """One in which a 201 was answered for each of *records*, unless *acknowledged* says which."""
    answered = records.keys() if acknowledged is None else acknowledged
    return History({name: f"<{name}>" for name in answered}, records, copies, kills)


REPEATED = history(record("a", DIED, FINE), [copy("a", 1, "w1.test"), copy("a", 2)])
"""The first copy came from a worker that was killed before it wrote the outcome."""


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        pytest.param(history(record("a", FINE), [copy("a", 1)]), Verdict(), id="sent once"),
        pytest.param(REPEATED, Verdict(attributed=1), id="killed between 250 and outcome"),
        pytest.param(
            history(record("a", DIED, FINE), [copy("a", 2)]), Verdict(), id="killed before the message was there"
        ),
        pytest.param(
            history(record("a", DIED, FINE), [copy("a", 2), copy("a", 1, "w1.test")]),
            Verdict(attributed=1),
            id="the dead worker's copy arrives last",
        ),
        pytest.param(
            history(record("a", FINE), [copy("a", 1)], acknowledged=[]),
            Verdict(unacknowledged=1),
            id="sent though the answer was lost",
        ),
        pytest.param(
            history(
                record("a", DIED, Attempt("cccc", died=True)),
                [copy("a", 1, "w1.test"), copy("a", 2, "w2.test")],
                [KILL, WorkerKill("w2.test", "cccc", 1)],
            ),
            Verdict(attributed=1),
            id="both copies from workers that were killed",
        ),
    ],
)
def test_what_is_allowed_is_no_violation(told: History, verdict: Verdict) -> None:
    """Duplicates that a kill explains, and e-mails that were sent though unacknowledged, are counted and forgiven."""
    assert check(told) == verdict
    assert check(told).violations == {}


@pytest.mark.parametrize(
    ("told", "violations"),
    [
        pytest.param(
            history(record("a", FINE), []), {"lost": ("a",), "unsent": ("a",)}, id="completed and not at the sink"
        ),
        pytest.param(
            history(record("a", status="scheduled"), []),
            {"lost": ("a",), "unfinished": ("a",)},
            id="waits for ever",
        ),
        pytest.param(
            history({}, [], acknowledged=["a"]), {"lost": ("a",), "forgotten": ("a",)}, id="gone from the journal"
        ),
        pytest.param(
            history({}, [copy("a", 1)], acknowledged=["a"]), {"forgotten": ("a",)}, id="sent, and gone from the journal"
        ),
        pytest.param(
            history(record("a", FINE, status="failed"), [copy("a", 1)]), {"failed": ("a",)}, id="failed for no reason"
        ),
        pytest.param(history({}, [copy("a", 1)]), {"phantoms": ("<a>",)}, id="never accepted"),
        pytest.param(
            replace(REPEATED, copies=[copy("a", 1, "w1.test"), copy("a", 2, digest="other")]),
            {"altered": ("<a>",)},
            id="the second copy differs",
        ),
        pytest.param(
            history(record("a", FINE), [copy("a", 1), copy("a", 2)]), {"unattributed": ("<a>",)}, id="sent twice"
        ),
        pytest.param(replace(REPEATED, kills=[]), {"unattributed": ("<a>",)}, id="nobody was killed"),
        pytest.param(
            replace(REPEATED, records=record("a", Attempt("aaaa"), FINE)),
            {"unattributed": ("<a>",)},
            id="killed, but its outcome was written",
        ),
        pytest.param(
            replace(REPEATED, records=record("a", Attempt("cccc", died=True), FINE)),
            {"unattributed": ("<a>",)},
            id="another process died",
        ),
        pytest.param(
            history(
                record("a", DIED, FINE) | record("b", FINE),
                [copy("a", 1, "w1.test"), copy("b", 1, "w1.test"), copy("a", 2)],
            ),
            {"unattributed": ("<a>",)},
            id="the connection carried another message afterwards",
        ),
        pytest.param(
            history(record("a", DIED, FINE), [copy("a", 1, "w1.test"), copy("a", 2), copy("a", 3), copy("a", 4)]),
            {"unattributed": ("<a>", "<a>")},
            id="more copies than the kill explains",
        ),
        pytest.param(
            history(
                record("a", DIED, FINE) | record("b", DIED, FINE) | record("c", DIED, FINE),
                [copy(name, n, "w1.test") for n, name in enumerate("abc")] + [copy(name, 9) for name in "abc"],
            ),
            {"excess": ("w1.test",)},
            id="more duplicates than connections",
        ),
    ],
)
def test_a_broken_promise_is_found_out(told: History, violations: dict[str, tuple[str, ...]]) -> None:
    """Every kind of violation is reported by its name, for the e-mail it is about."""
    assert check(told).violations == violations


def line(seq: int, kind: str, **state: Any) -> dict[str, Any]:
    """A line of a journal about the e-mail ``em_a``."""
    content = {"content": {"message_id": "<a>"}} if kind == "email.scheduled" else {}
    return {"seq": seq, "id": "em_a", "rev": seq, "type": kind, "data": {"state": state, **content}, "end": 1}


@pytest.mark.parametrize(
    ("attempts", "died"),
    [pytest.param(0, True, id="uncounted: its process died"), pytest.param(1, False, id="counted: a drop")],
)
def test_the_journal_tells_a_death_from_a_drop(tmp_path: Path, attempts: int, died: bool) -> None:
    """A run whose outcome is unknown because its process died is told apart from one cut after the final dot."""
    lines = [
        line(1, "email.scheduled", status="scheduled", attempts=0),
        line(2, "email.sending", status="sending", attempts=0, by="aaaa"),
        line(3, "email.retrying", status="retrying", attempts=attempts, reason="unknown"),
        line(4, "email.sending", status="sending", attempts=attempts, by="bbbb"),
        line(5, "email.completed", status="completed", attempts=attempts + 1),
    ]
    content = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
    (tmp_path / "journal-0-0000.jsonl").write_bytes(content + content[:40])
    expected = {"em_a": Record("<a>", "completed", (Attempt("aaaa", died=died), Attempt("bbbb")))}
    assert read_journal(tmp_path) == expected
