"""One typed call per script. Pure: nothing here does I/O.

A `Call` is a command for the wire with the function that reads its reply (see `replies`). Each script's header in
`lua/` documents its ARGV and its answer; a unit test holds both sides together.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from zqueue import replies
from zqueue.clock import Clock
from zqueue.envelope import Encoded
from zqueue.job import Job, JobInfo, JobRecord, JobState
from zqueue.keys import Keys
from zqueue.replies import Claimed, Settled, Stats

R = TypeVar("R")

CAP_S: Final = 5.0
"""The longest anybody sleeps; the same figure as CAP in `lua/_prelude.lua`."""
CHUNK: Final = 100
"""Jobs a script gets at a time: the most that keeps it well under 5 ms at a million jobs."""
FORMAT: Final = b"1"
"""Of everything under a queue's keys; a process that reads another one refuses to start."""

Verb = Literal["ack", "retry", "snooze", "bury", "release"]


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A command and how to read its reply.

    Attributes:
        repeatable: Whether it may be sent again when it is unknown if it ran.
        trailing: It asks about the calls before it (`WAIT`): when one of them is sent again, so is this.
    """

    command: tuple[Any, ...]
    read: Callable[[Any], R]
    repeatable: bool = False
    trailing: bool = False


class Settlement(NamedTuple):
    """How one run ended.

    `time_us` is the delay of retry, snooze and release, and how long an acked job is kept; `text` is the error of retry
    and bury, and the result of ack, as JSON.
    """

    id: bytes
    token: str
    verb: Verb
    time_us: int = 0
    text: str | bytes = ""


class Kept(NamedTuple):
    """How long (us) the dead are kept, and how many of the dead and of the done."""

    keep_us: int
    most: int


class Script(NamedTuple):
    """A script's whole text and the name the server knows it by."""

    text: bytes
    sha: bytes


_PRELUDE: Final = ("prelude", "limits", "parking", "places")
"""What is put before every script's own text, in this order."""


