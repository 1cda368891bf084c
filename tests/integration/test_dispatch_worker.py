"""The whole worker - queue, store, handler, relay, reconciler - on a real Valkey and a real SMTP server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service import worker
from service.dispatch import ForeignJob
from service.email import jobs
from service.email.draft import Draft
from service.email.mailbox import parse
from service.email.record import Email, Status
from service.outbox import Outbox, mail_queue
from service.reconcile import Reconciler
from service.settings import Settings, SettingsError
from service.store.store import Store
from service.webhooks.registry import Webhooks
from service.webhooks.sender import Sender
from tests.conftest import wait_until
from tests.smtpd import Action, Script, SmtpServer, reply
from zqueue import JobState, Queue
from zqueue.embedded import Server


class Bench:
    """What a test needs beside the worker: an outbox of its own, as an API has."""

    def __init__(self, settings: Settings, store: Store, outbox: Outbox) -> None:
        self.settings = settings
        self.store = store
        self.outbox = outbox
        self.hooks = Webhooks(store, Sender(allow_private=True, connections=1), now=outbox.now)

    async def accept(self, delay: float = 0.0, to: str = "ann@example.org") -> Email:
        """A new e-mail, due in *delay* seconds."""
        draft = Draft(
            sender=parse("Shop <shop@example.com>"),
            to=(parse(to),),
            cc=(),
            bcc=(),
            reply_to=(),
            subject="Hi",
            text="Hi\n",
            html=None,
            headers={},
            tags=(),
            scheduled_at=self.outbox.now() + timedelta(seconds=delay),
            max_retries=None,
            retry_until=None,
        )
        return await self.outbox.accept(draft)

    def status(self, email: Email) -> Status | None:
        """Where the e-mail stands."""
        found = self.store.get(email.id)
        return found.state.status if found else None


@contextlib.asynccontextmanager
async def a_bench(directory: Path, server: SmtpServer, **settings: Any) -> AsyncIterator[Bench]:
    """A data directory with its own Valkey, for a worker that sends to *server*."""
    with Server(directory / "valkey") as valkey:
        found = Settings(
            _env_file=None,
            data_dir=directory,
            redis_url=valkey.url,
            smtp_url=server.url(),
            ehlo_hostname="test",
            min_free=0,
            retry_delays="0.05,0.1,0.15",
            **settings,
        )
        async with mail_queue(found) as queue:
            store = await Store.open(directory, now=queue.now, min_free=0)
            outbox = Outbox(store, queue, found)
            try:
                await outbox.meet_queue()
                yield Bench(found, store, outbox)
            finally:
                await outbox.close()
                await store.close()


@contextlib.asynccontextmanager
async def a_worker(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """A running worker, stopped in good order."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(settings, stop, lease=timedelta(seconds=1)))
    try:
        yield running
    finally:
        stop.set()
        await asyncio.wait({running})
    await running


async def test_sends_when_due(tmp_path: Path) -> None:
    """E-mails leave when they are due, in order of their time, each once; the queue is empty afterwards."""
    async with SmtpServer() as server, a_bench(tmp_path, server) as bench, a_worker(bench.settings):
        emails = [await bench.accept(delay) for delay in (0.4, 0.2, 0.0)]
        received = await server.wait_for(3)
        await wait_until(lambda: all(bench.status(email) is Status.COMPLETED for email in emails))
        assert [message.message_id for message in received] == [email.content.message_id for email in reversed(emails)]
        async with mail_queue(bench.settings) as queue:
            stats = await queue.stats()
            assert (stats.scheduled, stats.dead) == (0, 0)


async def test_retries_over_the_queue(tmp_path: Path) -> None:
    """451 twice, then taken: the job comes back by itself each time, and the story reads so."""
    script: Script = {"dot": [reply(451, "4.3.0 later")] * 2}
    async with SmtpServer(script) as server, a_bench(tmp_path, server) as bench, a_worker(bench.settings):
        email = await bench.accept()
        await server.wait_for(1)
        await wait_until(lambda: bench.status(email) is Status.COMPLETED)
        types = [event.type for event in bench.store.events(email.id)]
    attempt = ["email.sending", "email.retrying"]
    assert types == ["email.scheduled", *attempt, *attempt, "email.sending", "email.completed"]


