"""How often a key may be used: a bucket for each key and scope, with a clock that the tests move."""

from __future__ import annotations

import pytest

from service.access import limiter
from service.access.limiter import Allowance, Limiter
from service.access.scopes import Scope
from service.rates import Rate


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def counted(limited: Limiter, key_id: str = "a", scope: Scope = Scope.SEND) -> tuple[int, float, float]:
    """Remaining, reset and wait of one request, rounded to a thousandth."""
    told = limited.take(key_id, scope)
    assert told is not None
    return told.remaining, round(told.reset, 3), round(told.wait, 3)


def test_a_bucket_empties_and_fills_again() -> None:
    """A window's worth may come at once; from then on one for each share of the window that has passed."""
    clock = Clock()
    limited = Limiter({"send": Rate(3, 6)}, clock)
    assert [counted(limited) for _ in range(4)] == [(2, 2, 0), (1, 4, 0), (0, 6, 0), (0, 6, 2)]
    clock.now += 1.5
    assert counted(limited) == (0, 4.5, 0.5)
    clock.now += 0.5
    assert counted(limited) == (0, 6, 0)
    clock.now += 100
    assert counted(limited) == (2, 2, 0)


def test_a_refused_request_costs_nothing() -> None:
    """Who keeps knocking is let in as early as who waits."""
    clock = Clock()
    limited = Limiter({"send": Rate(1, 10)}, clock)
    assert counted(limited) == (0, 10, 0)
    for _ in range(50):
        assert counted(limited)[2] > 0
    clock.now += 10
    assert counted(limited) == (0, 10, 0)


def test_keys_and_scopes_are_counted_apart() -> None:
    """One key does not use up another's, nor its own of another scope; a scope without a rate is free."""
    limited = Limiter({"send": Rate(1, 1), "read": Rate(1, 1)}, Clock())
    assert counted(limited, "a")[2] == 0
    assert counted(limited, "a")[2] > 0
    assert counted(limited, "b")[2] == 0
    assert counted(limited, "a", Scope.READ)[2] == 0
    assert limited.take("a", Scope.ADMIN) is None


def test_the_rate_holds_over_time() -> None:
    """Asked as often as can be, a bucket lets through its window's worth and then its rate, to the request."""
    clock = Clock()
    limited = Limiter({"send": Rate(7, 3)}, clock)
    passed = 0
    for _ in range(3000):
        passed += counted(limited)[2] == 0
        clock.now += 0.01
    assert passed == 7 + 7 * 10 - 1, "thirty seconds, of which the last share has not passed yet"


def test_the_fields_are_those_of_the_draft() -> None:
    """`RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-11 has them."""
    assert Allowance("send", Rate(100, 60), remaining=99, reset=0.6, wait=0).headers == {
        "RateLimit-Policy": '"send";q=100;w=60',
        "RateLimit": '"send";r=99;t=1',
    }


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets that are full again go first, then the ones used least lately; others keep their count."""
    monkeypatch.setattr(limiter, "MOST", 3)
    clock = Clock()
    limited = Limiter({"send": Rate(2, 10)}, clock)
    for key_id in ("old", "b", "c"):
        counted(limited, key_id)
        clock.now += 2
    assert counted(limited, "d") == (1, 5, 0)
    assert counted(limited, "c") == (0, 8, 0)
    assert counted(limited, "e") == (1, 5, 0)
    assert counted(limited, "f") == (1, 5, 0)
    assert len(limited._full_at) == 3
