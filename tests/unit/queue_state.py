"""A queue in plain Python: what it holds, and the steps that its scripts share.

The rules are those of docs/architecture.md: a job is in one of three lanes, parked, leased, done, or dead. A parked job
waits for its group, whose gate says when to look again; without a gate it waits for the end of a run of that group.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.unit.queue_words import CAP, NEVER, OVERDUE, Answer, Claim, Failures, Limit, Waiting

Times = dict[str, int]


@dataclass
class QueueState:
    """One queue.

    Attributes:
        now: The clock.
        keep: How long the dead are kept.
        most: How many of the dead are kept, and of the done.
        counted: The group in whose runs a leased job counts.
        arrivals: By group ("" for the queue) when its next start would be on time, by GCRA.
    """

    now: int
    keep: int
    most: int
    lanes: tuple[Times, Times, Times] = field(default_factory=lambda: ({}, {}, {}))
    leased: Times = field(default_factory=dict)
    done: Times = field(default_factory=dict)
    dead: Times = field(default_factory=dict)
    parked: dict[str, Waiting] = field(default_factory=dict)
    gates: Times = field(default_factory=dict)
    counted: dict[str, str] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)
    arrivals: Times = field(default_factory=dict)
    envelopes: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    failures: dict[str, Failures] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    progressed: dict[str, str] = field(default_factory=dict)
    specs: dict[str, str] = field(default_factory=dict)
    fires: Times = field(default_factory=dict)
    paused: bool = False
    token: bool = False
    workers: Times = field(default_factory=dict)
    calls: dict[str, tuple[str, list[int | None]]] = field(default_factory=dict)

    def held(self) -> dict[str, object]:
        """Everything the server should hold."""
        lanes = {f"due:{n}": lane for n, lane in enumerate(self.lanes)}
        running = {group: sum(each == group for each in self.counted.values()) for group in self.counted.values()}
        everything: dict[str, object] = lanes | {
            "leased": self.leased,
            "done": self.done,
            "dead": self.dead,
            "parked": dict.fromkeys(map(str, self.parked.values()), 0),
            "gates": self.gates,
            "running": running,
            "groups": self.counted | {id: str(member) for id, member in self.parked.items()},
            "limits": {group: str(limit) for group, limit in self.limits.items()},
            "tat": self.arrivals,
            "jobs": self.envelopes,
            "claims": self.claims,
            "attempts": self.failures,
            "results": self.results,
            "progress": self.progressed,
            "recurring": self.specs,
            "fires": self.fires,
            "paused": int(self.paused),
            "wake": int(self.token),
            "workers": self.workers,
        }
        return everything

    # Places

    def place(self, id: str) -> Times | None:
        """The set that a job is in, parked ones aside; None if it is in none."""
        return next((place for place in (self.leased, *self.lanes, self.done, self.dead) if id in place), None)

    def lane(self, id: str) -> Times:
        """The lane its envelope names."""
        return self.lanes[int(self.envelopes[id][0])]

    def failed(self, id: str) -> Failures:
        """What of it failed."""
        return self.failures.get(id, Failures())

    def fence(self, id: str, token: str) -> Answer:
        """Whether a token holds a job."""
        claim = self.claims.get(id, Claim("", 0, 0))
        if not claim.token:
            return "gone"
        return "ok" if claim.token == token else "stolen"

    def forget(self, ids: Iterable[str]) -> None:
        """Leave nothing of these jobs, groups aside."""
        hashes = (self.envelopes, self.claims, self.failures, self.results, self.progressed)
        for id in ids:
            for place in (*self.lanes, self.leased, self.done, self.dead, *hashes):
                place.pop(id, None)

    def die(self, id: str, failed: Failures) -> None:
        """A job that has left its place goes among the dead."""
        self.claims.pop(id, None)
        self.progressed.pop(id, None)
        self.dead[id], self.failures[id] = self.now, failed

    def trim(self) -> None:
        """Bound what is kept: the dead and the done by count, the dead by age, the done by the time each has."""
        for place in (self.dead, self.done):
            self.forget(in_order(place, NEVER)[: max(0, len(place) - self.most)])
        self.forget(in_order(self.dead, self.now - self.keep))
        self.forget([id for id in self.done if self.claims[id].due <= self.now])
        self.arrivals = {group: at for group, at in self.arrivals.items() if at > self.now}

    # Limits

    def group(self, id: str) -> str | None:
        """The group its envelope names."""
        group: str | None = json.loads(self.envelopes[id][1:]).get("group")
        return group

    def queueing(self, group: str) -> list[str]:
        """The parked jobs of a group, in order."""
        return [member.id for member in sorted(self.parked.values()) if member.group == group]

    def limit_of(self, group: str) -> Limit:
        """The limit of a group ("" for the queue): its own, or the one for every group."""
        general = Limit(None, 1, None) if group == "" else self.limits.get("*", Limit(None, 1, None))
        return self.limits.get(group, general)

    def allowance(self, group: str) -> tuple[int, int]:
        """How many jobs of a group may start now; if none, when one may: NEVER for "when a run of it ends"."""
        limit = self.limit_of(group)
        running = len(self.leased) if group == "" else sum(each == group for each in self.counted.values())
        free = NEVER if limit.most is None else max(0, limit.most - running)
        if limit.interval is not None:
            opens = self.arrival(group) - (limit.burst - 1) * limit.interval
            rated = min(limit.burst, (self.now - opens) // limit.interval + 1) if opens <= self.now else 0
            if rated < free:
                return rated, opens
        return free, NEVER

    def arrival(self, group: str) -> int:
        """When the next start of a group would be on time, now if it is past."""
        return max(self.arrivals.get(group, 0), self.now)

    def spend(self, group: str, started: int = 1) -> None:
        """So many starts, by the rate."""
        limit = self.limit_of(group)
        if limit.interval and started:
            self.arrivals[group] = self.arrival(group) + started * limit.interval

    def start(self, id: str, group: str) -> None:
        """A job of a group starts now."""
        self.spend(group)
        if self.limit_of(group).most is not None:
            self.counted[id] = group

    def let_go(self, ids: Iterable[str]) -> None:
        """These jobs neither run nor wait any more: gates open for what they held, and close where nobody waits."""
        freed: dict[str, bool] = {}
        for id in ids:
            if id in self.parked:
                freed.setdefault(self.parked.pop(id).group, False)
            elif id in self.counted:
                freed[self.counted.pop(id)] = True
        before = self.head()
        opened = [group for group, ended in freed.items() if ended and self.queueing(group)]
        for group in freed:
            if not self.queueing(group):
                self.gates.pop(group, None)
        self.gates |= dict.fromkeys(opened, self.now)
        if opened:
            self.touch(self.now, before)
        if ids and "" in self.limits and self.limits[""].most is not None:
            self.nudge()

    # Waking

    def head(self) -> int:
        """When something next wants a worker."""
        places = (*self.lanes, self.leased, self.gates, self.fires)
        return min((at for place in places for at in place.values()), default=NEVER)

    def touch(self, at: int, before: int) -> None:
        """Push the token for what became runnable at *at*, when the head had been *before*."""
        if at < self.now + CAP and (at < before or before < self.now - OVERDUE):
            self.token = True

    def nudge(self) -> None:
        """Push the token if anything wants a worker soon."""
        self.token = self.token or self.head() < self.now + CAP


def in_order(place: Times, until: int) -> list[str]:
    """The ids in a set up to a time, by (time, id)."""
    return [id for at, id in sorted((at, id) for id, at in place.items()) if at <= until]
