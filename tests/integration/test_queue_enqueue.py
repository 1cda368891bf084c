"""Enqueueing through a `Queue`: what a producer may say, what it gets back, and what is refused before it is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import zqueue
from tests.conftest import unique_name
from tests.queue_state import command
from zqueue import InvalidJob, Job, JobRecord, JobState, NewJob, PayloadTooLarge, Priority, Queue, Retry, fixed
from zqueue.embedded import Server

AT = datetime(2040, 2, 29, 12, tzinfo=UTC)


async def test_a_job_comes_back_as_it_is_stored(any_queue: Queue) -> None:
    """What enqueue returns is what `get` finds, but for `created`."""
    retry = Retry(3, fixed(5, jitter=True))
    payload = {"to": ["ann", "bob"], "n": 1.5, "ok": None, "☃": True}
    (job,) = await any_queue.enqueue_many(
        [NewJob(payload, "a", AT, None, Priority.HIGH, retry, 9, "send", "mail", keep_done=timedelta(hours=1))]
    )
    us = 2_214_129_600_000_000
    expected: dict[str, Any] = {
        "id": "a",
        "payload": payload,
        "name": "send",
        "group": "mail",
        "priority": Priority.HIGH,
        "due_us": us,
        "retry": retry,
        "timeout": timedelta(seconds=9),
        "keep_done": timedelta(hours=1),
        "score_us": us,
    }
    assert await any_queue.get("a") == JobRecord(**expected)
    assert job == Job(**expected, created=True)
    assert job.due_at == AT


async def test_the_same_id_is_kept(any_queue: Queue) -> None:
    """The second enqueue changes nothing and returns the first job."""
    first = await any_queue.enqueue("first", id="a", at=AT)
    second = await any_queue.enqueue("second", id="a", delay=1, priority=Priority.HIGH, retry=Retry(9), timeout=1)
    assert (first.created, second.created) == (True, False)
    assert (second.payload, second.due_at, second.retry, second.priority) == ("first", AT, None, Priority.NORMAL)
    kept = await any_queue.get("a")
    assert kept is not None
    assert (kept.payload, kept.due_at) == ("first", AT)


async def test_generated_ids_are_new_and_in_order(any_queue: Queue) -> None:
    """Jobs without an id get one each, which sorts as they were made."""
    jobs = [await any_queue.enqueue(n, delay=60) for n in range(5)]
    ids = [job.id for job in jobs]
    assert ids == sorted(set(ids))
    assert all(len(each) == 26 and job.created for each, job in zip(ids, jobs, strict=True))


async def test_now_is_the_servers_now(any_queue: Queue) -> None:
    """A job without a time is due at the server's time, which `now` then carries on."""
    job = await any_queue.enqueue(1)
    assert job.due_at is not None
    assert job.due_at <= any_queue.now() <= job.due_at + timedelta(seconds=30)


async def test_another_time_zone_is_the_same_instant(any_queue: Queue) -> None:
    """What counts is the instant; it comes back in UTC."""
    job = await any_queue.enqueue(1, at=AT.astimezone(timezone(timedelta(hours=-9, minutes=-30))))
    assert job.due_at == AT
    assert job.due_at.tzinfo is UTC


async def test_the_past_is_kept_and_due(any_queue: Queue) -> None:
    """A time long past is not now: it stays the due time, and the job is due at once."""
    past = datetime(1999, 12, 31, tzinfo=UTC)
    assert (await any_queue.enqueue(1, at=past)).due_at == past
    stats = await any_queue.stats()
    assert (stats.due, stats.next_due_at) == (1, past)
    assert stats.oldest_due_age > timedelta(days=365 * 26)


