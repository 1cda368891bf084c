"""One typed call per script: what builds a command and what reads its reply. Pure: nothing here does I/O.

A `Call` is a command for the wire with the function that reads its reply. Each script's header in `lua/` documents its
ARGV and its answer; a unit test holds both sides together.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from zqueue.clock import Clock, moment
from zqueue.errors import CorruptJob
from zqueue.job import Job, JobState, decode_job
from zqueue.keys import Keys

R = TypeVar("R")

CAP_S: Final = 5.0
"""The longest anybody sleeps; the same figure as CAP in `lua/_prelude.lua`."""
CHUNK: Final = 100
"""Jobs a script gets at a time: the most that keeps it well under 5 ms at a million jobs."""
FORMAT: Final = b"1"
"""Of everything under a queue's keys; a process that reads another one refuses to start."""

Encoded = tuple[bytes, bytes, bytes]
"""A job as `NewJob.encode` gives it: id, envelope, when."""
Settled = Literal["ok", "gone", "stolen"]
Verb = Literal["ack", "retry", "snooze", "bury", "release"]


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A command and how to read its reply.

    Attributes:
        repeatable: Whether it may be sent again when it is unknown if it ran.
    """

    command: tuple[Any, ...]
    read: Callable[[Any], R]
    repeatable: bool = False


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


class Settlement(NamedTuple):
    """How one run ended. `delay_us` counts for retry, snooze and release; `error` for retry and bury."""

    id: bytes
    token: str
    verb: Verb
    delay_us: int = 0
    error: str = ""


class Dead(NamedTuple):
    """How long (us) and how many of the dead are kept."""

    keep_us: int
    most: int


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


class Script(NamedTuple):
    """A script's whole text and the name the server knows it by."""

    text: bytes
    sha: bytes


def _load() -> dict[str, Script]:
    folder = resources.files("zqueue") / "lua"
    prelude = (folder / "_prelude.lua").read_bytes()
    scripts = {}
    for file in folder.iterdir():
        name = file.name.removesuffix(".lua")
        if file.name.endswith(".lua") and not name.startswith("_"):
            text = prelude + b"\n" + file.read_bytes()
            scripts[name] = Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())
    return scripts


SCRIPTS: Final = _load()


class Commands:
    """The calls on one queue.

    Args:
        clock: Passed to the scripts instead of the server's clock, in tests.
    """

    def __init__(self, keys: Keys, clock: Clock | None = None) -> None:
        self.keys = keys
        self._clock = clock

    def _now(self) -> bytes:
        return b"" if self._clock is None else b"%d" % self._clock.now_us()

    def _script(
        self, name: str, args: Iterable[Any], read: Callable[[Any], R], *, repeatable: bool = False, call: str = ""
    ) -> Call[R]:
        keys = (*self.keys.all, self.keys.call(call)) if call else self.keys.all
        return Call(("EVALSHA", SCRIPTS[name].sha, len(keys), *keys, *args), read, repeatable)

    def enqueue(self, producer: str, nonce: str, jobs: Sequence[Encoded]) -> Call[tuple[int, list[int | Job | None]]]:
        """Schedule jobs. Reads to the server's time and, for each job, its due time or the job that holds its id.

        Safe to send again with the same *producer* and *nonce* within 60 s, one call of a producer at a time.
        """
        args = [self._now(), nonce, *(part for job in jobs for part in job)]
        return self._script("enqueue", args, _read_enqueued, repeatable=True, call=producer)

    def claim(
        self, limit: int, lease_us: int, token: str, max_deliveries: int, *, solo_ok: bool, worker: str, dead: Dead
    ) -> Call[Claimed]:
        """Lease up to *limit* due jobs under *token*. Never sent twice: jobs of a lost reply wait for their lease."""
        solo = b"1" if solo_ok else b""
        args = (self._now(), limit, lease_us, token, max_deliveries, solo, worker, dead.keep_us, dead.most)
        return self._script("claim", args, _read_claimed)

    def settle(self, settlements: Sequence[Settlement], dead: Dead) -> Call[tuple[int, list[Settled]]]:
        """End runs. Safe to send again: what took effect answers ``gone``."""
        args = [self._now(), dead.keep_us, dead.most, *(part for each in settlements for part in each)]
        return self._script("settle", args, _read_settled)

    def extend(self, leases: Sequence[tuple[bytes, str]], lease_us: int) -> Call[list[Settled]]:
        """Renew leases, given as (id, token)."""
        args = [self._now(), lease_us, *(part for lease in leases for part in lease)]
        return self._script("extend", args, _words, repeatable=True)

    def cancel(self, ids: Sequence[str]) -> Call[list[bool]]:
        """Take scheduled or leased jobs away."""
        return self._script("cancel", ids, lambda reply: [bool(each) for each in reply])

    def nudge(self) -> Call[int]:
        """Pass the wake token on."""
        return self._script("nudge", (self._now(),), int, repeatable=True)

    def missing(self, ids: Sequence[str]) -> Call[list[str]]:
        """Which of *ids* have no job."""
        return self._script("missing", ids, _words, repeatable=True)

    def get(self, job_id: str) -> Call[Job | None]:
        """One job, in any state."""
        return self._script("get", (job_id,), _read_row, repeatable=True)

    def jobs(self, state: JobState, limit: int, after: Job | None) -> Call[list[Job]]:
        """A page of jobs."""
        start: tuple[Any, ...] = ("", "", "")
        if after is not None:
            start = (int(after.priority), after.score_us or 0, after.id)
        return self._script("jobs", (str(state), limit, *start), _read_rows, repeatable=True)

    def incarnation(self) -> tuple[Call[str], Call[int], Call[str]]:
        """The server's run id, and the id drawn when the queue's keys were first made."""
        born = secrets.token_hex(8)
        return (
            Call(("INFO", "server"), _read_run_id, repeatable=True),
            Call(("HSETNX", self.keys.meta, "born", born), int, repeatable=True),
            Call(("HGET", self.keys.meta, "born"), bytes.decode, repeatable=True),
        )

    def stats(self) -> Call[tuple[int, Stats]]:
        """The size of everything, with the server's time."""
        return self._script("stats", (self._now(),), _read_stats, repeatable=True)


