"""Several processes of each kind on one data directory, under load of every kind; see `mixed_load` for more of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration import legal
from tests.integration.mixed_load import run


async def test_every_history_is_legal_and_all_processes_agree(short_folder: Path) -> None:
    """Two APIs, two workers, six clients, and compactions meanwhile: no step, revision or answer is out of order."""
    result = await run(short_folder, 8, compact=True)
    assert result.wrong == []
    assert {name.split()[0] for name in result.did} == {"accept", "batch", "cancel", "move", "edit", "retry", "read"}
    assert result.types.keys() >= {"email.completed", "email.failed", "email.retrying", "email.cancelled", "sealed"}


def line(seq: int, rev: int, type_: str, **state: object) -> legal.Line:
    """A line of an e-mail."""
    whole = {"status": "scheduled", "run": 0, "gen": 1, "attempts": 0} | state
    return {"seq": seq, "id": "em_1", "rev": rev, "type": type_, "data": {"state": whole}}


ACCEPTED = line(1, 1, "email.scheduled")
SENDING = line(2, 2, "email.sending", status="sending", run=1, by="p")
SENT = line(3, 3, "email.completed", status="completed", run=1, attempts=1)


@pytest.mark.parametrize(
    ("journal", "wrong"),
    [
        ([ACCEPTED, SENDING, SENT], []),
        ([ACCEPTED, SENT], ["line 2 is missing, here is 3", "revision 3 after 1", "run 1 after 0 by email.completed",
                            "1 attempts after 0 by email.completed"]),
        ([ACCEPTED, SENDING, SENT, line(4, 4, "email.sending", status="sending", run=2, by="p", attempts=1)],
         ["completed -> sending by email.sending"]),
        ([ACCEPTED, line(2, 2, "email.updated", gen=3)], ["job 3 after 1 by email.updated"]),
        ([ACCEPTED, line(2, 2, "email.sending", status="sending", run=1)], ["sending by None"]),
    ],
)  # fmt: skip
def test_the_checker_knows_what_is_wrong(journal: list[legal.Line], wrong: list[str]) -> None:
    """Each kind of fault is found in a journal that has it."""
    assert [what.rpartition(": ")[2] for what in legal.faults(journal)] == wrong