async def test_concurrent_calls_share_round_trips(any_queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand calls at once go in a few batches, and each gets its own answer."""
    await any_queue.enqueue("connect", delay=60)
    trips = 0
    link = any_queue.connections().producers[0]._link
    plain = link.send

    async def counted(*commands: tuple[Any, ...]) -> list[Any]:
        nonlocal trips
        trips += 1
        return await plain(*commands)

    monkeypatch.setattr(link, "send", counted)
    jobs = await asyncio.gather(*(any_queue.enqueue(n, id=f"{n}", delay=60 + n) for n in range(1000)))
    assert [(job.id, job.payload, job.created) for job in jobs] == [(f"{n}", n, True) for n in range(1000)]
    assert trips <= 4
    assert (await any_queue.stats()).scheduled == 1001


async def test_many_in_order(any_queue: Queue) -> None:
    """Ten thousand at once: created in order, duplicates told apart, any iterable taken."""
    jobs = await any_queue.enqueue_many(NewJob(n, id=f"{n % 9900}", at=AT) for n in range(10_000))
    assert [job.created for job in jobs] == [True] * 9900 + [False] * 100
    assert [job.payload for job in jobs] == [*range(9900), *range(100)]
    assert (await any_queue.stats()).scheduled == 9900
    assert await any_queue.enqueue_many([]) == []


async def test_one_bad_job_stops_them_all(any_queue: Queue) -> None:
    """All jobs are checked before the first is sent."""
    with pytest.raises(InvalidJob, match="give at or delay, not both"):
        await any_queue.enqueue_many([NewJob(1, id="good"), NewJob(2, id="bad", at=AT, delay=1)])
    assert await any_queue.get("good") is None


async def test_a_cancelled_caller_does_not_hinder_the_others(any_queue: Queue) -> None:
    """One of two callers in a batch gives up; the other gets its answer, and both jobs are there."""
    await any_queue.enqueue("connect", id="0", at=AT)
    quitter = asyncio.create_task(any_queue.enqueue(1, id="a", at=AT))
    other = asyncio.create_task(any_queue.enqueue(2, id="b", at=AT))
    await asyncio.sleep(0)
    quitter.cancel()
    assert (await other).created
    with pytest.raises(asyncio.CancelledError):
        await quitter
    assert await any_queue.missing(["a", "b", "c"]) == ["c"]


async def test_closing_waits_for_what_is_on_its_way(any_queue: Queue) -> None:
    """A batch that has been handed over is enqueued though the queue is closed at once; it can be used again."""
    await any_queue.enqueue("connect", at=AT)
    task = asyncio.create_task(any_queue.enqueue(1, id="a", at=AT))
    await asyncio.sleep(0)
    await any_queue.close()
    assert (await task).created
    assert await any_queue.get("a") is not None


def test_one_queue_object_serves_one_loop_after_another(valkey: Server) -> None:
    """Closed in one event loop, a queue connects anew in the next."""
    queue = Queue(unique_name(), valkey.url)

    async def once() -> bool:
        async with queue:
            return (await queue.enqueue(1, id="a", at=AT)).created

    assert [asyncio.run(once()) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": datetime(2040, 1, 1)}, "at must be an aware datetime; 2040-01-01T00:00:00 has no time zone"),  # noqa: DTZ001
        ({"at": "2040-01-01T00:00:00Z"}, "at must be an aware datetime, not '2040-01-01T00:00:00Z'"),
        ({"at": AT, "delay": 5}, "give at or delay, not both"),
        ({"delay": -1}, "delay must be between 0 and 1,000 years, not -1"),
        ({"delay": math.nan}, "delay must be a timedelta or seconds, not nan"),
        ({"delay": math.inf}, "delay must be between 0 and 1,000 years, not inf"),
        ({"delay": "5"}, "delay must be a timedelta or seconds, not '5'"),
        ({"timeout": -1}, "timeout must be between 0 and 1,000 years, not -1"),
        ({"timeout": True}, "timeout must be a timedelta or seconds, not True"),
        ({"priority": 3}, "priority must be a Priority, not 3"),
        ({"priority": "high"}, "priority must be a Priority, not 'high'"),
        ({"retry": 3}, "retry must be a Retry, not 3"),
        ({"id": ""}, "id must be 1 to 200 bytes long, not 0"),
        ({"id": "x" * 201}, "id must be 1 to 200 bytes long, not 201"),
        ({"id": "ü" * 101}, "id must be 1 to 200 bytes long, not 202"),
        ({"id": "a\nb"}, r"id holds a control character: 'a\nb'"),
        ({"id": "a\x00"}, r"id holds a control character: 'a\x00'"),
        ({"id": "a\x7f"}, r"id holds a control character: 'a\x7f'"),
        ({"id": "a\x85"}, r"id holds a control character: 'a\x85'"),
        ({"id": "\ud800"}, r"id holds a lone surrogate: '\ud800'"),
        ({"id": 5}, "id must be a string, not 5"),
        ({"id": b"a"}, "id must be a string, not b'a'"),
        ({"name": "a\tb"}, r"name holds a control character: 'a\tb'"),
        ({"name": "n" * 201}, "name must be 1 to 200 bytes long, not 201"),
        ({"payload": math.nan}, "the payload is not JSON: it holds a NaN or an infinity"),
        ({"payload": {"a": [1, {"b": -math.inf}]}}, "the payload is not JSON: it holds a NaN or an infinity"),
        ({"payload": (math.nan, None)}, "the payload is not JSON: it holds a NaN or an infinity"),
    ],
)
async def test_what_is_refused(queue: Queue, options: dict[str, Any], message: str) -> None:
    """Each bad argument is named with what is wrong, as `InvalidJob`, and nothing is sent."""
    with pytest.raises(InvalidJob) as caught:
        await queue.enqueue(**{"payload": 1} | options)
    assert str(caught.value) == message
    assert not queue._loops, "it has not even connected"


@pytest.mark.parametrize(
    "payload",
    [object(), {1: "a"}, b"bytes", {"a": {1, 2}}, AT, timedelta(1), "\ud800", 1 << 64, NewJob(1), print],
)
async def test_what_is_no_json(queue: Queue, payload: object) -> None:
    """A payload that JSON cannot carry back is refused."""
    with pytest.raises(InvalidJob, match=r"^the payload is not JSON: "):
        await queue.enqueue(payload)


@pytest.mark.parametrize(
    "payload", [None, True, 0, -1.5, "", "null", [], {}, [None], {"a": None}, (1, 2), (1 << 64) - 1]
)
async def test_what_is_json(queue: Queue, payload: object) -> None:
    """Everything else comes back as it went in, a tuple as a list."""
    job = await queue.enqueue(payload, at=AT)
    stored = await queue.get(job.id)
    assert stored is not None
    assert stored.payload == (list(payload) if isinstance(payload, tuple) else payload)
    assert type(stored.payload) is not tuple


async def test_ids_at_the_limits(any_queue: Queue) -> None:
    """200 bytes, spaces, any script: an id is found again as it was given."""
    ids = ["x" * 200, "ü" * 100, " ", "a b", "☃", "*", "em_01.2", "{tag}", "'; --", "%s", "true"]
    for each in ids:
        assert (await any_queue.enqueue(each, id=each, at=AT)).id == each
    assert await any_queue.missing([*ids, "no"]) == ["no"]
    for each in ids:
        job = await any_queue.get(each)
        assert job is not None
        assert (job.id, job.payload) == (each, each)
    assert sorted(job.id for job in await any_queue.jobs(JobState.SCHEDULED)) == sorted(ids)


async def test_the_payload_cap(valkey: Server) -> None:
    """A payload of exactly the limit is taken; one byte more is refused with both figures."""
    async with Queue(unique_name(), valkey.url, max_payload=100) as queue:
        await queue.enqueue("x" * 98)
        with pytest.raises(PayloadTooLarge, match=r"^payload of 101 bytes is over the limit of 100$") as caught:
            await queue.enqueue("x" * 99)
        assert (caught.value.size, caught.value.limit) == (101, 100)
    async with Queue(unique_name(), valkey.url) as queue:
        await queue.enqueue("x" * (256 * 1024 - 2))
        with pytest.raises(PayloadTooLarge, match=r"^payload of 262,145 bytes is over the limit of 262,144$"):
            await queue.enqueue("x" * (256 * 1024 - 1))


async def test_an_unknown_option_is_a_type_error(queue: Queue) -> None:
    """A misspelt argument is not swallowed."""
    with pytest.raises(TypeError, match="dealy"):
        await queue.enqueue(1, dealy=5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Queue("a b", "redis://h"), "a queue name is 1 to 64 of"),
        (lambda: Queue("q", "redis://h", keep_max=-1), "keep_max must be a whole number of at least 0, not -1"),
        (lambda: Queue("q", "redis://h", max_payload="1k"), "max_payload must be a whole number"),  # type: ignore[arg-type]
        (lambda: Queue("q", "redis://h", retry=3), "retry must be a Retry, not 3"),  # type: ignore[arg-type]
        (lambda: Queue("q", "redis://h", keep_dead=-1), "keep_dead must be between 0 and 1,000 years"),
        (lambda: Queue("q", "http://h"), "a queue's URL starts with one of redis://"),
    ],
)
def test_a_bad_queue(make: Callable[[], Queue], message: str) -> None:
    """A queue that cannot work is refused when it is made."""
    with pytest.raises(InvalidJob, match=f"^{message}"):
        make()


async def test_the_url_comes_from_the_environment_at_first_use(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue in a module needs no URL until it is used; without one it says where to put it."""
    monkeypatch.delenv("ZQUEUE_URL", raising=False)
    async with Queue(unique_name()) as queue:
        with pytest.raises(
            InvalidJob, match=rf"^queue '{queue.name}' has no URL: give it one, bind it, or set ZQUEUE_URL$"
        ):
            await queue.enqueue(1)
        monkeypatch.setenv("ZQUEUE_URL", valkey.url)
        assert (await queue.enqueue(1)).created


async def test_a_queue_in_another_format_is_left_alone(valkey: Server) -> None:
    """A process that would not understand the keys refuses to touch them."""
    async with Queue(unique_name(), valkey.url) as queue:
        link = queue.link(queue.shards[0])
        await command(link, "HSET", queue.shards[0].keys.meta, "format", "2")
        await link.close()
        for _ in range(2):
            with pytest.raises(InvalidJob, match=r"meta says format b'2'; this version of zqueue reads b'1'$"):
                await queue.enqueue(1)
        with pytest.raises(InvalidJob, match="says format b'2'"):
            await zqueue.Worker(queue, print).run()
