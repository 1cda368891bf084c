"""A queue seen from its scripts: one call at a time on a clock that the test moves, and its whole state in reply."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from tests.queue_state import command, faults, read_keys, read_parked
from zqueue.commands import Call, Commands, Kept, Settlement, Verb
from zqueue.connect import Address, Link
from zqueue.envelope import NewJob
from zqueue.job import Job, Priority
from zqueue.keys import Keys
from zqueue.limits import encode_limit
from zqueue.replies import Claimed, Settled
from zqueue.sending import ask
from zqueue.testing import FakeClock

R = TypeVar("R")

S = 1_000_000
"""A second, in microseconds. Times in a `state` count from the bench's start."""
LEASE = 10 * S
TIMES = {"due:0", "due:1", "due:2", "leased", "done", "dead", "workers", "gates", "tat", "fires"}
"""The sorted sets whose scores are times."""
KEEP = Kept(keep_us=100 * S, most=1000)


class Bench:
    """One queue, driven script by script.

    Attributes:
        clean: Whether the queue is expected to be sound when the test ends; a test of garbage says no.
    """

    def __init__(self, name: str, url: str) -> None:
        self.clock = FakeClock()
        self.start_us = self.clock.now_us()
        self.keys = Keys(name)
        self.commands = Commands(self.keys, self.clock)
        self._address = Address(url)
        self.link = Link(self._address, key=self.keys.wake)
        self.clean = True
        self._nonce = 0

    async def close(self) -> None:
        """Hold the queue to what must always be true of it, and take it away."""
        try:
            assert not self.clean or await faults(self.link, self.keys) == []
            for key in await self.raw("KEYS", f"{self.keys.prefix}*"):
                await self.raw("DEL", key)
        finally:
            await self.link.close()

    async def run(self, call: Call[R]) -> R:
        """What a call answers."""
        return await ask(self.link, call)

    async def raw(self, *words: Any) -> Any:
        """What a plain command answers."""
        return await command(self.link, *words)

    def key(self, name: str) -> str:
        """A key of the queue by its short name."""
        return f"{self.keys.prefix}{name}"

    def at(self, seconds: float) -> int:
        """Microseconds since the epoch at *seconds* after the start."""
        return self.start_us + round(seconds * S)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(seconds=seconds))

    async def state(self) -> dict[str, Any]:
        """All keys but `meta` and the remembered calls; times in us since the start; the wake list as its length.

        What is parked is shown by id, as (group, lane, due), and not again in `groups`.
        """
        state = await read_keys(self.link, self.keys)
        for name in TIMES & state.keys():
            state[name] = {member: score - self.start_us for member, score in state[name].items()}
        if "claims" in state:
            state["claims"] = {job_id: self._claim(entry) for job_id, entry in state["claims"].items()}
        parked = [read_parked(member) for member in state.get("parked", {})]
        groups = {job_id: entry for job_id, entry in state.get("groups", {}).items() if b"\0" not in entry}
        state["parked"] = {job_id: (group, lane, due - self.start_us) for job_id, group, lane, due in parked}
        state["groups"] = groups
        state["wake"] = len(state.get("wake", []))
        unseen = [name for name, value in state.items() if not value or name == "meta" or name.startswith("call:")]
        return {name: value for name, value in state.items() if name not in unseen}

    def _claim(self, entry: bytes) -> tuple[str, int, int]:
        token, deliveries, due = entry.decode().split(":")
        return token, int(deliveries), int(due) - self.start_us

    async def tokens(self) -> int:
        """How many tokens there are; takes them away."""
        count: int = await self.raw("LLEN", self.keys.wake)
        await self.raw("DEL", self.keys.wake)
        return count

    async def enqueue(
        self, *jobs: NewJob, producer: str = "p.0", nonce: str | None = None
    ) -> list[int | Job[Any] | None]:
        """Enqueue in one call; due times come back in us since the start."""
        self._nonce += 1
        nonce = f"{self._nonce:016x}" if nonce is None else nonce
        encoded = [job.encode(1 << 20) for job in jobs]
        _now, answers = await self.run(self.commands.enqueue(producer, nonce, encoded))
        return [each - self.start_us if isinstance(each, int) else each for each in answers]

    async def put(self, *ids: str, at: float = 0, lane: int = 1, group: str | None = None) -> None:
        """Schedule jobs named *ids*, each with its id as payload, at a time counted from the start, in one lane."""
        when = self.clock.now() + timedelta(microseconds=self.at(at) - self.clock.now_us())
        jobs = [NewJob(each, id=each, at=when, priority=Priority(lane), group=group) for each in ids]
        assert await self.enqueue(*jobs) == [round(at * S)] * len(ids)

    async def claim(
        self,
        limit: int = 100,
        token: str = "f00d",
        *,
        most: int = 5,
        solo_ok: bool = True,
        worker: str = "",
        kept: Kept = KEEP,
        lease_us: int = LEASE,
    ) -> Claimed:
        """Lease what is due."""
        return await self.run(
            self.commands.claim(limit, lease_us, token, most, solo_ok=solo_ok, worker=worker, kept=kept)
        )

    async def claim_ids(self, limit: int = 100, token: str = "f00d", **options: Any) -> list[str]:
        """The ids that a claim leases, in its order."""
        return [each.id.decode() for each in (await self.claim(limit, token, **options)).deliveries]

    async def settle(
        self, *ids: str, verb: Verb, token: str = "f00d", delay: float = 0, text: str = "", kept: Kept = KEEP
    ) -> list[Settled]:
        """End runs, all the same way."""
        items = [Settlement(each.encode(), token, verb, round(delay * S), text) for each in ids]
        return (await self.run(self.commands.settle(items, kept)))[1]

    async def extend(self, *ids: str, token: str = "f00d", lease_us: int = LEASE) -> list[Settled]:
        """Renew leases."""
        return await self.run(self.commands.extend([(each.encode(), token) for each in ids], lease_us))

    async def limit(
        self, group: str | None, *, rate: float | None = None, per: float = 1, burst: int = 1, most: int | None = None
    ) -> None:
        """Set the limit of a group, or (None) of the queue: *rate* in *per* seconds, at *most* so many at a time."""
        await self.run(self.commands.limit(*encode_limit(group, rate, per, burst, most)))

    async def listen(self, work: Coroutine[Any, Any, Any]) -> list[bytes]:
        """What is published on the channel of ended jobs while *work* is done."""
        heard: list[bytes] = []
        ear = Link(self._address, key=self.keys.wake)
        try:
            await ear.send(("SUBSCRIBE", self.keys.ended))
            await work
            await self.raw("PUBLISH", self.keys.ended, b"that is all")
            while (message := (await ear.receive())[2]) != b"that is all":
                heard.append(message)
        finally:
            await ear.close()
        return heard

    async def cancel(self, *ids: str) -> list[bool]:
        """Take jobs away."""
        return await self.run(self.commands.cancel(ids))


def envelopes(ids: Sequence[str], lane: int = 1, group: str = "") -> dict[str, bytes]:
    """What `jobs` holds of jobs that `Bench.put` made."""
    named = b'"group":"%b",' % group.encode() if group else b""
    return {each: b'%d{%b"payload":"%b"}' % (lane, named, each.encode()) for each in ids}
