"""Two APIs and two workers on one data directory agree, and every history is legal; the judge sees what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos import mixed_load, paths


def line(seq: int, rev: int, kind: str, status: str, **state: Any) -> dict[str, Any]:
    """A line about one e-mail."""
    data = {"state": {"status": status, "run": 0, "gen": 1, "attempts": 0} | state} | (
        {"content": {}} if rev == 1 else {}
    )
    return {"seq": seq, "id": "em_1", "rev": rev, "type": kind, "data": data}


GOOD = [
    line(1, 1, "email.scheduled", "scheduled"),
    line(2, 2, "email.sending", "sending", run=1),
    line(3, 3, "email.completed", "completed", run=1, attempts=1),
]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ([], None),
        ([(1, line(2, 3, "email.sending", "sending", run=1))], "em_1 rev 3 email.sending: after rev 1"),
        ([(1, line(3, 2, "email.sending", "sending", run=1))], "line 2 is missing; here is 3"),
        ([(1, line(2, 2, "email.sending", "sending"))], "em_1 rev 2 email.sending: run 0 became 0"),
        ([(2, line(3, 3, "email.cancelled", "cancelled", run=1))], "from sending to cancelled"),
        ([(0, line(1, 1, "email.sending", "sending"))], "not how an e-mail begins"),
    ],
)
def test_the_judge_sees_what_is_not_legal(changed: list[tuple[int, dict[str, Any]]], fault: str | None) -> None:
    """A gap, a step that the table does not have, a run that does not grow."""
    lines = list(GOOD)
    for at, other in changed:
        lines[at] = other
    found = paths.faults(lines)
    assert found == [] if fault is None else any(fault in one for one in found), found


def test_mixed_load_on_one_directory(tmp_path: Path) -> None:
    """A few seconds of everything at once leave no gap, no illegal step, and no two opinions."""
    report = mixed_load.run(tmp_path, 4)
    assert report.faults == []
    assert report.statuses["completed"] > 0
    assert report.statuses["cancelled"] > 0