async def test_stopping_waits_for_the_transaction(tmp_path: Path) -> None:
    """A worker told to stop, and even one cancelled, ends the transaction it has begun and writes its outcome."""
    script: Script = {"dot": Action(250, "ok", store=True, delay=1.5)}
    async with SmtpServer(script) as server, a_bench(tmp_path, server) as bench:
        email = await bench.accept()
        async with a_worker(bench.settings):
            await server.wait_for_command(".")
        assert bench.status(email) is Status.COMPLETED
        other = await bench.accept()
        running = asyncio.create_task(worker.run(bench.settings, asyncio.Event()))
        await server.wait_for_command(".", 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert bench.status(other) is Status.COMPLETED


async def test_stopping_does_not_wait_for_a_relay_that_is_away(tmp_path: Path) -> None:
    """Mail that waits for the relay goes back to the queue at once, due and with no attempt spent."""
    async with SmtpServer() as server, a_bench(tmp_path, server, smtp_connections=2) as bench:
        await server.stop()
        emails = [await bench.accept() for _ in range(5)]
        async with mail_queue(bench.settings) as queue:
            async with asyncio.timeout(10), a_worker(bench.settings):  # a third of the time that jobs have to end
                await wait_until_leased(queue, 5)
            stats = await queue.stats()
            assert (stats.scheduled, stats.leased) == (5, 0)
        assert {bench.status(email) for email in emails} == {Status.SCHEDULED}
        await server.start()
        async with a_worker(bench.settings):
            await server.wait_for(5)


async def wait_until_leased(queue: Queue, count: int) -> None:
    """Wait until *count* jobs are with workers."""
    while (await queue.stats()).leased < count:  # noqa: ASYNC110 - a server tells nobody
        await asyncio.sleep(0.01)


async def test_limits_are_kept(tmp_path: Path) -> None:
    """No more e-mails to a domain at once than its cap, and no faster than its rate; the rest waits in the queue."""
    script: Script = {"dot": Action(250, "2.0.0 ok", delay=0.2)}
    limits = {"domain_concurrency": 2, "rate_limits": "rated.example=1/h"}
    async with SmtpServer(script) as server, a_bench(tmp_path, server, **limits) as bench:
        for to in ("ann@capped.example",) * 5 + ("bob@rated.example",) * 3:
            await bench.accept(0.3, to=to)
        async with a_worker(bench.settings):
            received = await server.wait_for(6)
            async with mail_queue(bench.settings) as queue:
                assert (await queue.stats()).parked == 2
    assert [message.recipients for message in received].count(("bob@rated.example",)) == 1
    at = [message.monotonic for message in received if message.recipients == ("ann@capped.example",)]
    assert all(third - first > 0.19 for first, third in zip(at, at[2:], strict=False)), "more than two at once"


async def test_what_the_queue_lost_is_sent(tmp_path: Path) -> None:
    """An e-mail whose job never reached the queue is found by the reconciler and sent."""
    async with SmtpServer() as server, a_bench(tmp_path, server) as bench:
        email = await bench.accept(delay=0.5)
        async with mail_queue(bench.settings) as queue:
            assert await queue.cancel(email.job_id)
        async with a_worker(bench.settings):
            await server.wait_for(1)


async def test_job_of_another_store_stops_the_worker(tmp_path: Path) -> None:
    """A queue shared with another store is an error that ends the worker; the job stays."""
    async with SmtpServer() as server, a_bench(tmp_path, server) as bench, mail_queue(bench.settings) as queue:
        await queue.enqueue(jobs.payload("another"), id="em_x.1")
        with pytest.raises(ForeignJob, match="another"):
            await worker.run(bench.settings, asyncio.Event())
        job = await queue.get("em_x.1")
        assert job is not None
        assert job.state is JobState.SCHEDULED


async def test_bad_relay_url_names_its_key(tmp_path: Path) -> None:
    """A URL that settings let through but no relay can have stops the worker with the key's name."""
    url = "smtp://me:hunter2@mail.example.com?tls=none"
    settings = Settings(_env_file=None, data_dir=tmp_path, smtp_url=url, redis_url="unix:///nowhere")
    with pytest.raises(SettingsError, match=r"SERVICE_SMTP_URL .*clear text") as caught:
        await worker.run(settings, asyncio.Event())
    assert "hunter2" not in str(caught.value)


async def test_fault_of_the_reconciler_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reconciler that cannot go on takes its process with it, for a new one to take over."""

    async def fail(_: Reconciler) -> None:
        await asyncio.sleep(0.1)
        raise ZeroDivisionError

    monkeypatch.setattr(Reconciler, "run", fail)
    async with SmtpServer() as server, a_bench(tmp_path, server) as bench:
        with pytest.raises(ExceptionGroup) as caught:
            await worker.run(bench.settings, asyncio.Event())
    assert caught.group_contains(ZeroDivisionError)
