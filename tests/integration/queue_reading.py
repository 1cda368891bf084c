"""What a server answers and holds, in the words of the queue in plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tests.unit.queue_words import Claim, Claimed, Delivery, Failures, Fire, Seen
from zqueue import replies
from zqueue.connect import Link
from zqueue.job import JobInfo, JobRecord
from zqueue.keys import ORDER, Keys

ZSETS = ("due:0", "due:1", "due:2", "leased", "done", "dead", "parked", "gates", "tat", "fires", "workers")
TEXTS = ("running", "groups", "limits", "jobs", "results", "progress", "recurring")


async def read_state(link: Link, keys: Keys) -> dict[str, Any]:
    """Everything a queue has, as `QueueState.held` says it; takes the token away."""
    key = dict(zip(ORDER, keys.all, strict=True))
    zsets = [("ZRANGE", key[name], 0, -1, "WITHSCORES") for name in ZSETS]
    hashes = [("HGETALL", key[name]) for name in (*TEXTS, "claims", "attempts")]
    answers = iter(await link.send(*zsets, *hashes, ("EXISTS", key["paused"]), ("LPOP", key["wake"], 9)))
    held: dict[str, Any] = {name: {each: int(at) for each, at in _pairs(next(answers))} for name in ZSETS}
    held |= {name: {each: text.decode() for each, text in _pairs(next(answers))} for name in TEXTS}
    held["running"] = {group: int(count) for group, count in held["running"].items()}
    held["claims"] = {each: _claim(entry) for each, entry in _pairs(next(answers))}
    held["attempts"] = {each: _failures(entry) for each, entry in _pairs(next(answers))}
    return held | {"paused": next(answers), "wake": len(next(answers) or ())}


def read_claimed(claimed: replies.Claimed) -> Claimed:
    """A claim's answer."""
    jobs = [
        Delivery(job.id.decode(), job.envelope.decode(), job.deliveries, job.due_us, _failures(job.failed))
        for job in claimed.deliveries
    ]
    fires = [Fire(fire.name.decode(), fire.slot_us, fire.spec.decode()) for fire in claimed.fires]
    return Claimed(claimed.now_us, round(claimed.next_s * 1e6), claimed.more, fires, jobs)


def read_seen(job: JobInfo) -> Seen:
    """A job as inspection shows it; progress and result are in records only."""
    assert job.score_us is not None
    named = "" if job.group is None else f'"group":"{job.group}",'
    shown = (job.progress, job.result) if isinstance(job, JobRecord) else (None, None)
    progress, result = (None if each is None else orjson.dumps(each).decode() for each in shown)
    return Seen(
        job.id,
        str(job.state),
        job.score_us,
        job.due_us,
        f'{int(job.priority)}{{{named}"payload":{job.payload}}}',
        job.deliveries,
        Failures(job.attempts, job.error),
        job.parked,
        progress,
        result,
    )


def _pairs(flat: list[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((flat[at].decode(), flat[at + 1]) for at in range(0, len(flat), 2))


def _claim(entry: bytes) -> Claim:
    token, deliveries, due = entry.decode().split(":")
    return Claim(token, int(deliveries), int(due))


def _failures(entry: bytes) -> Failures:
    return Failures(*replies.read_failures(entry))
