"""Commands that change many jobs: ``purge`` and ``requeue --all``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import zqueue
from tests.command_line import about
from tests.integration.working import working
from zqueue.testing import seed

LATER = datetime(2100, 1, 1, tzinfo=UTC)
EARLIER = datetime(2020, 1, 1, tzinfo=UTC)


async def populate(queue: zqueue.Queue) -> None:
    """Three dead jobs, two done, one that runs, one that waits."""
    await seed(
        queue,
        dead=[zqueue.NewJob(None) for _ in range(3)],
        done=[zqueue.NewJob(None, keep_done=3600) for _ in range(2)],
        leased=[zqueue.NewJob(None)],
        scheduled=[zqueue.NewJob(None, at=LATER)],
        lease=3600,
    )


async def counts(queue: zqueue.Queue) -> tuple[int, int, int, int]:
    """How many jobs are scheduled, leased, done and dead."""
    stats = await queue.stats()
    return stats.scheduled, stats.leased, stats.done, stats.dead


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--state", "dead"], (1, 1, 2, 0)),
        (["--state", "done"], (1, 1, 0, 3)),
        (["--state", "scheduled"], (0, 1, 2, 3)),
        (["--state", "dead", "--older-than", "0"], (1, 1, 2, 0)),
        (["--state", "dead", "--older-than", "7d"], (1, 1, 2, 3)),
        (["--state", "scheduled", "--older-than", "0"], (1, 1, 2, 3)),
    ],
)
async def test_purge_deletes_a_state(queue: zqueue.Queue, words: list[str], left: tuple[int, ...]) -> None:
    """And nothing else; a dry run counts the same, and deletes nothing."""
    await populate(queue)
    before = await counts(queue)
    purged = sum(before) - sum(left)
    shown = {"state": words[1], "purged": purged, "dry_run": True}
    assert (await about(queue, "purge", *words, "--dry-run", "--json")).documents == [shown]
    assert await counts(queue) == before
    ended = await about(queue, "purge", *words, "--yes")
    assert ended == (0, "", f"deleted {purged} {words[1]} jobs of queue {queue.name!r}\n")
    assert await counts(queue) == left


async def test_a_purge_of_what_is_overdue_leaves_the_future(queue: zqueue.Queue) -> None:
    """Waiting jobs are as old as their due time."""
    await queue.enqueue_many(zqueue.NewJob(None, at=at) for at in (EARLIER, EARLIER, LATER))
    words = ["purge", "--state", "scheduled", "--older-than", "7d", "--json"]
    assert (await about(queue, *words, "--dry-run")).documents[0]["purged"] == 2
    assert (await about(queue, *words, "--yes")).documents[0]["purged"] == 2
    assert await counts(queue) == (1, 0, 0, 0)


async def test_a_purge_counts_parked_jobs_as_it_deletes_them(queue: zqueue.Queue) -> None:
    """A dry run says what would go, whatever the limits have held back."""
    await queue.set_limit("g", concurrency=1)
    await seed(queue, leased=[zqueue.NewJob(None, group="g") for _ in range(3)], lease=3600)
    assert (await queue.stats()).parked == 2
    for age in (["--older-than", "0"], []):
        words = ["purge", "--state", "scheduled", "--json", *age]
        counted = (await about(queue, *words, "--dry-run")).documents[0]["purged"]
        assert (await about(queue, *words, "--yes")).documents[0]["purged"] == counted
    assert await counts(queue) == (0, 1, 0, 0)


@pytest.mark.parametrize("words", [["purge", "--state", "dead"], ["requeue", "--all"]])
async def test_nobody_is_asked_without_a_terminal(queue: zqueue.Queue, words: list[str]) -> None:
    """Nothing is done, status 2 and what to add; with nothing to do there is nothing to confirm."""
    await populate(queue)
    before = await counts(queue)
    ended = await about(queue, *words, stdin="y\n")
    assert (ended.status, ended.out) == (2, "")
    assert "3 dead jobs" in ended.err
    assert "add --yes to do it, or --dry-run to only count" in ended.err
    assert await counts(queue) == before
    await queue.purge(zqueue.JobState.DEAD)
    assert (await about(queue, *words)).status == 0


async def test_requeue_all(queue: zqueue.Queue) -> None:
    """Every dead job waits again, and is due; a dry run only counts them."""
    await seed(queue, dead=[zqueue.NewJob(None) for _ in range(1050)])
    dry = await about(queue, "requeue", "--all", "--dry-run", "--json")
    assert (dry.documents, await counts(queue)) == ([{"requeued": 1050, "dry_run": True}], (0, 0, 0, 1050))
    ended = await about(queue, "requeue", "--all", "--yes", "--json")
    assert (ended.status, ended.documents) == (0, [{"requeued": 1050, "dry_run": False}])
    assert await counts(queue) == (1050, 0, 0, 0)


async def test_requeue_all_ends_though_the_jobs_die_again(queue: zqueue.Queue) -> None:
    """Those that die meanwhile are not requeued again and again."""
    await seed(queue, dead=[zqueue.NewJob(None) for _ in range(1500)])

    async def bury(_job: zqueue.Job[Any]) -> None:
        raise zqueue.Bury("again")

    async with working(zqueue.Worker(queue, bury)):
        ended = await about(queue, "requeue", "--all", "--yes", "--json")
    assert ended.documents == [{"requeued": 1500, "dry_run": False}]


async def test_requeue_takes_ids_or_all(queue: zqueue.Queue) -> None:
    """Not both, and not neither."""
    await queue.stats()
    for words in ([], ["x", "--all"]):
        ended = await about(queue, "requeue", *words)
        assert (ended.status, ended.out) == (2, "")
        assert "give ids, or --all" in ended.err


async def test_jobs_that_run_are_not_purged(queue: zqueue.Queue) -> None:
    """They are to be cancelled."""
    ended = await about(queue, "purge", "--state", "leased", "--yes")
    assert ended.status == 2
    assert "'leased' is not one of 'scheduled', 'done', 'dead'" in ended.err
