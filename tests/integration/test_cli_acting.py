"""Commands that change jobs: ``enqueue``, ``cancel``, ``requeue`` and ``reschedule``."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

import zqueue
from tests.command_line import about, command
from tests.conftest import unique_name
from zqueue.cli.asking import Asked
from zqueue.cli.failures import WrongState
from zqueue.cli.outcomes import Deed, do_to_each
from zqueue.cli.printing import Printer
from zqueue.embedded import Server
from zqueue.testing import seed

LATER = datetime(2100, 1, 1, tzinfo=UTC)


async def populate(queue: zqueue.Queue) -> None:
    """A job of each state, of which each has the name."""
    await seed(
        queue,
        dead=[zqueue.NewJob(None, "dead")],
        done=[zqueue.NewJob(None, "done", keep_done=60)],
        leased=[zqueue.NewJob(None, "leased")],
        scheduled=[zqueue.NewJob(None, "scheduled", at=LATER)],
        lease=3600,
    )


async def states(queue: zqueue.Queue) -> dict[str, str]:
    """The state of all jobs by their ids."""
    return {job.id: str(job.state) for state in zqueue.JobState for job in await queue.jobs(state)}


async def test_enqueue_prints_the_id(queue: zqueue.Queue) -> None:
    """Alone on stdout, for scripts; the words are on stderr."""
    ended = await about(queue, "enqueue", '{"to": "you"}', "--delay", "2h")
    (job,) = await queue.jobs(zqueue.JobState.SCHEDULED)
    assert (ended.status, ended.out) == (0, f"{job.id}\n")
    assert ended.err.startswith(f"job {job.id} is scheduled, due ")
    assert job.payload == {"to": "you"}
    assert job.due_at is not None
    assert timedelta(hours=1) < job.due_at - queue.now() <= timedelta(hours=2)


async def test_enqueue_with_all_options(queue: zqueue.Queue) -> None:
    """Each becomes what it says; the payload may come from stdin."""
    options = ["--id", "x", "--at", "2100-01-01T01:00:00+01:00", "--priority", "low", "--group", "g", "--name", "n"]
    ended = await about(queue, "enqueue", "-", *options, "--keep-done", "1h", "--json", stdin="[1, 2]\n")
    (shown,) = ended.documents
    assert (ended.status, ended.err, shown["id"], shown["created"]) == (0, "", "x", True)
    job = await queue.get("x")
    assert job == zqueue.JobRecord(
        "x",
        [1, 2],
        name="n",
        group="g",
        priority=zqueue.Priority.LOW,
        due_us=4_102_444_800_000_000,
        score_us=4_102_444_800_000_000,
        keep_done=timedelta(hours=1),
    )


async def test_enqueue_with_an_id_that_is_taken(queue: zqueue.Queue) -> None:
    """Keeps the job and says so, replaces it, or fails with status 5."""
    await queue.enqueue(1, id="x", at=LATER)
    kept = await about(queue, "enqueue", "2", "--id", "x")
    assert (kept.status, kept.out) == (0, "x\n")
    assert kept.err == "kept the job of this id, which is scheduled, due 2100-01-01T00:00:00Z\n"
    assert (await about(queue, "enqueue", "2", "--id", "x", "--json")).documents[0]["created"] is False

    refused = await about(queue, "enqueue", "2", "--id", "x", "--on-conflict", "raise")
    assert (refused.status, refused.out) == (5, "")
    assert refused.err == "Error: job 'x' exists already; it is scheduled\n  look at it: zqueue show x\n"

    replaced = await about(queue, "enqueue", "2", "--id", "x", "--on-conflict", "replace")
    assert (replaced.status, replaced.out) == (0, "x\n")
    job = await queue.get("x")
    assert job is not None
    assert job.payload == 2


async def test_enqueue_makes_the_queue(valkey: Server) -> None:
    """With one shard, or as many as are said."""
    for words, shards in (([], 1), (["--shards", "2"], 2)):
        name = unique_name()
        ended = await command("enqueue", "1", *words, ZQUEUE_URL=valkey.url, ZQUEUE_QUEUE=name)
        async with zqueue.Queue(name, valkey.url, shards=shards) as queue:
            assert [job.id for job in await queue.jobs(zqueue.JobState.SCHEDULED)] == [ended.out.strip()]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["{"], "it is not JSON"),
        (["hello"], "it is not JSON"),
        (["1", "--at", "2026-11-24T09:00:00"], "does not say its offset"),
        (["1", "--delay", "-5"], "is not a length of time"),
        (["1", "--delay", "5", "--at", "2026-11-24T09:00:00Z"], "give --at or --delay, not both"),
        (["1", "--priority", "urgent"], "'urgent' is not one of 'high', 'normal', 'low'"),
        (["1", "--id", "x" * 1000], "id must be 1 to 200 bytes long, not 1000"),
        (["1", "--id", ""], "id must be 1 to 200 bytes long, not 0"),
        (['"' + "x" * 300_000 + '"'], "payload of 300,002 bytes is over the limit of 262,144"),
        ([], "Missing argument 'PAYLOAD'"),
    ],
)
async def test_a_job_that_is_none_is_refused(queue: zqueue.Queue, words: list[str], why: str) -> None:
    """With status 2, and what is wrong with it."""
    ended = await about(queue, "enqueue", *words)
    assert (ended.status, ended.out) == (2, "")
    assert why in ended.err


@pytest.mark.parametrize(
    ("words", "done", "takes"),
    [
        (["cancel"], "cancelled", "leased or scheduled"),
        (["requeue"], "requeued", "dead"),
        (["reschedule", "--delay", "3h"], "rescheduled", "scheduled"),
    ],
)
async def test_what_became_of_each_job(queue: zqueue.Queue, words: list[str], done: str, takes: str) -> None:
    """Those it can be done to are done; for the others the status is 5, with the state they are in."""
    await populate(queue)
    before = await states(queue)
    allowed = takes.split(" or ")
    ids = ["scheduled", "leased", "done", "dead", "nobody"]
    wrong = [each for each in ids[:4] if each not in allowed]
    dry = await about(queue, *words, *ids, "--dry-run", "--json")
    assert await states(queue) == before
    ended = await about(queue, *words, *ids, "--json")
    assert (dry.status, ended.status) == (5, 5)
    for shown, dry_run in ((dry, True), (ended, False)):
        assert shown.documents == [
            {
                "id": each,
                "outcome": done if each in allowed else "wrong_state" if each in wrong else "not_found",
                "state": None if each == "nobody" or (each in allowed and not dry_run) else each,
                "dry_run": dry_run,
            }
            for each in ids
        ]
    assert dry.err.startswith("a dry run: nothing was changed\nError: ")
    assert ended.err == (
        f"Error: {len(wrong)} jobs are not {takes}: only a {takes} job can be {done}\n"
        f"  look at it: zqueue show {wrong[0]}\n"
    )
    after = {"cancel": None, "requeue": "scheduled", "reschedule": "scheduled"}[words[0]]
    changed = dict.fromkeys(allowed, after)
    assert await states(queue) == {each: state for each, state in (before | changed).items() if state}


async def test_one_job_is_told_by_its_name(queue: zqueue.Queue) -> None:
    """What it is instead and what to do (5), or that it is not there (3); 0 when it was done."""
    await populate(queue)
    wrong = await about(queue, "cancel", "dead")
    assert wrong == (
        5,
        "dead\twrong_state\tdead\n",
        "Error: job 'dead' is dead: only a leased or scheduled job can be cancelled\n  look at it: zqueue show dead\n",
    )
    missing = await about(queue, "requeue", "nobody")
    assert missing == (
        3,
        "nobody\tnot_found\t\n",
        f"Error: queue {queue.name!r} does not have job 'nobody'\n  zqueue jobs lists what there is\n",
    )
    assert await about(queue, "requeue", "dead") == (0, "dead\trequeued\t\n", "")
    assert await about(queue, "cancel", "dead") == (0, "dead\tcancelled\t\n", "")


async def test_one_of_the_ids_is_none(queue: zqueue.Queue) -> None:
    """The command is wrong, and says which."""
    await queue.enqueue(None, id="x", at=LATER)
    ended = await about(queue, "cancel", "x", "y" * 201)
    assert (ended.status, ended.out, ended.err) == (2, "", "Error: id must be 1 to 200 bytes long, not 201\n")


async def test_a_job_that_changes_meanwhile(queue: zqueue.Queue) -> None:
    """What could not be done is not said to be done, though it could be by the time that the job is looked at."""

    async def too_early(_queue: zqueue.Queue, _job_id: str) -> bool:
        return False

    await queue.enqueue(None, id="x", at=LATER)
    asked = Asked(queue.address.shown, queue.name, None, Printer(as_json=True))
    deed = Deed("cancelled", frozenset({zqueue.JobState.SCHEDULED}), too_early)
    with pytest.raises(WrongState):
        await asyncio.to_thread(do_to_each, asked, ["x"], deed, dry_run=False)


async def test_reschedule_moves_a_job(queue: zqueue.Queue) -> None:
    """To a time, or to so long from now; not without either."""
    await queue.enqueue(None, id="x", at=LATER)
    assert (await about(queue, "reschedule", "x", "--at", "2101-01-01T00:00:00Z")).status == 0
    job = await queue.get("x")
    assert job is not None
    assert job.due_at == datetime(2101, 1, 1, tzinfo=UTC)
    ended = await about(queue, "reschedule", "x")
    assert (ended.status, ended.out) == (2, "")
    assert "say when: --at TIME, or --delay DURATION" in ended.err


async def test_ids_come_from_other_commands(queue: zqueue.Queue) -> None:
    """A list of jobs is what ``-`` reads: the first field of each line."""
    await queue.enqueue_many(zqueue.NewJob(None, f"{n}", at=LATER) for n in range(40))
    listed = await about(queue, "jobs")
    ended = await about(queue, "cancel", "-", stdin=listed.out + "\n")
    assert (ended.status, ended.err) == (0, "")
    assert ended.rows == [[f"{n}", "cancelled", ""] for n in sorted(range(40), key=str)]
    assert await states(queue) == {}
