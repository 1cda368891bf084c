"""What cannot be a job, at the head of the queue: buried or dropped, and the worker lives."""

from __future__ import annotations

import pytest

import zqueue
from tests.asking import ask_server


@pytest.mark.parametrize("envelope", [b"1", b"1{", b"1[]", b'1{"name":"x"}', b'1{"payload":1,"retry":[0]}', b"\xff"])
async def test_an_envelope_that_does_not_decode_is_buried(queue: zqueue.Queue, envelope: bytes) -> None:
    """It is dead with the reason, its neighbours run, and nothing stays leased."""
    got: list[str] = []
    await queue.enqueue_many([zqueue.NewJob(0, id=each) for each in ("a", "b", "c")])
    await ask_server(queue, "HSET", f"{queue.shards[0].keys.prefix}jobs", "b", envelope)

    await zqueue.Worker(queue, lambda job: got.append(job.id)).run(burst=True)

    assert sorted(got) == ["a", "c"]
    (dead,) = await queue.jobs(zqueue.JobState.DEAD)
    assert dead.id == "b"
    assert str(dead.error).startswith("job 'b' has an envelope that does not decode: ")
    stats = await queue.stats()
    assert (stats.scheduled, stats.leased, stats.dead) == (0, 0, 1)


async def test_an_id_without_an_envelope_is_dropped(queue: zqueue.Queue) -> None:
    """A due id with nothing behind it goes, and its neighbours run."""
    got: list[str] = []
    await queue.enqueue_many([zqueue.NewJob(0, id=each) for each in ("a", "b", "c")])
    await ask_server(queue, "HDEL", f"{queue.shards[0].keys.prefix}jobs", "b")

    await zqueue.Worker(queue, lambda job: got.append(job.id)).run(burst=True)

    stats = await queue.stats()
    assert (sorted(got), stats.scheduled, stats.leased, stats.dead) == (["a", "c"], 0, 0, 0)
