"""Schedules with the whole worker: e-mails arrive, one for each slot, though queue and workers come and go."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from service.email.record import Status
from service.outbox import Outbox, mail_queue
from service.recurring.definition import Definition
from service.recurring.schedules import Schedules
from service.store.listing import Filter
from service.store.store import Store
from service.templating.library import Library
from service.templating.renderer import Renderer, Source
from tests.asking import ask_server
from tests.integration.recurring import EMAIL
from tests.integration.test_dispatch_worker import a_bench, a_worker
from tests.smtpd import SmtpServer

pytestmark = pytest.mark.slow

TEMPLATE = {"name": "tick", "variables": {"who": "world"}}
EVERY_SECOND = Definition(None, 1, "UTC", "all", {"from": EMAIL["from"], "to": EMAIL["to"], "template": TEMPLATE})


async def test_every_second_is_one_email_through_losses_and_restarts(tmp_path: Path) -> None:
    """Two workers, then a queue that is emptied under them, then two new ones: no second is left out or sent twice."""
    async with SmtpServer() as server, a_bench(tmp_path, server) as bench, mail_queue(bench.settings) as queue:
        renderer = Renderer()
        templates = Library(bench.store, renderer)
        await templates.put("tick", Source("Tick", "Hello {{ who }}"))
        schedules = Schedules(bench.store, queue, Outbox(bench.store, queue, bench.settings, templates.fill))
        await schedules.put("tick", EVERY_SECOND)
        async with a_worker(bench.settings), a_worker(bench.settings):
            await server.wait_for(2)
            await ask_server(queue, "FLUSHALL")
            await server.wait_for(len(server.received) + 2)
        async with a_worker(bench.settings), a_worker(bench.settings):
            await server.wait_for(len(server.received) + 2)
            await ask_server(queue, "FLUSHALL")
            await server.wait_for(len(server.received) + 2)
            await schedules.pause("tick")
        await schedules.close()
        await renderer.close()
        slots = _slots(bench.store)
        assert slots == [slots[0] + n * timedelta(seconds=1) for n in range(len(slots))]
        emails = bench.store.page(Filter(), 1_000).data
        assert len(emails) == len(slots) >= 8
        assert {(email.content.text, email.content.template) for email in emails} == {("Hello world", "tick@1")}
        sent = [email.content.message_id for email in emails if email.state.status is Status.COMPLETED]
        assert sorted(message.message_id for message in server.received) == sorted(sent)


def _slots(store: Store) -> list[datetime]:
    """Those that were fired, in order of their time."""
    fired = [one.data["slot"] for one in store.read_events(0, 10_000).events if one.type == "schedule.fired"]
    return sorted(datetime.fromisoformat(slot) for slot in fired)
