"""Counting events: the act is part of the k-th one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.chaos.events import JournalTail, Trigger
from tests.chaos.programs import ChaosError


def test_the_act_happens_within_the_kth_event() -> None:
    """Other events do not count, and the act has happened when the k-th `saw` returns; not again after it."""
    acts: list[str] = []
    trigger = Trigger("sending", 2, lambda: acts.append("act"))
    counts = []
    for event in ("sending", "completed", "sending", "sending"):
        trigger.saw(event)
        counts.append((event, len(acts), trigger.pulled.is_set()))
    assert counts == [
        ("sending", 0, False),
        ("completed", 0, False),
        ("sending", 1, True),
        ("sending", 1, True),
    ]


def test_a_failed_act_is_kept_for_the_run() -> None:
    """The event comes up in some task that nobody waits for; the run must hear of it nevertheless."""
    error = ChaosError("the worker ended by itself")

    def act() -> None:
        raise error

    trigger = Trigger("sending", 1, act)
    trigger.saw("sending")
    assert (trigger.pulled.is_set(), trigger.error) == (True, error)


def test_only_whole_writes_count(tmp_path: Path) -> None:
    """What was there before is skipped, and a write shows once its last line is whole."""
    journal = tmp_path / "journal-0-0000.jsonl"
    one = json.dumps({"seq": 1, "type": "email.scheduled", "end": 1}).encode() + b"\n"
    two = json.dumps({"seq": 2, "type": "email.sending"}).encode() + b"\n"
    three = json.dumps({"seq": 3, "type": "email.completed", "end": 1}).encode() + b"\n"
    journal.write_bytes(one)
    tail = JournalTail(tmp_path)
    seen = []
    for content in (one, one + two, one + two + three[:10], one + two + three, one + two + three):
        journal.write_bytes(content)
        seen.append(tail.lines())
    assert seen == [[], [], [], ["email.sending", "email.completed"], []]
