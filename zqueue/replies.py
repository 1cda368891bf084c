"""What the scripts answer, and how it is read. Pure: nothing here does I/O.

Each reader takes the reply of one script, as its header in `lua/` documents it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from zqueue.clock import moment
from zqueue.errors import CorruptJob
from zqueue.job import Job, JobState, Priority, decode_job

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


class Claimed(NamedTuple):
    """The answer to a claim. `next_s` is the wait for the next due job; `more` asks for another claim at once."""

    now_us: int
    next_s: float
    more: bool
    deliveries: list[Delivery]


@dataclass(frozen=True, slots=True)
class Stats:
    """The size of a queue.

    Attributes:
        scheduled: Waiting jobs, due or not.
        due: Those of them whose time has come.
        leased: Jobs some worker is running (or died with).
        dead: Jobs that failed for good and are kept.
        workers: Workers seen within the last minute.
        next_due_at: When the first scheduled job is due; None when there is none.
        oldest_due_age: How late that job is; zero when nothing is late.
    """

    scheduled: int
    due: int
    leased: int
    dead: int
    workers: int
    next_due_at: datetime | None
    oldest_due_age: timedelta


def read_row(row: list[Any] | None) -> Job | None:
    """A job from a row: id, state, score, envelope, claims entry, attempts entry.

    Raises:
        CorruptJob: Its envelope is missing or does not decode.
    """
    if row is None:
        return None
    job_id, state, score, envelope, claim, failed = row
    attempts, error = read_failures(failed or b"")
    score_us = _read_score(score)
    deliveries, claimed_due_us = _read_claim(claim or b"")
    known = JobState(state.decode())
    due_us = {JobState.SCHEDULED: score_us, JobState.LEASED: claimed_due_us, JobState.DEAD: None}[known]
    return decode_job(
        job_id,
        envelope,
        state=known,
        score_us=score_us,
        due_us=due_us,
        deliveries=deliveries,
        attempts=attempts,
        error=error,
    )


def _show_row(row: list[Any] | None) -> Job | None:
    """Like `read_row`; a job that does not decode is shown without its payload: a worker will bury or drop it."""
    try:
        return read_row(row)
    except CorruptJob as error:
        assert row is not None
        _id, state, score, envelope, *_ = row
        lane = envelope[:1] if envelope[:1] in (b"0", b"1", b"2") else b"1"
        return Job(
            error.job_id,
            None,
            state=JobState(state.decode()),
            priority=Priority(int(lane)),
            error=str(error),
            score_us=_read_score(score),
        )


def read_rows(reply: list[list[Any]]) -> list[Job]:
    """A page of jobs, those included that do not decode."""
    return [job for job in map(_show_row, reply) if job is not None]


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


def read_enqueued(reply: list[Any]) -> tuple[int, list[int | Job | None]]:
    """The server's time, us, and for each job its due time, us, or the holder of its id (None: it just ended)."""
    now, *answers = reply
    return int(now), [int(each) if isinstance(each, bytes) else _show_row(each) for each in answers]


def read_claimed(reply: list[bytes]) -> Claimed:
    """The jobs of a claim, not yet decoded: one that does not decode must not hide the others."""
    flat = iter(reply[3:])
    deliveries = [
        Delivery(job_id, envelope, int(count), int(due), failed)
        for job_id, envelope, count, due, failed in zip(flat, flat, flat, flat, flat, strict=True)
    ]
    return Claimed(int(reply[0]), int(reply[1]) / 1e6, reply[2] == b"1", deliveries)


def read_settled(reply: list[bytes]) -> tuple[int, list[Settled]]:
    """The server's time, us, and what became of each item."""
    return int(reply[0]), words(reply[1:])


def words(reply: list[bytes]) -> list[Any]:
    """Words, in order."""
    return [word.decode() for word in reply]


def as_it_is(reply: bytes | None) -> bytes | None:
    """A string, or None where there is none."""
    return reply


def read_text(reply: bytes | None) -> str:
    """A string; empty where there is none."""
    return (reply or b"").decode()


def read_run_id(reply: bytes) -> str:
    """The server's run id, out of ``INFO server``."""
    return next(line for line in reply.decode().splitlines() if line.startswith("run_id:")).removeprefix("run_id:")


def read_stats(reply: list[Any]) -> tuple[int, Stats]:
    """The server's time, us, and the size of everything."""
    now, scheduled, due, leased, dead, workers, earliest = reply
    late_us = max(0, int(now) - int(earliest)) if earliest else 0
    next_due_at = moment(int(earliest)) if earliest else None
    return int(now), Stats(scheduled, due, leased, dead, workers, next_due_at, timedelta(microseconds=late_us))
