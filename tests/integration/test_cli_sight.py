"""Commands that look: ``stats``, ``jobs``, ``show`` and ``recurring``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

import zqueue
from tests.command_line import about, command
from tests.conftest import unique_name
from zqueue.embedded import Server
from zqueue.testing import seed

SOON = datetime(2100, 1, 1, tzinfo=UTC)

FRESH: dict[str, Any] = {
    "name": "",
    "group": None,
    "state": "scheduled",
    "parked": False,
    "priority": "normal",
    "due_at": "2100-01-01T00:00:00.000000Z",
    "lease_ends_at": None,
    "ended_at": None,
    "attempts": 0,
    "deliveries": 0,
    "error": None,
    "timeout_s": None,
    "keep_done_s": 0.0,
    "retry": None,
    "payload": None,
    "progress": None,
    "result": None,
}
"""What is shown of a job of 2100, apart from its id."""


async def test_stats(queue: zqueue.Queue) -> None:
    """All numbers, as an object or as a line each."""
    dead = [zqueue.NewJob(None), zqueue.NewJob(None)]
    await seed(queue, dead=dead, scheduled=[zqueue.NewJob(None, at=SOON)], leased=[zqueue.NewJob(None)])
    await queue.pause()
    shown = (await about(queue, "stats", "--json")).documents
    assert shown == [
        {
            "queue": queue.name,
            "scheduled": 1,
            "due": 0,
            "parked": 0,
            "leased": 1,
            "done": 0,
            "dead": 2,
            "paused": True,
            "workers": shown[0]["workers"],
            "next_due_at": "2100-01-01T00:00:00.000000Z",
            "oldest_due_age_s": 0.0,
        }
    ]
    lines = (await about(queue, "stats")).rows
    assert [key for key, _ in lines] == list(shown[0])
    assert dict(lines) | {"workers": ""} == {
        "queue": queue.name,
        "scheduled": "1",
        "due": "0",
        "parked": "0",
        "leased": "1",
        "done": "0",
        "dead": "2",
        "paused": "true",
        "workers": "",
        "next_due_at": "2100-01-01T00:00:00.000000Z",
        "oldest_due_age_s": "0.0",
    }


async def test_show_tells_everything(queue: zqueue.Queue) -> None:
    """In every state, with the same keys."""
    retry = zqueue.Retry(3, zqueue.fixed(5))
    await seed(
        queue,
        dead=[zqueue.NewJob({"a": 1}, "dead", name="n", retry=retry)],
        done=[zqueue.NewJob([1], "done", keep_done=60)],
        leased=[zqueue.NewJob("x", "leased", priority=zqueue.Priority.HIGH, group="g", timeout=1.5)],
        scheduled=[zqueue.NewJob(None, "waits", at=SOON)],
    )
    shown = {
        name: (await about(queue, "show", name, "--json")).documents[0] for name in ("waits", "leased", "done", "dead")
    }
    assert shown["waits"] == {"id": "waits", **FRESH}
    assert list(shown["waits"]) == ["id", *FRESH]

    ended = {name: datetime.fromisoformat(shown[name].pop("ended_at")) for name in ("done", "dead")}
    assert all(abs(queue.now() - moment) < timedelta(minutes=1) for moment in ended.values())
    never = {key: value for key, value in FRESH.items() if key not in ("ended_at", "due_at")}
    assert shown["dead"] == {
        **never,
        "id": "dead",
        "state": "dead",
        "name": "n",
        "payload": {"a": 1},
        "error": "seeded",
        "due_at": None,
        "attempts": shown["dead"]["attempts"],
        "retry": {
            "attempts": 3,
            "backoff": {
                "kind": "fixed",
                "seconds": [5.0],
                "cap": shown["dead"]["retry"]["backoff"]["cap"],
                "jitter": 0.0,
            },
        },
    }
    assert shown["done"] == {
        **never,
        "id": "done",
        "state": "done",
        "payload": [1],
        "keep_done_s": 60.0,
        "due_at": None,
    }

    lease_ends_at = datetime.fromisoformat(shown["leased"].pop("lease_ends_at"))
    assert lease_ends_at > queue.now() - timedelta(minutes=1)
    running = {"id": "leased", "state": "leased", "priority": "high", "group": "g", "timeout_s": 1.5, "payload": "x"}
    del never["lease_ends_at"]
    due_at = {"due_at": shown["leased"]["due_at"]}
    assert shown["leased"] == {**never, **running, **due_at, "ended_at": None, "deliveries": 1}


async def test_show_of_no_job(queue: zqueue.Queue) -> None:
    """Status 3, and why that may be."""
    await queue.stats()
    ended = await about(queue, "show", "nobody")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.startswith(f"Error: queue {queue.name!r} has no job 'nobody': ")


async def test_jobs_come_as_lines_whose_first_field_is_the_id(queue: zqueue.Queue) -> None:
    """In the order in which they will run, with what is stored on one line."""
    await queue.enqueue({"text": "two\nlines\tand a tab"}, id="b", at=SOON, name="mail", group="g")
    await queue.enqueue(1, id="a", at=SOON, priority=zqueue.Priority.HIGH)
    due = "2100-01-01T00:00:00.000000Z"
    ended = await about(queue, "jobs")
    assert (ended.status, ended.err) == (0, "")
    assert ended.rows == [
        ["a", "scheduled", due, "high", "", "", "0", "", "1"],
        ["b", "scheduled", due, "normal", "mail", "g", "0", "", '{"text":"two\\nlines\\tand a tab"}'],
    ]
    assert [job["id"] for job in (await about(queue, "jobs", "--json")).documents] == ["a", "b"]
    assert await about(queue, "jobs", "--state", "leased") == (0, "", "")


async def test_dead_jobs_tell_when_they_died(queue: zqueue.Queue) -> None:
    """Instead of a due time, which they have no more."""
    await seed(queue, dead=[zqueue.NewJob(None, "x")])
    ((job_id, state, ended_at, *_, error, payload),) = (await about(queue, "jobs", "--state", "dead")).rows
    assert (job_id, state, error, payload) == ("x", "dead", "seeded", "null")
    assert abs(queue.now() - datetime.fromisoformat(ended_at)) < timedelta(minutes=1)


async def test_pages_follow_each_other(queue: zqueue.Queue) -> None:
    """The cursor of the last line starts the next page, though that job is gone by then; a message gives it too."""
    await queue.enqueue_many(zqueue.NewJob(None, f"{n}", at=SOON) for n in range(5))
    first = await about(queue, "jobs", "--limit", "2", "--json")
    last = first.documents[-1]
    assert first.err == f"2 of 5 shown; go on with --after {last['cursor']}, or take --all\n"
    assert last == {"id": "1", **FRESH, "cursor": last["cursor"]}
    await queue.cancel("1")
    rest = await about(queue, "jobs", "--after", last["cursor"], "--json")
    assert ([job["id"] for job in rest.documents], rest.err) == (["2", "3", "4"], "")


async def test_pages_of_parked_jobs(queue: zqueue.Queue) -> None:
    """They come last, and a page may start among them."""
    await queue.set_limit("g/h", concurrency=1)
    await seed(queue, leased=[zqueue.NewJob(None, f"{n}", group="g/h") for n in range(4)], lease=3600)
    first = (await about(queue, "jobs", "--limit", "1", "--json")).documents
    rest = (await about(queue, "jobs", "--after", first[0]["cursor"], "--json")).documents
    assert [(job["id"], job["parked"]) for job in first + rest] == [("1", True), ("2", True), ("3", True)]


async def test_all_jobs_however_many(queue: zqueue.Queue) -> None:
    """More than a page of the server's, once each, in order."""
    ids = [f"{n:04}" for n in range(2300)]
    await queue.enqueue_many(zqueue.NewJob(None, each, at=SOON) for each in ids)
    ended = await about(queue, "jobs", "--all")
    assert ([row[0] for row in ended.rows], ended.err) == (ids, "")
    assert [row[0] for row in (await about(queue, "jobs", "--limit", "1500")).rows] == ids[:1500]


