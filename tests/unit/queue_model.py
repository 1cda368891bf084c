"""A queue in plain Python: what the scripts must answer and leave behind, written from the rules and not from the Lua.

The rules are those of docs/architecture.md: a job is in one of three lanes, leased, or dead; a token fences every write
of a worker, and holds past its deadline until another claim; `deliveries` counts claims since the last finished
attempt; a job that used them up dies in the claim, and one on its last goes only to a worker that has no other such
job (a first delivery is never held back). Times are integer microseconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

CAP = 5_000_000
OVERDUE = 100_000
SEEN = 60_000_000
NEVER = 1 << 62

Answer = Literal["ok", "gone", "stolen"]


class New(NamedTuple):
    """A job to enqueue. *when*: microseconds since the epoch, "+us" from now, or "" for now."""

    id: str
    envelope: str
    when: str = ""


class Item(NamedTuple):
    """How one run ended."""

    id: str
    token: str
    verb: Literal["ack", "retry", "snooze", "bury", "release"]
    delay: int = 0
    error: str = ""


class Claim(NamedTuple):
    """Who holds a job ("" if nobody), how often it was claimed, and when it had been due."""

    token: str
    deliveries: int
    due: int


class Failures(NamedTuple):
    """Failed attempts, and why the last one failed or the job died; None if neither happened."""

    attempts: int = 0
    error: str | None = None


class Seen(NamedTuple):
    """A job as inspection shows it; *due* is None once it is dead."""

    id: str
    state: str
    score: int
    due: int | None
    envelope: str
    deliveries: int
    failures: Failures


class Delivery(NamedTuple):
    """A job as a claim gives it."""

    id: str
    envelope: str
    deliveries: int
    due: int
    failures: Failures


class Claimed(NamedTuple):
    """A claim's answer: *next* is how long to sleep; *more* asks for another claim at once."""

    now: int
    next: int
    more: bool
    jobs: list[Delivery]


