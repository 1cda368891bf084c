"""A server out of memory: nothing new is taken, and what is there is still run, renewed and ended.

Otherwise a full server could never empty itself, and running jobs would lose their leases to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.conftest import StartServer
from tests.integration.script_bench import Bench, S, envelopes
from zqueue.errors import QueueUnavailable


@pytest.fixture
async def full(start_server: StartServer, kind: str) -> AsyncIterator[Bench]:
    """A bench on a server of each kind that can be filled up."""
    bench = Bench("q", start_server(kind=kind).url)
    yield bench
    await bench.raw("CONFIG", "SET", "maxmemory", "0")
    await bench.close()


async def _fill(bench: Bench) -> None:
    await bench.raw("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(QueueUnavailable, match="'maxmemory'"):
        await bench.put("refused")


@pytest.mark.parametrize("worker", ["", "w"])
async def test_claims_go_on(full: Bench, worker: str) -> None:
    """Due jobs and expired leases are leased, suspects put off, and poison buried."""
    await full.put("poison")
    await full.claim()
    full.advance(10)
    await full.put("suspect", at=10)
    await full.claim()
    full.advance(10)
    await full.put("due")
    await _fill(full)
    assert await full.claim_ids(token="beef", most=2, solo_ok=False, worker=worker) == ["due"]
    state = await full.state()
    assert (state["leased"], state["dead"]) == ({"due": 30 * S, "suspect": 25 * S}, {"poison": 20 * S})
    full.advance(5)
    assert await full.claim_ids(token="cafe", most=2, worker=worker) == ["suspect"]


async def test_an_expired_lease_alone_is_claimed(full: Bench) -> None:
    """With nothing due in any lane, the job of a dead worker is claimed all the same."""
    await full.put("a")
    await full.claim()
    full.advance(10)
    await _fill(full)
    assert await full.claim_ids(token="beef") == ["a"]


async def test_leases_are_renewed(full: Bench) -> None:
    """A running job does not lose its lease because memory has run out."""
    await full.put("a")
    await full.claim()
    full.advance(1)
    await _fill(full)
    assert await full.extend("a", "none") == ["ok", "gone"]
    assert (await full.state())["leased"] == {"a": 11 * S}


async def test_a_token_is_passed_on(full: Bench) -> None:
    """Nobody sleeps longer because memory has run out."""
    await full.put("a")
    await full.tokens()
    await _fill(full)
    assert await full.run(full.commands.nudge()) == 1


async def test_every_ending_is_recorded(full: Bench) -> None:
    """Each verb takes effect, each in a call of its own."""
    await full.put("ack", "keep", "retry", "snooze", "bury", "release")
    await full.claim()
    await full.tokens()
    await _fill(full)
    for verb in ("bury", "retry", "snooze", "release"):
        assert await full.settle(verb, verb=verb, delay=60, text="451") == ["ok"]
    assert await full.settle("keep", verb="ack", delay=60, text="[]") == ["ok"]
    assert await full.settle("ack", verb="ack") == ["ok"]
    assert await full.state() == {
        "due:1": {"retry": 60 * S, "snooze": 60 * S, "release": 60 * S},
        "dead": {"bury": 0},
        "done": {"keep": 0},
        "results": {"keep": b"[]"},
        "claims": {"keep": ("", 0, 60 * S)},
        "jobs": envelopes(["keep", "retry", "snooze", "bury", "release"]),
        "attempts": {"retry": b"1:451", "bury": b"1:451"},
    }