def _load() -> dict[str, Script]:
    folder = resources.files("zqueue") / "lua"
    prelude = b"\n".join((folder / f"_{name}.lua").read_bytes() for name in _PRELUDE)
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

    def enqueue(
        self, producer: str, nonce: str, jobs: Sequence[Encoded]
    ) -> Call[tuple[int, list[int | Job[Any] | None]]]:
        """Schedule jobs. Reads to the server's time and, for each job, its due time or the job that holds its id.

        Safe to send again with the same *producer* and *nonce* within 60 s, one call of a producer at a time.
        """
        args = [self._now(), nonce, *(part for job in jobs for part in job)]
        return self._script("enqueue", args, replies.read_enqueued, repeatable=True, call=producer)

    def claim(
        self, limit: int, lease_us: int, token: str, max_deliveries: int, *, solo_ok: bool, worker: str, kept: Kept
    ) -> Call[Claimed]:
        """Lease up to *limit* due jobs under *token*. Never sent twice: jobs of a lost reply wait for their lease."""
        solo = b"1" if solo_ok else b""
        args = (self._now(), limit, lease_us, token, max_deliveries, solo, worker, *kept)
        return self._script("claim", args, replies.read_claimed)

    def settle(self, settlements: Sequence[Settlement], kept: Kept) -> Call[tuple[int, list[Settled]]]:
        """End runs. Safe to send again: what took effect answers ``gone``."""
        args = [self._now(), *kept, *(part for each in settlements for part in each)]
        return self._script("settle", args, replies.read_settled)

    def extend(self, leases: Sequence[tuple[bytes, str]], lease_us: int) -> Call[list[Settled]]:
        """Renew leases, given as (id, token)."""
        args = [self._now(), lease_us, *(part for lease in leases for part in lease)]
        return self._script("extend", args, replies.words, repeatable=True)

    def progress(self, lease: tuple[bytes, str], value: bytes) -> Call[Settled]:
        """Keep what the running job of *lease* says of itself, as JSON."""
        return self._script("progress", (*lease, value), replies.read_word, repeatable=True)

    def cancel(self, ids: Sequence[str]) -> Call[list[bool]]:
        """Take scheduled or leased jobs away."""
        return self._script("cancel", (self._now(), *ids), replies.flags)

    def reschedule(self, when: bytes, ids: Sequence[str]) -> Call[list[bool]]:
        """Give scheduled jobs another due time; safe to send again unless *when* is relative."""
        return self._script("reschedule", (self._now(), when, *ids), replies.flags, repeatable=when[:1] != b"+")

    def requeue(self, ids: Sequence[str]) -> Call[list[bool]]:
        """Let dead jobs run again."""
        return self._script("requeue", (self._now(), *ids), replies.flags)

    def purge(self, state: JobState, age_us: int | None, limit: int) -> Call[int]:
        """Delete up to *limit* jobs of a state that are at least so old."""
        age = b"" if age_us is None else age_us
        return self._script("purge", (self._now(), str(state), age, limit), int)

    def pause(self, *, paused: bool) -> Call[int]:
        """Let nothing be claimed, or again."""
        return self._script("pause", (self._now(), b"1" if paused else b""), int, repeatable=True)

    def limit(self, group: str, limit: str) -> Call[int]:
        """Set the limit of a group (empty: of the queue), or lift it."""
        return self._script("limit", (self._now(), group, limit), int, repeatable=True)

    def recur(self, name: str, times: bytes, what: bytes, slot_us: int, *, forward: bool) -> Call[int]:
        """Make or change a schedule. Reads to its next slot, us."""
        args = (self._now(), name, times, what, slot_us, b"1" if forward else b"")
        return self._script("recur", args, int, repeatable=True)

    def fire(self, name: bytes, slot: bytes, next_us: int, jobs: Sequence[tuple[bytes, bytes, int]]) -> Call[int]:
        """Move a schedule on and enqueue jobs, given as (id, envelope, due us). Reads to whether it was still there."""
        args = [self._now(), name, slot, next_us, *(part for job in jobs for part in job)]
        return self._script("fire", args, int, repeatable=True)

    def unrecur(self, name: str) -> Call[int]:
        """End a schedule."""
        return self._script("unrecur", (name,), int)

    def recurring(self) -> tuple[Call[dict[bytes, bytes]], Call[dict[bytes, int]]]:
        """All schedules by name: their specs, and their next slots, us."""
        return (
            Call(("HGETALL", self.keys.recurring), replies.read_pairs, repeatable=True),
            Call(("ZRANGE", self.keys.fires, 0, -1, "WITHSCORES"), replies.read_scores, repeatable=True),
        )

    def nudge(self, leaver: str = "") -> Call[int]:
        """Pass the wake token on, and forget the worker *leaver*."""
        return self._script("nudge", (self._now(), leaver), int, repeatable=True)

    def missing(self, ids: Sequence[str]) -> Call[list[str]]:
        """Which of *ids* have no job."""
        return self._script("missing", ids, replies.words, repeatable=True)

    def get(self, job_id: str) -> Call[JobRecord | None]:
        """One job, in any state."""
        return self._script("get", (job_id,), replies.read_row, repeatable=True)

    def jobs(self, state: JobState, limit: int, after: JobInfo | None) -> Call[list[JobRecord]]:
        """A page of jobs."""
        start: tuple[Any, ...] = ("", "", "")
        if after is not None and after.parked:
            start = (3, 0, f"{after.group}\0{after.priority:d}{after.score_us or 0:016d}{after.id}")
        elif after is not None:
            start = (int(after.priority), after.score_us or 0, after.id)
        return self._script("jobs", (str(state), limit, *start), replies.read_rows, repeatable=True)

    def incarnation(self) -> tuple[Call[str], Call[int], Call[str]]:
        """The server's run id, and the id drawn when the queue's keys were first made."""
        born = secrets.token_hex(8)
        return (
            Call(("INFO", "server"), replies.read_info("run_id"), repeatable=True),
            Call(("HSETNX", self.keys.meta, "born", born), int, repeatable=True),
            Call(("HGET", self.keys.meta, "born"), replies.read_text, repeatable=True),
        )

    def time(self) -> Call[int]:
        """The time by which this queue goes, us."""
        if self._clock is None:
            return Call(("TIME",), replies.read_time, repeatable=True)
        now_us = self._clock.now_us()
        return Call(("TIME",), lambda _: now_us, repeatable=True)

    def stats(self) -> Call[tuple[int, Stats]]:
        """The size of everything, with the server's time."""
        return self._script("stats", (self._now(),), replies.read_stats, repeatable=True)


def claim_format(keys: Keys, shards: int) -> tuple[Call[Any], ...]:
    """Put a new queue's keys into this format, and read which one they are in, and over how many shards."""
    return (
        Call(("HSETNX", keys.format, "format", FORMAT), int, repeatable=True),
        Call(("HSETNX", keys.format, "shards", shards), int, repeatable=True),
        Call(("HMGET", keys.format, "format", "shards"), replies.as_it_is, repeatable=True),
    )


def eviction_policy() -> Call[str]:
    """What the server does when its memory is full; empty where it does not say."""
    return Call(("INFO", "memory"), replies.read_info("maxmemory_policy"), repeatable=True)


def replicated(replicas: int, timeout_ms: int) -> Call[int]:
    """How many replicas have what this connection wrote (`WAIT`)."""
    return Call(("WAIT", replicas, timeout_ms), int, repeatable=True, trailing=True)


def synced(replicas: int, timeout_ms: int) -> Call[list[int]]:
    """The same, for their append-only files and the server's own (`WAITAOF`: Valkey, Redis 7.2): [own, replicas]."""
    return Call(("WAITAOF", 1, replicas, timeout_ms), replies.as_it_is, repeatable=True, trailing=True)
