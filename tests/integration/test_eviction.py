"""A server that drops keys when its memory is full is no place for jobs."""

from __future__ import annotations

import asyncio
import logging

import pytest

import zqueue
from tests.integration.conftest import StartServer


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_drop_jobs_is_refused(
    start_server: StartServer, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that may evict is no place for jobs: refused by name, or with `warn` complained of, once."""
    url = start_server("--maxmemory-policy", policy).url
    words = f"may drop jobs when its memory is full: its maxmemory-policy is {policy}"
    async with zqueue.Queue("q", url, shards=3) as queue:
        with pytest.raises(zqueue.InvalidJob, match=rf'{words}; set noeviction there, or eviction="warn" here$'):
            await queue.enqueue(0)
        with pytest.raises(zqueue.InvalidJob, match=words):
            await zqueue.Worker(queue, print).run()
    assert caplog.records == []
    async with zqueue.Queue("q", url, shards=3, eviction="warn") as queue:
        await asyncio.gather(*(queue.enqueue(n) for n in range(10)))
        await zqueue.Worker(queue, lambda job: None).run(burst=True)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert warned[0].endswith(words)
