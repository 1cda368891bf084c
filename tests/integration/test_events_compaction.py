"""What listeners and webhooks are told once the log was compacted under them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from service.store import compaction
from service.store.store import Store
from service.webhooks.sender import Sender
from tests.integration.dispatching import START, an_email
from tests.integration.hooks import World
from tests.integration.serving import listening, serving
from tests.receiver import receiving
from zqueue import Queue


async def test_listeners_that_were_away_begin_anew(tmp_path: Path, queue: Queue) -> None:
    """One that saw all goes on without a word; one whose events are merged is told so, and then what is left."""
    async with serving(tmp_path, queue) as api:
        for _ in range(3):
            await api.store.accept([an_email(START)])
        seen = api.store.seq
    await asyncio.to_thread(compaction.compact, tmp_path, now=lambda: START)
    async with serving(tmp_path, queue) as api:
        last = await api.note("key.made")
        async with (
            listening(api, last_event_id=str(last - 1)) as current,
            listening(api, last_event_id=str(seen - 1)) as behind,
        ):
            assert (await current.next()).event == "key.made"
            assert [(await behind.next()).event for _ in range(2)] == ["reset", "key.made"]
            assert behind.last_id == str(last)


async def test_a_webhook_that_was_behind_is_told_so(tmp_path: Path) -> None:
    """It learns that it missed something, and then everything that happens from then on."""
    store = await Store.open(tmp_path, now=lambda: START, min_free=0)
    sender = Sender(allow_private=True, connections=1)
    async with receiving() as receiver:
        world = World(store, sender, receiver)
        webhook, _ = await world.create("email.*", "key.*")
        await store.accept([an_email(START)])
        await store.close()
        await asyncio.to_thread(compaction.compact, tmp_path, now=lambda: START)
        store = await Store.open(tmp_path, now=lambda: START, min_free=0)
        world = World(store, sender, receiver)
        last = await world.note()
        assert await world.handle(webhook) is None
        first, second = [request.message for request in receiver.requests]
        assert (first["type"], first["data"]) == ("reset", {"after": 0, "next": last})
        assert second["data"]["seq"] == last
        await store.close()
    await sender.close()
