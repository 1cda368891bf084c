"""Commands that steer a queue: ``pause``, ``resume``, ``limit`` and ``unrecur``."""

from __future__ import annotations

from datetime import timedelta

import pytest

import zqueue
from tests.command_line import about
from zqueue.connect import Link


async def limits(queue: zqueue.Queue) -> dict[str, str]:
    """The limits as the server holds them: us between two starts, burst, and most at a time."""
    link = Link(queue.address, key=queue.shards[0].keys.wake)
    try:
        (flat,) = await link.send(("HGETALL", f"{queue.shards[0].keys.prefix}limits"))
    finally:
        await link.close()
    pairs = iter(flat)
    return {group.decode(): limit.decode() for group, limit in zip(pairs, pairs, strict=True)}


async def test_pause_and_resume(queue: zqueue.Queue) -> None:
    """As often as one likes."""
    await queue.stats()
    for _ in range(2):
        ended = await about(queue, "pause")
        assert ended == (0, "", f"queue {queue.name!r} is paused; zqueue resume goes on\n")
        assert (await queue.stats()).paused
    for _ in range(2):
        ended = await about(queue, "resume", "--json")
        assert (ended.status, ended.documents, ended.err) == (0, [{"queue": queue.name, "paused": False}], "")
        assert not (await queue.stats()).paused


async def test_limit(queue: zqueue.Queue) -> None:
    """Of a group or of the whole queue: set, replaced, and lifted."""
    await queue.stats()
    words = ["--rate", "20", "--per", "60", "--burst", "2", "--concurrency", "5"]
    ended = await about(queue, "limit", "g", *words, "--json")
    assert ended.documents == [{"group": "g", "rate": 20.0, "per_s": 60.0, "burst": 2, "concurrency": 5}]
    whole = await about(queue, "limit", "--whole-queue", "--rate", "0.5")
    assert whole == (0, "", "the whole queue is now limited\n")
    assert await limits(queue) == {"g": "3000000.000:2:5", "": "2000000.000:1:"}

    await about(queue, "limit", "g", "--concurrency", "1")
    assert (await limits(queue))["g"] == ":1:1"
    assert await about(queue, "limit", "g", "--lift") == (0, "", "group 'g' is no longer limited\n")
    assert list(await limits(queue)) == [""]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give a group, or --whole-queue"),
        (["g", "--whole-queue", "--rate", "1"], "give a group, or --whole-queue"),
        (["g"], "give --rate, --concurrency or both, or --lift alone"),
        (["g", "--lift", "--rate", "1"], "give --rate, --concurrency or both, or --lift alone"),
        (["g", "--rate", "0"], "0.0 is not in the range x>0"),
        (["g", "--concurrency", "0"], "0 is not in the range x>=1"),
    ],
)
async def test_a_limit_that_is_none_is_refused(queue: zqueue.Queue, words: list[str], why: str) -> None:
    """With status 2, and what it lacks."""
    await queue.stats()
    ended = await about(queue, "limit", *words)
    assert (ended.status, ended.out) == (2, "")
    assert why in ended.err
    assert await limits(queue) == {}


async def test_unrecur(queue: zqueue.Queue) -> None:
    """Takes a schedule away; status 3 when there is none."""
    await queue.recur("daily", zqueue.every(timedelta(days=1)), None)
    assert await about(queue, "unrecur", "daily") == (0, "", "schedule 'daily' is gone\n")
    assert await queue.recurring() == []
    ended = await about(queue, "unrecur", "daily")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.startswith(f"Error: queue {queue.name!r} has no schedule 'daily'\n")
