"""FLUSHALL in the middle of the traffic: every schedule comes back from the journal."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.chaos.plan import FLUSHES, Plan, draw
from tests.chaos.run import perform

PLANS = draw("flush", runs=1, actions=FLUSHES, strikes=5)

LEASE = timedelta(seconds=1)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", PLANS, ids=[plan.seed for plan in PLANS])
async def test_an_emptied_valkey_loses_no_email(plan: Plan) -> None:
    """FLUSHALL at five seeded events, twice along with a kill: each acknowledged e-mail is at the sink."""
    report = await perform(plan, LEASE)
    print(report)
    assert report.explain() == ""
    assert report.killed["flush"] == len(plan.strikes)
    assert report.acknowledged > 0
