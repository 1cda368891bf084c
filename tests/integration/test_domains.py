"""Domains that defer or are slow, among others: `benchmarks/domains.py`, small."""

from __future__ import annotations

from benchmarks.domains import measure


async def test_other_domains_do_not_notice() -> None:
    """They are done while the slow one has hardly begun; the deferring one is asked as its e-mails' schedules say."""
    found = await measure(600, 12, trouble=True, delay=1.0, retries=(0.3, 0.6))
    assert found.others == 500
    assert found.slow_taken < 50, "the others did not wait for it"
    assert 1 <= found.slow_most <= 5, "not all of the connections"
    assert found.attempts == (3, 3)
    assert found.late_ms[0] >= 0, "none came early"