def _read_row(row: list[Any] | None) -> Job | None:
    """A job from a row: id, state, score, envelope, claims entry, attempts entry."""
    if row is None:
        return None
    job_id, state, score, envelope, claim, failed = row
    attempts, error = read_failures(failed or b"")
    score_us = int(float(score))
    _token, deliveries, due = (claim or b":0:").split(b":")
    known = JobState(state.decode())
    due_us = {JobState.SCHEDULED: score_us, JobState.LEASED: int(due or 0), JobState.DEAD: None}[known]
    return decode_job(
        job_id,
        envelope,
        state=known,
        score_us=score_us,
        due_us=due_us,
        deliveries=int(deliveries),
        attempts=attempts,
        error=error,
    )


def _read_rows(reply: list[list[Any]]) -> list[Job]:
    rows = []
    for row in reply:
        try:
            rows.append(_read_row(row))
        except CorruptJob as error:  # shown, not hidden: a worker buries or drops it when it is due
            rows.append(Job(error.job_id, None, state=JobState(row[1].decode()), error=str(error)))
    return [job for job in rows if job is not None]


def read_failures(entry: bytes) -> tuple[int, str | None]:
    """Failed attempts and the last error of an attempts entry (``count:error``, or empty)."""
    count, _, error = entry.partition(b":")
    return int(count or 0), error.decode("utf-8", "replace") if entry else None


def _read_enqueued(reply: list[Any]) -> tuple[int, list[int | Job | None]]:
    now, *answers = reply
    return int(now), [int(each) if isinstance(each, bytes) else _read_row(each) for each in answers]


def _read_claimed(reply: list[bytes]) -> Claimed:
    flat = iter(reply[3:])
    deliveries = [
        Delivery(job_id, envelope, int(count), int(due), failed)
        for job_id, envelope, count, due, failed in zip(flat, flat, flat, flat, flat, strict=True)
    ]
    return Claimed(int(reply[0]), int(reply[1]) / 1e6, reply[2] == b"1", deliveries)


def _read_settled(reply: list[bytes]) -> tuple[int, list[Settled]]:
    return int(reply[0]), _words(reply[1:])


def _words(reply: list[bytes]) -> list[Any]:
    return [word.decode() for word in reply]


def _read_run_id(reply: bytes) -> str:
    return next(line for line in reply.decode().splitlines() if line.startswith("run_id:")).removeprefix("run_id:")


def _read_stats(reply: list[Any]) -> tuple[int, Stats]:
    now, scheduled, due, leased, dead, workers, earliest = reply
    late_us = max(0, int(now) - int(earliest)) if earliest else 0
    next_due_at = moment(int(earliest)) if earliest else None
    return int(now), Stats(scheduled, due, leased, dead, workers, next_due_at, timedelta(microseconds=late_us))
