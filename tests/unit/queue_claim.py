"""A claim, in plain Python: expired leases, then what is parked behind open gates, then lane by lane.

A job that used up its deliveries dies in the claim, and one on its last goes only to a worker that has no other such
job (a first delivery is never held back). The budget of a claim is not modelled: no test here has so many jobs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.unit.queue_state import QueueState, Times, in_order
from tests.unit.queue_words import CAP, NEVER, Claim, Delivery, Failures, Waiting


@dataclass
class Claiming:
    """One claim of a worker, on its way through a queue."""

    queue: QueueState
    limit: int
    token: str
    max_deliveries: int
    solo_ok: bool
    taken: list[Delivery] = field(default_factory=list)

    @property
    def room(self) -> int:
        """How many more jobs it may take."""
        return self.limit - len(self.taken)

    def look_through(self, place: Times) -> None:
        """Look at what a set has due; at the leased only once, for they stay in it."""
        leased = place is self.queue.leased
        while self.room and (page := in_order(place, self.queue.now)[: self.room]):
            left, died = [], []
            for id in page:
                fate = self._look(id, place[id], parks=not leased)
                died += [id] * (fate == "dies")
                left += [id] * (fate == "dies" or (fate == "leaves" and not leased))
                if fate == "is put off":
                    place[id] = self.queue.now + CAP
            for id in left:
                del place[id]
            self.queue.let_go(died)
            if leased:
                return

    def open_gates(self) -> None:
        """Start the parked jobs of each group whose gate is open, as far as it may."""
        queue = self.queue
        for group in in_order(queue.gates, queue.now):
            free, opens = queue.allowance(group)
            while free and (self.room == 0 or queue.queueing(group)):
                if not self.room:
                    return
                self._look_at_parked(group, queue.queueing(group)[: min(free, self.room)])
                free, opens = queue.allowance(group)
            if opens < NEVER and not free and queue.queueing(group):
                queue.gates[group] = opens
            else:
                queue.gates.pop(group, None)

    def _look_at_parked(self, group: str, page: Iterable[str]) -> None:
        died = []
        for id in page:
            fate = self._look(id, self.queue.parked[id].due, group=group)
            if fate == "is put off":
                self.queue.lane(id)[id] = self.queue.now + CAP
            if fate == "dies":
                died.append(id)
            else:
                del self.queue.parked[id]
        self.queue.let_go(died)

    def _look(self, id: str, due: int, *, parks: bool = False, group: str | None = None) -> str:
        """What becomes of a job: it dies, is put off, or leaves where it was: taken or parked."""
        queue = self.queue
        n, due = queue.claims[id][1:] if id in queue.claims else (0, due)
        last = n > 0 and n + 1 >= self.max_deliveries
        if n >= self.max_deliveries:
            words = f"poison: its worker died or lost its lease on each of {n} deliveries"
            queue.die(id, Failures(queue.failed(id).attempts, words))
            return "dies"
        if last and not self.solo_ok:
            return "is put off"
        if group is not None:
            queue.start(id, group)
        elif parks and queue.limits and not self._passes(id):
            return "leaves"
        self.solo_ok = self.solo_ok and not last
        queue.claims[id] = Claim(self.token, n + 1, due)
        self.taken.append(Delivery(id, queue.envelopes[id], n + 1, due, queue.failed(id)))
        return "leaves"

    def _passes(self, id: str) -> bool:
        """Whether a job of a lane may start; if not, it is parked, behind those of its group that wait."""
        queue = self.queue
        group = queue.group(id)
        if group is None:
            return True
        if not queue.queueing(group):
            free, opens = queue.allowance(group)
            if free:
                queue.start(id, group)
                return True
            if opens < NEVER:
                queue.gates[group] = opens
        lane = int(queue.envelopes[id][0])
        queue.parked[id] = Waiting(group, lane, max(0, queue.lane(id)[id]), id)
        return False
