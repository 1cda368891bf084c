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
from zqueue.job import Job, JobState
from zqueue.keys import Keys
from zqueue.replies import Claimed, Settled, Stats

R = TypeVar("R")

CAP_S: Final = 5.0
"""The longest anybody sleeps; the same figure as CAP in `lua/_prelude.lua`."""
CHUNK: Final = 100
"""Jobs a script gets at a time: the most that keeps it well under 5 ms at a million jobs."""
FORMAT: Final = b"1"
"""Of everything under a queue's keys; a process that reads another one refuses to start."""

Encoded = tuple[bytes, bytes, bytes]
"""A job as `NewJob.encode` gives it: id, envelope, when."""
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
        return self._script("enqueue", args, replies.read_enqueued, repeatable=True, call=producer)

    def claim(
        self, limit: int, lease_us: int, token: str, max_deliveries: int, *, solo_ok: bool, worker: str, dead: Dead
    ) -> Call[Claimed]:
        """Lease up to *limit* due jobs under *token*. Never sent twice: jobs of a lost reply wait for their lease."""
        solo = b"1" if solo_ok else b""
        args = (self._now(), limit, lease_us, token, max_deliveries, solo, worker, dead.keep_us, dead.most)
        return self._script("claim", args, replies.read_claimed)

    def settle(self, settlements: Sequence[Settlement], dead: Dead) -> Call[tuple[int, list[Settled]]]:
        """End runs. Safe to send again: what took effect answers ``gone``."""
        args = [self._now(), dead.keep_us, dead.most, *(part for each in settlements for part in each)]
        return self._script("settle", args, replies.read_settled)

    def extend(self, leases: Sequence[tuple[bytes, str]], lease_us: int) -> Call[list[Settled]]:
        """Renew leases, given as (id, token)."""
        args = [self._now(), lease_us, *(part for lease in leases for part in lease)]
        return self._script("extend", args, replies.words, repeatable=True)

    def cancel(self, ids: Sequence[str]) -> Call[list[bool]]:
        """Take scheduled or leased jobs away."""
        return self._script("cancel", ids, lambda reply: [bool(each) for each in reply])

    def nudge(self) -> Call[int]:
        """Pass the wake token on."""
        return self._script("nudge", (self._now(),), int, repeatable=True)

    def missing(self, ids: Sequence[str]) -> Call[list[str]]:
        """Which of *ids* have no job."""
        return self._script("missing", ids, replies.words, repeatable=True)

    def get(self, job_id: str) -> Call[Job | None]:
        """One job, in any state."""
        return self._script("get", (job_id,), replies.read_row, repeatable=True)

    def jobs(self, state: JobState, limit: int, after: Job | None) -> Call[list[Job]]:
        """A page of jobs."""
        start: tuple[Any, ...] = ("", "", "")
        if after is not None:
            start = (int(after.priority), after.score_us or 0, after.id)
        return self._script("jobs", (str(state), limit, *start), replies.read_rows, repeatable=True)

    def incarnation(self) -> tuple[Call[str], Call[int], Call[str]]:
        """The server's run id, and the id drawn when the queue's keys were first made."""
        born = secrets.token_hex(8)
        return (
            Call(("INFO", "server"), replies.read_run_id, repeatable=True),
            Call(("HSETNX", self.keys.meta, "born", born), int, repeatable=True),
            Call(("HGET", self.keys.meta, "born"), replies.read_text, repeatable=True),
        )

    def stats(self) -> Call[tuple[int, Stats]]:
        """The size of everything, with the server's time."""
        return self._script("stats", (self._now(),), replies.read_stats, repeatable=True)


def claim_format(keys: Keys) -> tuple[Call[int], Call[bytes | None]]:
    """Put a new queue's keys into this format, and read which one they are in."""
    return (
        Call(("HSETNX", keys.meta, "format", FORMAT), int, repeatable=True),
        Call(("HGET", keys.meta, "format"), replies.as_it_is, repeatable=True),
    )
