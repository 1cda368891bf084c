"""kill -9 and FLUSHALL under a schedule that fires each second: every second makes one e-mail, no more, no less."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.chaos.harness import Arena, running
from tests.chaos.history import read_copies
from tests.chaos.plan import Plan, Strike

STRIKES = ("worker", "flush", "worker+valkey", "worker+flush", "api+worker+valkey", "worker")
LEASE = timedelta(seconds=1)
TICK = {
    "every": 1,
    "misfire": "all",
    "email": {"from": "me@example.com", "to": "you@example.com", "template": {"name": "tick"}},
}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_second_is_one_email_whoever_is_killed() -> None:
    """The slots that were fired are all there, in a row; each has one e-mail, and all of these are at the sink."""
    plan = Plan("schedules", (), connections=2, refuse_every=0)
    async with running(plan, LEASE) as arena:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{arena.port}", timeout=30) as http:
            await _ok(http.put("/v1/templates/tick", json={"subject": "Tick", "text": "Tick"}))
            await _ok(http.put("/v1/schedules/tick", json=TICK))
            for action in STRIKES:
                await _more(arena, 3)
                strike = Strike(action, "stored", 1, emails=0, settle=False)
                arena.aim(strike)()
                await arena.restart(strike.victims)
            await _more(arena, 3)
            await _ok(http.post("/v1/schedules/tick/pause"))
            await arena.settled()
            fired = await _fired(http)
        sent = {copy.message_id for copy in read_copies(arena.sink.log)}
    slots = sorted(datetime.fromisoformat(one["slot"]) for one in fired)
    assert slots == [slots[0] + n * timedelta(seconds=1) for n in range(len(slots))]
    assert len(slots) >= 3 * (len(STRIKES) + 1)
    emails = [one["email_id"] for one in fired]
    assert len(set(emails)) == len(emails)
    assert {message_id[1:].partition("@")[0] for message_id in sent} == set(emails)


async def _ok(request: Any) -> Any:
    response = await request
    assert response.is_success, response.text
    return response.json()


async def _more(arena: Arena, count: int) -> None:
    """Return once the sink has *count* messages more."""
    begin = len(read_copies(arena.sink.log))
    async with asyncio.timeout(60):
        while len(read_copies(arena.sink.log)) < begin + count:
            arena.check()
            await asyncio.sleep(0.05)


async def _fired(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """What the log says of every fire."""
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        page = await _ok(http.get("/v1/events", params={"types": "schedule.*", "limit": 100, "after": after}))
        found += [event["data"] for event in page["data"] if event["type"] in ("schedule.fired", "schedule.failed")]
        if not page["has_more"]:
            return found
        after = page["after"]
