"""kill -9 of the API, the worker and Valkey: nothing acknowledged is lost, and no duplicate is without its kill."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.chaos.plan import KILLS, Plan, draw
from tests.chaos.run import perform

PLANS = draw("kill", runs=3, actions=KILLS, strikes=4)
"""Twelve strikes in three services, for starting those is most of the work; `python -m tests.chaos` does any number."""

LEASE = timedelta(seconds=1)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", PLANS, ids=[plan.seed for plan in PLANS])
async def test_no_kill_loses_an_acknowledged_email_or_repeats_one_without_cause(plan: Plan) -> None:
    """Each e-mail a 201 was answered for is at the sink; a second copy came of a kill between 250 and outcome."""
    report = await perform(plan, LEASE)
    print(report)
    assert report.explain() == ""
    assert sum(report.killed.values()) == sum(len(strike.victims) for strike in plan.strikes)
    assert report.acknowledged > 0


def test_a_seed_gives_the_same_plan_again() -> None:
    """Whatever a run found can be looked for again, alone."""
    assert draw("kill", runs=3, actions=KILLS, strikes=4) == PLANS
    assert draw("other", runs=3, actions=KILLS, strikes=4) != PLANS
