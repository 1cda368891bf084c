"""Cancel and send cannot both win, however close they come."""

from __future__ import annotations

from pathlib import Path

from tests.integration.cancel_race import race
from tests.integration.test_dispatch_worker import a_bench, a_worker
from tests.smtpd import SmtpServer


async def test_a_cancel_at_the_due_instant_wins_or_loses_wholly(tmp_path: Path) -> None:
    """An e-mail is sent once and completed, or cancelled and never on the wire; the answer says which."""
    async with SmtpServer() as server, a_bench(tmp_path, server) as bench, a_worker(bench.settings):
        outcome = await race(bench, server, 80)
    assert outcome.wrong == []
    assert (outcome.cancelled + outcome.sent, outcome.cancelled > 0, outcome.sent > 0) == (80, True, True)
