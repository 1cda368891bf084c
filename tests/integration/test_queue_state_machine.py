"""The real scripts against a queue in plain Python: whatever the calls, the same answers and the same state.

The calls are the same in each run; `--hypothesis-seed=N` makes others.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.queue_machine import QueueMachine
from zqueue.embedded import Server


@pytest.mark.timeout(400)  # to make a failure small may take 300 s
def test_scripts_do_what_the_model_does(any_server: Server, pytestconfig: pytest.Config) -> None:
    """Every script, in any order, agrees with the model in its answers and in everything it leaves behind."""
    seeded = pytestconfig.getoption("--hypothesis-seed") is not None
    chosen = settings(
        max_examples=100,
        stateful_step_count=50,
        deadline=None,
        database=None,
        derandomize=not seeded,
        suppress_health_check=[HealthCheck.too_slow],
    )
    with asyncio.Runner() as opened:

        class OnThisServer(QueueMachine):
            url = any_server.url
            loop = opened.get_loop()

        run_state_machine_as_test(OnThisServer, settings=chosen)