async def test_a_cursor_of_another_state(queue: zqueue.Queue) -> None:
    """And one that is none, are refused with status 2."""
    await queue.enqueue(None, at=SOON)
    (job,) = (await about(queue, "jobs", "--json")).documents
    for after, why in ((job["cursor"], "this cursor is of scheduled jobs"), ("soon", "it is not the cursor of a page")):
        ended = await about(queue, "jobs", "--state", "dead", "--after", after)
        assert (ended.status, ended.out) == (2, "")
        assert why in ended.err


async def test_recurring(queue: zqueue.Queue) -> None:
    """Each schedule, what it makes, and when next."""
    await queue.recur("report", zqueue.cron("0 9 * * mon", tz="Europe/Berlin"), {"a": 1}, task="send")
    (next_at,) = [each.next_at for each in await queue.recurring()]
    shown = next_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert (await about(queue, "recurring", "--json")).documents == [
        {
            "name": "report",
            "next_at": shown,
            "schedule": "0 9 * * mon (Europe/Berlin)",
            "misfire": "once",
            "task": "send",
            "payload": {"a": 1},
        }
    ]
    assert (await about(queue, "recurring")).rows == [
        ["report", shown, "0 9 * * mon (Europe/Berlin)", "once", "send", '{"a":1}']
    ]


