"""Workers as real processes that are killed or frozen in the middle of a transaction."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from service.email.record import Status
from service.outbox import mail_queue
from service.settings import Settings
from tests.asking import until
from tests.conftest import wait_until
from tests.integration.test_dispatch_worker import Bench, a_bench
from tests.smtpd import FREEZE, STORE_AND_FREEZE, Action, SmtpServer
from zqueue import JobState, Queue

ROOT = Path(__file__).resolve().parents[2]
LEASE = timedelta(seconds=1)
PROGRAM = f"""
import asyncio
from datetime import timedelta
from service import worker
from service.settings import load
asyncio.run(worker.run(load(), asyncio.Event(), lease=timedelta(seconds={LEASE.total_seconds()})))
"""


@contextlib.asynccontextmanager
async def a_process(settings: Settings) -> AsyncIterator[Process]:
    """A worker in a process of its own, killed at the end."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SERVICE_")}
    own = {
        "SERVICE_DATA_DIR": str(settings.data_dir),
        "SERVICE_REDIS_URL": settings.queue_url,
        "SERVICE_SMTP_URL": settings.relay_urls[0],
        "SERVICE_MIN_FREE": "0",
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=inherited | own, cwd=settings.data_dir, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def types(bench: Bench, email_id: str) -> list[str]:
    """The e-mail's events so far."""
    return [event.type for event in bench.store.events(email_id)]


async def test_killed_before_the_dot(tmp_path: Path) -> None:
    """A worker killed -9 before its final dot: the next one sends the message, once."""
    async with SmtpServer({"data": [FREEZE]}) as server, a_bench(tmp_path, server) as bench:
        email = await bench.accept()
        async with a_process(bench.settings) as first:
            await server.wait_for_command("DATA")
            first.kill()
            await first.wait()
            async with a_process(bench.settings):
                await wait_until(lambda: bench.status(email) is Status.COMPLETED, 20)
        assert len(server.received) == 1
        story = ["email.scheduled", "email.sending", "email.retrying", "email.sending", "email.completed"]
        assert types(bench, email.id) == story
        assert bench.store.events(email.id)[2].data["reason"] == "unknown"


async def test_killed_after_the_dot(tmp_path: Path) -> None:
    """A worker killed -9 between the server's taking the message and its line: the one duplicate there can be."""
    async with SmtpServer({"dot": [STORE_AND_FREEZE]}) as server, a_bench(tmp_path, server) as bench:
        email = await bench.accept()
        async with a_process(bench.settings) as first:
            await server.wait_for(1)
            first.kill()
            await first.wait()
            async with a_process(bench.settings):
                await wait_until(lambda: bench.status(email) is Status.COMPLETED, 20)
        assert len(server.received) == 2
        assert len({message.data for message in server.received}) == 1


async def put_off(queue: Queue, job_id: str) -> bool:
    """Whether the job waits in a lane."""
    job = await queue.get(job_id)
    return job is not None and job.state is JobState.SCHEDULED


async def test_frozen_worker_is_waited_for(tmp_path: Path) -> None:
    """A worker frozen past its lease in an open transaction: others wait, and once it goes on all is sent once."""
    script = {"dot": [Action(250, "ok", store=True, delay=0.5)]}
    async with SmtpServer(script) as server, a_bench(tmp_path, server) as bench, mail_queue(bench.settings) as queue:
        email = await bench.accept()
        async with a_process(bench.settings) as first:
            await server.wait_for_command(".")
            first.send_signal(signal.SIGSTOP)
            async with a_process(bench.settings):
                # Back in a lane while its first holder is frozen: the other one has claimed it and put it off. Its
                # second delivery lasts only from that claim to the snooze, too short to be sure to see.
                await until(lambda: put_off(queue, email.job_id), 20)
                assert bench.status(email) is Status.SENDING
                first.send_signal(signal.SIGCONT)
                await wait_until(lambda: bench.status(email) is Status.COMPLETED, 20)
        assert len(server.received) == 1
        assert types(bench, email.id) == ["email.scheduled", "email.sending", "email.completed"]