@dataclass
class QueueModel:
    """One queue.

    Attributes:
        now: The clock.
        keep: How long the dead are kept.
        most: How many of the dead are kept.
    """

    now: int
    keep: int
    most: int
    lanes: tuple[dict[str, int], dict[str, int], dict[str, int]] = field(default_factory=lambda: ({}, {}, {}))
    leased: dict[str, int] = field(default_factory=dict)
    dead: dict[str, int] = field(default_factory=dict)
    envelopes: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    failures: dict[str, Failures] = field(default_factory=dict)
    token: bool = False
    workers: dict[str, int] = field(default_factory=dict)
    calls: dict[str, tuple[str, list[int | None]]] = field(default_factory=dict)

    def state(self) -> dict[str, object]:
        """Everything the server should hold."""
        return {
            "due": self.lanes,
            "leased": self.leased,
            "dead": self.dead,
            "jobs": self.envelopes,
            "claims": self.claims,
            "attempts": self.failures,
            "wake": int(self.token),
            "workers": self.workers,
        }

    # Scripts

    def enqueue(self, producer: str, nonce: str, jobs: Sequence[New]) -> list[int | Seen | None]:
        """Schedule jobs: the due time of each, or the job that holds its id. The same nonce again only answers."""
        if producer not in self.calls or self.calls[producer][0] != nonce:
            before, dues = self._head(), [self._admit(job) for job in jobs]
            self.calls[producer] = (nonce, dues)
            self._touch(min((due for due in dues if due is not None), default=NEVER), before)
        return [
            self.get(job.id) if due is None else due for job, due in zip(jobs, self.calls[producer][1], strict=True)
        ]

    def claim(
        self, limit: int, lease: int, token: str, max_deliveries: int, *, solo_ok: bool, worker: str = ""
    ) -> Claimed:
        """Lease expired leases, then what is due, lane by lane, each in the order of (time, id)."""
        self.workers = {each: at for each, at in self.workers.items() if at > self.now - SEEN}
        if worker:
            self.workers[worker] = self.now
            self._trim()
        taken: list[Delivery] = []
        for place in (self.leased, *self.lanes):
            # A set is looked at once, for as many jobs as there is still room for.
            for id in _in_order(place, self.now)[: limit - len(taken)]:
                n, due = self.claims[id][1:] if id in self.claims else (0, place[id])
                last = n > 0 and n + 1 >= max_deliveries
                if n >= max_deliveries:
                    words = f"poison: its worker died or lost its lease on each of {n} deliveries"
                    self._die(id, Failures(self._failed(id).attempts, words))
                elif last and not solo_ok:
                    place[id] = self.now + CAP
                else:
                    solo_ok = solo_ok and not last
                    del place[id]
                    self.claims[id] = Claim(token, n + 1, due)
                    taken.append(Delivery(id, self.envelopes[id], n + 1, due, self._failed(id)))
        self.leased |= {job.id: self.now + lease for job in taken}
        head, filled = self._head(), len(taken) == limit
        if filled and head < self.now + CAP:
            self.token = True
        return Claimed(self.now, max(0, min(head - self.now, CAP)), head <= self.now and not filled, taken)

    def settle(self, items: Iterable[Item]) -> list[Answer]:
        """End runs. Each item is fenced by its token; an id counts once a call."""
        answers: list[Answer] = []
        ended: set[str] = set()
        acked = []
        before = None
        for item in items:
            answer = "gone" if item.id in ended else self._fence(item.id, item.token)
            answers.append(answer)
            if answer != "ok":
                continue
            ended.add(item.id)
            claim = self.claims.pop(item.id)
            failed = Failures(self._failed(item.id).attempts + 1, item.error)
            if item.verb == "ack":
                acked.append(item.id)
            elif item.verb == "bury":
                self._die(item.id, failed)
            else:
                before = self._head() if before is None else before
                if item.verb == "retry":
                    self.failures[item.id] = failed
                if item.verb == "release" and claim.deliveries > 1:
                    self.claims[item.id] = Claim("", claim.deliveries - 1, claim.due)
                released = item.verb == "release" and not item.delay
                self._again(item.id, claim.due if released else self.now + item.delay, before)
        for id in acked:
            self._forget(id)
        return answers

    def extend(self, leases: Iterable[tuple[str, str]], lease: int) -> list[Answer]:
        """Renew leases, given as (id, token)."""
        answers = [(id, self._fence(id, token)) for id, token in leases]
        self.leased |= {id: self.now + lease for id, answer in answers if answer == "ok"}
        return [answer for _, answer in answers]

    def cancel(self, ids: Iterable[str]) -> list[bool]:
        """Take jobs away; whether each was scheduled or leased."""
        return [id in self.envelopes and id not in self.dead and self._forget(id) for id in ids]

    def nudge(self) -> int:
        """Push the token if something wants a worker within CAP; how many there are."""
        self.token = self.token or self._head() < self.now + CAP
        return int(self.token)

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of *ids* that have no job."""
        return [id for id in ids if id not in self.envelopes]

    def get(self, id: str) -> Seen | None:
        """One job, in any state."""
        places = {"leased": self.leased, "scheduled": self._lane(id), "dead": self.dead}
        for state, place in places.items():
            if id in place:
                claim = self.claims.get(id, Claim("", 0, 0))
                due = {"leased": claim.due, "scheduled": place[id], "dead": None}[state]
                return Seen(id, state, place[id], due, self.envelopes[id], claim.deliveries, self._failed(id))
        return None

    def jobs(self, state: str) -> list[Seen]:
        """All jobs of a state, in order."""
        places = {"scheduled": self.lanes, "leased": (self.leased,), "dead": (self.dead,)}[state]
        seen = [self.get(id) for place in places for id in _in_order(place, NEVER)]
        return [job for job in seen if job is not None]

    def stats(self) -> tuple[int, int, int, int, int]:
        """How many are scheduled, due, leased, dead, working."""
        dues = [due for lane in self.lanes for due in lane.values()]
        workers = sum(at >= self.now - SEEN for at in self.workers.values())
        return len(dues), sum(due <= self.now for due in dues), len(self.leased), len(self.dead), workers

    def head(self) -> int | None:
        """When something next wants a worker."""
        return min((at for place in (*self.lanes, self.leased) for at in place.values()), default=None)

    # Steps

    def _admit(self, job: New) -> int | None:
        """Take a new job in: its due time, or None where its id is taken."""
        if job.id in self.envelopes:
            return None
        self.envelopes[job.id] = job.envelope
        due = self.now + int(job.when or 0) if job.when[:1] in ("", "+") else int(job.when)
        self._lane(job.id)[job.id] = due
        return due

    def _lane(self, id: str) -> dict[str, int]:
        return self.lanes[int(self.envelopes.get(id, "1")[0])]

    def _failed(self, id: str) -> Failures:
        return self.failures.get(id, Failures())

    def _fence(self, id: str, token: str) -> Answer:
        claim = self.claims.get(id, Claim("", 0, 0))
        if not claim.token:
            return "gone"
        return "ok" if claim.token == token else "stolen"

    def _again(self, id: str, due: int, before: int) -> None:
        del self.leased[id]
        self._lane(id)[id] = due
        self._touch(due, before)

    def _die(self, id: str, failed: Failures) -> None:
        for place in (self.leased, *self.lanes, self.claims):
            place.pop(id, None)
        self.dead[id], self.failures[id] = self.now, failed
        self._trim()

    def _trim(self) -> None:
        by_age = _in_order(self.dead, self.now - self.keep)
        for id in by_age + [id for id in _in_order(self.dead, NEVER) if id not in by_age][: -self.most or None]:
            self._forget(id)

    def _forget(self, id: str) -> bool:
        for place in (*self.lanes, self.leased, self.dead, self.envelopes, self.claims, self.failures):
            place.pop(id, None)
        return True

    def _head(self) -> int:
        head = self.head()
        return NEVER if head is None else head

    def _touch(self, at: int, before: int) -> None:
        """Push the token for what became runnable at *at*, when the head had been *before*."""
        if at < self.now + CAP and (at < before or before < self.now - OVERDUE):
            self.token = True


def _in_order(place: dict[str, int], until: int) -> list[str]:
    return [id for at, id in sorted((at, id) for id, at in place.items()) if at <= until]
