"""What the scripts answer, and how it is read. Pure: nothing here does I/O.

Each reader takes the reply of one script, as its header in `lua/` documents it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, TypeVar

import orjson

from zqueue.clock import moment
from zqueue.envelope import decode_job
from zqueue.errors import CorruptJob
from zqueue.job import Job, JobInfo, JobRecord, JobState, Priority

J = TypeVar("J", bound=JobInfo)

Settled = Literal["ok", "gone", "stolen"]

_LAST_SCORE: Final = 1e18
_CLAIM: Final = re.compile(rb"[0-9a-fA-F]*:([0-9]+):([0-9]+)")


class Delivery(NamedTuple):
    """A claimed job, not yet decoded. `failed` is its attempts entry."""

    id: bytes
    envelope: bytes
    deliveries: int
    due_us: int
    failed: bytes


class Fire(NamedTuple):
    """A schedule that is due, not yet decoded. `slot` is its score as the server writes it, us."""

    name: bytes
    slot: bytes
    spec: bytes

    @property
    def slot_us(self) -> int:
        """The slot it is due for."""
        return _read_score(self.slot)


class Claimed(NamedTuple):
    """The answer to a claim. `next_s` is the wait for what is due next; `more` asks for another claim at once."""

    now_us: int
    next_s: float
    more: bool
    fires: list[Fire]
    deliveries: list[Delivery]


@dataclass(frozen=True, slots=True)
class Stats:
    """The size of a queue.

    Attributes:
        scheduled: Waiting jobs, due or not.
        due: Those of them whose time has come.
        parked: Those of them that wait for the limit of their group.
        leased: Jobs some worker is running (or died with).
        done: Jobs that are done and kept with their result.
        dead: Jobs that failed for good and are kept.
        paused: Whether nothing is claimed, by `Queue.pause`.
        workers: Workers seen within the last minute.
        next_due_at: When the first scheduled job is due, parked ones aside; None when there is none.
        oldest_due_age: How late that job is; zero when nothing is late.
    """

    scheduled: int
    due: int
    parked: int
    leased: int
    done: int
    dead: int
    paused: bool
    workers: int
    next_due_at: datetime | None
    oldest_due_age: timedelta


def _read_row(kind: type[J], row: list[Any], *, lenient: bool = True) -> J:
    """A job from a row: id, state, score, envelope, claims entry, attempts entry, progress, result.

    One that does not decode is shown without its payload if *lenient*: a worker will bury or drop it.
    """
    job_id, state, score, envelope, claim, failed, progress, result = row
    parked = state == b"parked"
    known: dict[str, Any] = {
        "state": JobState.SCHEDULED if parked else JobState(state.decode()),
        "parked": parked,
        "score_us": _read_score(score),
    }
    attempts, error = read_failures(failed or b"")
    deliveries, claimed_due_us = _read_claim(claim or b"")
    due_us = {JobState.SCHEDULED: known["score_us"], JobState.LEASED: claimed_due_us}.get(known["state"])
    told = {"progress": _read_json(progress), "result": _read_json(result)} if kind is JobRecord else {}
    counts = {"due_us": due_us, "deliveries": deliveries, "attempts": attempts, "error": error}
    try:
        return decode_job(kind, job_id, envelope, **known, **counts, **told)
    except CorruptJob as corrupt:
        if not lenient:
            raise
        lane = int(envelope[:1]) if envelope[:1] in (b"0", b"1", b"2") else 1
        return kind(corrupt.job_id, None, priority=Priority(lane), error=str(corrupt), **known)


def read_row(row: list[Any] | None) -> JobRecord | None:
    """One job, or None.

    Raises:
        CorruptJob: Its envelope is missing or does not decode.
    """
    return None if row is None else _read_row(JobRecord, row, lenient=False)


def read_rows(reply: list[list[Any]]) -> list[JobRecord]:
    """A page of jobs, those included that do not decode."""
    return [_read_row(JobRecord, row) for row in reply]


def _read_json(value: bytes | None) -> Any:
    """What a handler said, or returned; None when it does not decode."""
    try:
        return None if value is None else orjson.loads(value)
    except ValueError:
        return None


def _read_score(score: bytes) -> int:
    """A score as microseconds; an infinite one, which nobody here writes, as the nearest that is finite."""
    return int(max(0.0, min(float(score), _LAST_SCORE)))


def _read_claim(entry: bytes) -> tuple[int, int | None]:
    """Deliveries and due time, us, of a claims entry; of anything else 0 and None, as the scripts read it."""
    parts = _CLAIM.fullmatch(entry)
    return (int(parts[1]), int(parts[2])) if parts else (0, None)


def read_failures(entry: bytes) -> tuple[int, str | None]:
    """Failed attempts and the last error of an attempts entry (``count:error``, or empty)."""
    count, _, error = entry.partition(b":")
    return int(count) if count.isdigit() else 0, error.decode("utf-8", "replace") if entry else None


def read_enqueued(reply: list[Any]) -> tuple[int, list[int | Job[Any] | None]]:
    """The server's time, us, and for each job its due time, us, or the holder of its id (None: it just ended)."""
    now, *answers = reply
    return int(now), [_read_answer(each) for each in answers]