async def test_a_queue_that_nobody_used_is_not_made(valkey: Server) -> None:
    """A misspelt name is told, with status 3, and leaves no key behind."""
    name = unique_name()
    for words in (["stats"], ["jobs"], ["show", "x"], ["pause"], ["cancel", "x"], ["purge", "--state", "dead"]):
        ended = await command(*words, ZQUEUE_URL=valkey.url, ZQUEUE_QUEUE=name)
        assert (ended.status, ended.out) == (3, "")
        assert ended.err.startswith(f"Error: there is no queue {name!r} on {valkey.url}: nobody has used it yet\n")
    assert (await command("stats", "--shards", "2", ZQUEUE_URL=valkey.url, ZQUEUE_QUEUE=name)).status == 0
    assert (await command("stats", ZQUEUE_URL=valkey.url, ZQUEUE_QUEUE=name)).status == 0
    ended = await command("stats", "--shards", "3", ZQUEUE_URL=valkey.url, ZQUEUE_QUEUE=name)
    assert (ended.status, ended.err) == (2, f"Error: queue {name!r} has 2 shards, not 3\n")


async def test_sharded_queues_are_shown_whole(valkey: Server) -> None:
    """How many shards there are is found out."""
    async with zqueue.Queue(unique_name(), valkey.url, shards=3) as queue:
        await queue.enqueue_many(zqueue.NewJob(None, f"{n}", at=SOON) for n in range(9))
        pages = [await about(queue, "jobs", "--limit", "5", "--json")]
        pages.append(await about(queue, "jobs", "--after", pages[0].documents[-1]["cursor"], "--json"))
        assert [job["id"] for page in pages for job in page.documents] == [str(n) for n in range(9)]


async def test_control_characters_are_not_passed_on(queue: zqueue.Queue) -> None:
    """Neither in lines nor, where JSON has escapes of its own, in objects."""
    payload = "\x1b[2J\x9b\u2028"
    await queue.enqueue(payload, id="x", at=SOON)
    for words in (["jobs"], ["show", "x"]):
        ended = await about(queue, *words)
        assert [char for char in "\x1b\x9b\u2028" if char in ended.out] == []
    assert orjson.loads((await about(queue, "show", "x", "--json")).out)["payload"] == payload
