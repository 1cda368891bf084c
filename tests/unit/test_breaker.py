"""The breaker of a relay, with an explicit clock."""

from __future__ import annotations

import math

from service.mailer.breaker import Breaker


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def a_breaker() -> tuple[Breaker, Clock]:
    """A breaker without jitter, and its clock."""
    clock = Clock()
    return Breaker(first=5, longest=300, clock=clock, rng=lambda: 0.5), clock


def test_closed_lets_everybody_through() -> None:
    """Nothing waits while there was no trouble, and nobody is a probe."""
    breaker, _ = a_breaker()
    assert [(breaker.enter(), breaker.is_closed, breaker.wait()) for _ in range(3)] == [(True, True, 0.0)] * 3


def test_one_probe_after_the_wait() -> None:
    """Open, it lets nobody through before the first wait, then exactly one."""
    breaker, clock = a_breaker()
    breaker.failed("refused")
    assert (breaker.enter(), breaker.wait(), breaker.error) == (False, 5.0, "refused")
    clock.now += 4.999
    assert not breaker.enter()
    clock.now += 0.001
    assert (breaker.enter(), breaker.enter(), breaker.wait()) == (True, False, math.inf)


def test_waits_double_up_to_the_longest() -> None:
    """Each probe that fails doubles the wait, up to five minutes."""
    breaker, clock = a_breaker()
    breaker.failed("refused")
    waits = []
    for _ in range(8):
        waits.append(breaker.wait())
        clock.now += breaker.wait()
        assert breaker.enter()
        breaker.failed("refused", probe=True)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]


def test_what_was_under_way_does_not_lengthen_the_wait() -> None:
    """Eight connections that fail together count once, and their error is kept."""
    breaker, _ = a_breaker()
    for n in range(8):
        breaker.failed(f"refused {n}")
    assert (breaker.wait(), breaker.error) == (5.0, "refused 7")


def test_success_closes_it() -> None:
    """A probe that works lets everybody through again, and the next trouble starts from the first wait."""
    breaker, clock = a_breaker()
    breaker.failed("refused")
    clock.now += 5
    breaker.enter()
    breaker.failed("refused", probe=True)
    clock.now += 10
    breaker.enter()
    breaker.succeeded()
    assert (breaker.is_closed, breaker.enter(), breaker.error) == (True, True, None)
    breaker.failed("again")
    assert breaker.wait() == 5.0


def test_abandoned_probe_leaves_room_for_another() -> None:
    """A probe that was cancelled says nothing: the next one goes at once."""
    breaker, clock = a_breaker()
    breaker.failed("refused")
    clock.now += 5
    breaker.enter()
    breaker.abandoned()
    assert (breaker.is_closed, breaker.enter()) == (False, True)


def test_jitter_spreads_the_probes() -> None:
    """The draw moves the wait by up to a tenth, both ways."""
    waits = []
    for draw in (0.0, 0.5, 0.999999):
        breaker = Breaker(first=10, clock=Clock(), rng=lambda draw=draw: draw)  # type: ignore[misc]
        breaker.failed("refused")
        waits.append(round(breaker.wait(), 3))
    assert waits == [9.0, 10.0, 11.0]