def _read_answer(answer: bytes | list[Any] | None) -> int | Job[Any] | None:
    if isinstance(answer, bytes):
        return int(answer)
    return None if answer is None else _read_row(Job, answer)


def read_claimed(reply: list[bytes]) -> Claimed:
    """The schedules and jobs of a claim, not yet decoded: one that does not decode must not hide the others."""
    first_job = 4 + 3 * int(reply[3])
    due = iter(reply[4:first_job])
    fires = [Fire(name, slot, spec) for name, slot, spec in zip(due, due, due, strict=True)]
    flat = iter(reply[first_job:])
    deliveries = [
        Delivery(job_id, envelope, int(count), int(due_us), failed)
        for job_id, envelope, count, due_us, failed in zip(flat, flat, flat, flat, flat, strict=True)
    ]
    return Claimed(int(reply[0]), int(reply[1]) / 1e6, reply[2] == b"1", fires, deliveries)


def read_settled(reply: list[bytes]) -> tuple[int, list[Settled]]:
    """The server's time, us, and what became of each item."""
    return int(reply[0]), words(reply[1:])


def words(reply: list[bytes]) -> list[Any]:
    """Words, in order."""
    return [word.decode() for word in reply]


def read_word(reply: bytes) -> Any:
    """One word."""
    return reply.decode()


def as_it_is(reply: Any) -> Any:
    """The reply."""
    return reply


def flags(reply: list[int]) -> list[bool]:
    """Ones and zeros, in order."""
    return [bool(each) for each in reply]


def read_text(reply: bytes | None) -> str:
    """A string; empty where there is none."""
    return (reply or b"").decode()


def read_pairs(reply: list[bytes]) -> dict[bytes, bytes]:
    """A hash, from names and values in turn."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def read_scores(reply: list[bytes]) -> dict[bytes, int]:
    """A sorted set of times, us, from members and scores in turn."""
    return {member: _read_score(score) for member, score in read_pairs(reply).items()}


def read_info(field: str) -> Callable[[bytes], str]:
    """A reader of one field of ``INFO``; empty where there is none."""

    def read(reply: bytes) -> str:
        lines = (line.partition(":") for line in reply.decode().splitlines())
        return next((value for name, _, value in lines if name == field), "")

    return read


def read_time(reply: list[bytes]) -> int:
    """The server's time, us."""
    return int(reply[0]) * 1_000_000 + int(reply[1])


def read_stats(reply: list[Any]) -> tuple[int, Stats]:
    """The server's time, us, and the size of everything."""
    now, scheduled, due, parked, leased, done, dead, paused, workers, earliest = reply
    late_us = max(0, int(now) - int(earliest)) if earliest else 0
    next_due_at = moment(int(earliest)) if earliest else None
    age = timedelta(microseconds=late_us)
    return int(now), Stats(scheduled, due, parked, leased, done, dead, paused == b"1", workers, next_due_at, age)


def add_stats(each: Sequence[Stats]) -> Stats:
    """The stats of a queue from those of its shards; a worker is seen on every shard."""
    counted = ("scheduled", "due", "parked", "leased", "done", "dead")
    return Stats(
        **{name: sum(getattr(stats, name) for stats in each) for name in counted},
        paused=any(stats.paused for stats in each),
        workers=max(stats.workers for stats in each),
        next_due_at=min((stats.next_due_at for stats in each if stats.next_due_at is not None), default=None),
        oldest_due_age=max(stats.oldest_due_age for stats in each),
    )
