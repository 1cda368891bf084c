"""One worker of the wake model: what it knows, and what it does when something reaches it or happens to it."""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

CLAIMING, ANSWERED, WAITING, DRAINING, GONE = range(5)
NEVER = 99


@dataclass(frozen=True)
class Rules:
    """The protocol by default; each flag breaks one rule of it.

    Attributes:
        push_when_the_head_moved: Only an insertion before the head pushes; a claim that fills its limit does not.
        full_worker_keeps_its_token: A token that reaches a full worker is not handed on.
        blpop_again_before_the_claim: A token's arrival issues the next BLPOP at once.
        stop_without_a_nudge: A leaving worker closes its BLPOP, and that is all.
        nudge_overtakes_the_close: A leaving worker nudges before the server has seen the end of its BLPOP.
    """

    push_when_the_head_moved: bool = False
    full_worker_keeps_its_token: bool = False
    blpop_again_before_the_claim: bool = False
    stop_without_a_nudge: bool = False
    nudge_overtakes_the_close: bool = False


class Worker(NamedTuple):
    """A worker, as far as waking goes. Whether the server holds a BLPOP of it is for the server to know."""

    phase: int
    busy: int = 0  # jobs running
    jobs: int = 0  # asked for while CLAIMING, granted while ANSWERED
    timer: int = NEVER  # until the next claim: the reply's while ANSWERED, the worker's own while WAITING
    popped: bool = False  # the server popped a token for it, which is on its way; of no use to one that is leaving
    hand: bool = False  # a token arrived while a claim was in flight
    leaving: bool = False  # told to stop while a claim was in flight

    def __str__(self) -> str:
        words = [("claims {0.jobs}", "answered {0.jobs}", "waits", "drains", "gone")[self.phase].format(self)]
        words += [f"runs {self.busy}"] * (self.busy > 0) + [f"timer {self.timer}"] * (self.timer < NEVER)
        words += [name for name in ("popped", "hand", "leaving") if getattr(self, name)]
        return f"[{' '.join(words)}]"


LEFT = Worker(GONE)
GHOST = Worker(GONE, jobs=1)  # a BLPOP that the server still holds for somebody who no longer listens


# What becomes of the BLPOP: as it was; issued unless outstanding; closed; closed, but the server does not know.
KEPT, ISSUED, CLOSED, ORPHANED = range(4)


class Change(NamedTuple):
    """What became of a worker, and what it sent to the server."""

    label: str
    worker: Worker
    blpop: int = KEPT
    nudge: bool = False


@cache
def but(worker: Worker, **changes: Any) -> Worker:
    """Change the named fields of *worker*."""
    return worker._replace(**changes)


@cache
def held(worker: Worker) -> int:
    """Count the jobs it has leased, whether it knows or not."""
    return worker.busy + worker.jobs if worker.phase == ANSWERED else worker.busy


@dataclass(frozen=True)
class Conduct:
    """How workers of *slots* slots behave under *rules*."""

    slots: int
    rules: Rules

    def starts(self) -> Worker:
        """Begin with a claim."""
        return Worker(CLAIMING, jobs=self.slots)

    def is_free(self, worker: Worker) -> bool:
        """Tell whether it has a free slot and will use it."""
        return worker.phase < DRAINING and not worker.leaving and held(worker) < self.slots

    def deliveries(self, worker: Worker) -> list[Change]:
        """Each reply on its way to the worker may arrive now."""
        changes = []
        if worker.popped:
            changes.append(self._token_arrives(but(worker, popped=False)))
        if worker.phase == ANSWERED:
            changes.append(self._reply_arrives(worker))
        return changes

    def events(self, worker: Worker, *, blocked: bool) -> list[Change]:
        """What users and accidents may do to the worker now, short of killing it."""
        if worker.phase == GONE:
            return [Change("starts", self.starts())]
        changes = []
        if worker.busy:
            changes.append(Change("finishes a job", self._freed(worker)))
        if worker.phase == DRAINING or worker.leaving:
            return changes
        if worker.phase == WAITING:
            changes.append(self._closed("is stopped", worker))
            if blocked and self.rules.nudge_overtakes_the_close:
                unseen = self._closed("is stopped, unseen by the server", worker)
                changes.append(unseen._replace(blpop=ORPHANED))
        else:
            changes.append(Change("is stopped", but(worker, leaving=True, popped=False, hand=False, timer=NEVER)))
        if blocked or worker.popped:
            woken = self._woken(but(worker, popped=False))
            changes.append(Change("loses its BLPOP's connection", woken, CLOSED, nudge=True))
        if blocked:
            changes.append(Change("has waited CAP for a token", self._woken(worker), CLOSED))
        return changes

    def answered(self, worker: Worker, jobs: int, sleep: int) -> Worker:
        """Be granted *jobs* by a claim that tells it to sleep for *sleep*."""
        if jobs == self.slots or worker.leaving:  # no slot will be free before the reply arrives: it needs no timer
            return but(worker, phase=ANSWERED, jobs=jobs, timer=NEVER)
        return self._alert(but(worker, phase=ANSWERED, jobs=jobs, timer=sleep))

    def aged(self, worker: Worker) -> Worker:
        """Be one time step older."""
        if worker.timer == NEVER:
            return worker
        older = but(worker, timer=max(worker.timer - 1, 0))
        return self._woken(older) if older.timer == 0 else older

    def _alert(self, worker: Worker) -> Worker:
        """Let a token in hand make the next claim follow at once, if the reply on its way leaves a slot free."""
        if worker.hand and worker.phase == ANSWERED and held(worker) < self.slots:
            return but(worker, hand=False, timer=0)
        return worker

    def _reply_arrives(self, worker: Worker) -> Change:
        rested = Worker(WAITING, worker.busy + worker.jobs, timer=worker.timer, popped=worker.popped)
        label = "hears what its claim got"
        if worker.leaving:
            return self._closed(label, rested)
        if rested.busy == self.slots:
            hands_on = worker.hand and not self.rules.full_worker_keeps_its_token
            return Change(label, but(rested, timer=NEVER), nudge=hands_on)
        if worker.hand or worker.timer == 0:
            return Change(label, self._woken(rested))
        return Change(label, rested, ISSUED)

    def _token_arrives(self, worker: Worker) -> Change:
        hands_on = False
        if worker.phase in (CLAIMING, ANSWERED):
            awake = self._alert(but(worker, hand=True))
        else:
            awake = self._woken(worker)
            hands_on = awake == worker and not self.rules.full_worker_keeps_its_token
        again = ISSUED if self.rules.blpop_again_before_the_claim else KEPT
        return Change("receives a token", awake, again, hands_on)

    def _closed(self, label: str, worker: Worker) -> Change:
        """Leave: the BLPOP, and a token on its way, are lost; then nudge. The jobs run to their end."""
        left = Worker(DRAINING, worker.busy) if worker.busy else LEFT
        return Change(label, left, CLOSED, nudge=not self.rules.stop_without_a_nudge)

    def _freed(self, worker: Worker) -> Worker:
        if worker.phase == DRAINING and worker.busy == 1:
            return LEFT
        return self._woken(but(worker, busy=worker.busy - 1))

    def _woken(self, worker: Worker) -> Worker:
        """Claim, if it waits with a free slot."""
        if worker.phase == WAITING and worker.busy < self.slots:
            return Worker(CLAIMING, worker.busy, self.slots - worker.busy, popped=worker.popped)
        return worker
