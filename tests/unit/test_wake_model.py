"""No wake-up is ever lost: checked in every state that small configurations of the wake protocol can reach.

`pytest -s` prints what each search found, for a broken rule the shortest way to the damage.
"""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.exhaustive import explore
from tests.unit.wake_model import Model
from tests.unit.wake_worker import Rules

pytestmark = pytest.mark.no_cover  # it runs nothing of the library, and would take a third longer

UNGUARDED = "the invariant is broken"


@pytest.fixture(autouse=True)
def no_garbage() -> Iterator[None]:
    """A search makes millions of tuples and no cycles: looking for some among them takes a fifth of its time."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("configuration", "states"),
    [
        pytest.param({"workers": 2, "slots": 1, "jobs": 3}, 72_818, id="two workers", marks=pytest.mark.slow),
        pytest.param(
            {"workers": 3, "slots": 1, "jobs": 2, "pauses": False, "overdue": False},
            98_600,
            id="three workers",
            marks=pytest.mark.slow,
        ),
        pytest.param({"workers": 1, "slots": 2, "jobs": 3}, 10_366, id="two slots"),
        pytest.param({"workers": 2, "slots": 1, "jobs": 1, "cap": 4}, 23_692, id="finer time"),
        pytest.param({"workers": 2, "slots": 1, "jobs": 2, "cap": 3, "lease": 2}, 25_228, id="short leases"),
    ],
)
def test_free_worker_is_always_going_to_see_the_head(configuration: dict[str, Any], states: int) -> None:
    """In every state somebody free is going to see the head in time, and a job due now needs no time to be claimed."""
    found = explore(Model(**configuration))
    print(found)
    assert (found.fault, found.states) == ("", states), str(found)


@pytest.mark.parametrize(
    ("configuration", "states"),
    [
        pytest.param({"workers": 2, "slots": 1, "jobs": 2, "pauses": False}, 29_217, id="two workers"),
        pytest.param({"workers": 2, "slots": 1, "jobs": 1, "cap": 3, "lease": 2}, 12_483, id="short leases"),
    ],
)
def test_one_crash_makes_a_job_late_by_at_most_cap(configuration: dict[str, Any], states: int) -> None:
    """When a worker dies with a token in its hand, no due job waits longer than CAP beside a free slot."""
    found = explore(Model(crashes=1, **configuration))
    print(found)
    assert (found.fault, found.states) == ("", states), str(found)


@pytest.mark.parametrize(
    ("workers", "rules", "fault"),
    [
        pytest.param(2, Rules(push_when_the_head_moved=True), UNGUARDED, id="push when the head moved"),
        pytest.param(2, Rules(full_worker_keeps_its_token=True), UNGUARDED, id="a full worker keeps its token"),
        pytest.param(
            1,
            Rules(blpop_again_before_the_claim=True),
            "it need not come to rest: the last steps repeat",
            id="BLPOP issued again before the claim",
        ),
        pytest.param(2, Rules(stop_without_a_nudge=True), UNGUARDED, id="stop without a nudge"),
        pytest.param(2, Rules(nudge_overtakes_the_close=True), UNGUARDED, id="the nudge overtakes the close"),
    ],
)
def test_each_rule_is_needed(workers: int, rules: Rules, fault: str) -> None:
    """Without any one of its rules the protocol loses a wake-up, or spins, in a way the search can show."""
    found = explore(Model(workers, slots=1, jobs=2, rules=rules))
    print(found)
    assert (found.fault, len(found.trace) > 0) == (fault, True)
