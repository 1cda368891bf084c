"""Backoffs and retries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from zqueue.errors import InvalidJob
from zqueue.retry import LONGEST, Backoff, Retry, exponential, fixed, steps


def _delays(backoff: Backoff, failures: list[int]) -> list[float]:
    return [backoff.delay(each).total_seconds() for each in failures]


def test_fixed() -> None:
    """The same delay each time."""
    assert _delays(fixed(5), [1, 2, 100]) == [5, 5, 5]


def test_exponential_doubles_up_to_its_cap() -> None:
    """Base, twice, four times ..., and never more than the cap, however many attempts failed."""
    assert _delays(exponential(1, cap=60), [1, 2, 3, 6, 7, 8, 10_000]) == [1, 2, 4, 32, 60, 60, 60]
    assert _delays(exponential(0.5), [1, 13, 14]) == [0.5, 2048, 3600]


def test_steps_repeat_the_last() -> None:
    """The listed delays in turn; the last one goes on."""
    assert _delays(steps(60, 600, 3600), [1, 2, 3, 4, 50]) == [60, 600, 3600, 3600, 3600]


@pytest.mark.parametrize(("draw", "expected"), [(0.0, 54.0), (0.5, 60.0), (1.0, 66.0)])
def test_jitter_spreads_both_ways(draw: float, expected: float) -> None:
    """A jitter of 0.1 lies between 10 % less and 10 % more."""
    assert steps(60, jitter=0.1).delay(1, lambda: draw).total_seconds() == pytest.approx(expected)


def test_jitter_true_is_a_quarter() -> None:
    """`jitter=True` spreads by a quarter; jitter comes after the cap and may pass it."""
    assert exponential(100, cap=40, jitter=True).delay(3, lambda: 1.0) == timedelta(seconds=50)


def test_no_delay_is_longer_than_the_longest() -> None:
    """Not even jitter makes a delay that a sorted set could not hold in order."""
    longest = LONGEST.total_seconds()
    assert fixed(longest, jitter=1.0).delay(1, lambda: 1.0) == LONGEST


def test_without_jitter_nothing_is_drawn() -> None:
    """A plain backoff does not ask for randomness."""

    def draw() -> float:
        pytest.fail("drew")

    assert fixed(1).delay(1, draw) == timedelta(seconds=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fixed(-1),
        lambda: fixed(float("nan")),
        lambda: fixed(float("inf")),
        lambda: fixed("5"),  # type: ignore[arg-type]
        lambda: fixed(True),
        lambda: fixed(LONGEST.total_seconds() + 1),
        lambda: exponential(1, cap=-1),
        lambda: exponential(1, jitter=1.5),
        lambda: exponential(1, jitter=-0.1),
        lambda: exponential(1, jitter="x"),  # type: ignore[arg-type]
        lambda: exponential(1, jitter=float("nan")),
        lambda: steps(),
        lambda: steps(60, -1),
        lambda: Retry(0),
        lambda: Retry(-1),
        lambda: Retry(1.5),  # type: ignore[arg-type]
        lambda: Retry(True),
        lambda: Retry(3, 5),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused(make: Callable[[], object]) -> None:
    """What cannot be a delay, a share or a number of attempts is `InvalidJob`."""
    with pytest.raises(InvalidJob):
        make()


def test_attempts_count_runs() -> None:
    """Three attempts are three runs: two delays, then no more."""
    retry = Retry(3, fixed(7))
    assert [retry.next_delay(failures) for failures in (1, 2, 3, 4)] == [timedelta(seconds=7)] * 2 + [None] * 2


def test_none_never_gives_up() -> None:
    """`attempts=None` goes on after any number of failures."""
    assert Retry(None, fixed(1)).next_delay(1_000_000) == timedelta(seconds=1)


def test_the_default_is_three_retries() -> None:
    """`Retry()` is four runs with a doubling delay that is spread by a quarter."""
    assert Retry() == Retry(4, exponential(1, cap=3600, jitter=True))
    assert [Retry().next_delay(n) is None for n in (1, 2, 3, 4)] == [False, False, False, True]


@pytest.mark.parametrize("retry", [Retry(), Retry(None, steps(60, 600, jitter=0.1)), Retry(1, fixed(0))])
def test_what_an_envelope_keeps(retry: Retry) -> None:
    """A retry policy survives its JSON form."""
    assert Retry.from_json(retry.to_json()) == retry


@pytest.mark.parametrize(
    "stored",
    [
        [],
        [4, "fixed", [1], 60],
        [4, "linear", [1], 60, 0],
        [4, "steps", [], 60, 0],
        [4, "steps", ["a"], 60, 0],
        [4, "steps", [-1], 60, 0],
        [4, "steps", [1], "60", 0],
        [4, "steps", [1], 60, "x"],
        [4, "steps", [1], 60, 7],
        ["4", "steps", [1], 60, 0],
        [0, "steps", [1], 60, 0],
        {"attempts": 4},
        5,
    ],
)
def test_a_damaged_policy_is_an_error_at_once(stored: Any) -> None:
    """Not first when a job has failed and its delay is computed."""
    with pytest.raises((ValueError, TypeError)):
        Retry.from_json(stored)
