"""Cancel (or a new time) and send cannot both win, however close they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cancel_race import race
from tests.integration.test_dispatch_worker import a_bench, a_worker
from tests.smtpd import SmtpServer


@pytest.mark.parametrize("reschedule", [False, True])
async def test_a_stop_at_the_due_instant_wins_or_loses_wholly(tmp_path: Path, reschedule: bool) -> None:
    """An e-mail is sent once and completed, or cancelled (or moved, with a job then) and never on the wire."""
    async with SmtpServer() as server, a_bench(tmp_path, server) as bench, a_worker(bench.settings):
        outcome = await race(bench, server, 80, reschedule=reschedule)
    assert outcome.wrong == []
    assert (outcome.stopped + outcome.sent, outcome.stopped > 0, outcome.sent > 0) == (80, True, True)
