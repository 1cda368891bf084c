"""An explicit-state model of how workers are woken, small enough to visit every state it can reach.

The protocol (docs/architecture.md, "Waking without polling"). Jobs wait in sorted sets; the *head* is the earliest time
in any of them. Scripts keep at most one token in the list `wake`:

- *touch(at)* ends every script that makes a job runnable at `at`. It pushes a token if that is before now + CAP, and
  either before the old head, or the old head is overdue by more than 100 ms (somebody must have swallowed its token).
- *nudge* pushes a token if the head is before now + CAP. Resuming a paused queue ends with it.
- *claim(limit)* leases what is due. If it filled `limit` and the head is still before now + CAP it pushes a token, for
  the caller may be full now. It answers the time until the head, at most CAP.
- A *worker* has one BLPOP on `wake` outstanding, and issues it again only after a claim that left free slots. With a
  free slot it claims when its own timer fires, a token arrives, or a slot is freed. When full it hands a token on with
  a nudge. Leaving, it finishes the claim in flight, closes its BLPOP, makes sure that the server knows, and then
  nudges; it nudges too when it loses the BLPOP's connection.

States. Every script, and every delivery of a reply, is one step, and the steps of different workers interleave freely:
a claim sent but not yet run, its reply on the way back, a token popped by the server but not yet seen by its worker,
and a nudge on its way are states of their own. Workers blocked on `wake` are served in the order they came. Jobs and
workers are interchangeable: jobs are the sorted list of their due times, and workers are sorted unless blocked.

Time is counted in steps relative to now: -1 is overdue by more than 100 ms (and stays there), 0 is due, 1 to CAP - 1 is
soon, CAP is later. A time step brings everything one nearer. A timer that reaches 0 fires at once, but the claim it
causes may run arbitrarily late. A timer counts from the script that told its worker the time, as if the reply took
none: its travel is lateness, not a lost wake-up. A BLPOP reaches the server as its worker sends it: a delay of its own
would look like a longer delay of the claim's reply before it.

Not modelled: the claim's budget (`more`), gates and recurring jobs (further members of the head, under the same rules),
lanes, clocks that step, and frozen processes (crashes, as far as waking goes). Living workers renew their leases in
time.
"""

from collections.abc import Iterator
from functools import cache

from tests.unit.wake_state import State, applied, each, in_order, pushed, put
from tests.unit.wake_worker import (
    CLAIMING,
    CLOSED,
    GHOST,
    GONE,
    LEFT,
    NEVER,
    ORPHANED,
    Change,
    Conduct,
    Rules,
    Worker,
    held,
)

PROTOCOL = Rules()
Step = tuple[str, Worker | None, State]  # what happened, to which worker, and what came of it


class Model:
    """One configuration, and what is possible in each of its states."""

    def __init__(
        self,
        workers: int,
        slots: int,
        jobs: int,
        *,
        cap: int = 2,
        lease: int = NEVER,
        crashes: int = 0,
        pauses: bool = True,
        overdue: bool = True,
        rules: Rules = PROTOCOL,
    ) -> None:
        """Describe a configuration.

        Args:
            workers: Workers, living or gone, at a time.
            slots: Jobs a worker runs at once.
            jobs: Jobs in the system at once, waiting or running.
            cap: CAP in time steps, at least 2.
            lease: In time steps; below `cap` it is short, counts for the head, and workers sleep at most half of it.
            crashes: Workers that may die. If any, time passes only when no step is possible: lateness is bounded then.
            pauses: Whether the queue may be paused.
            overdue: Whether jobs may be overdue by more than 100 ms; if not, the clause for them never pushes.
            rules: What the scripts and the workers obey.
        """
        self.workers, self.jobs = workers, jobs
        self.cap, self.lease, self.crashes, self.pauses = cap, lease, crashes, pauses
        self._oldest = -1 if overdue else 0
        self.rules = rules
        conduct = Conduct(slots, rules)
        self._starts = conduct.starts()
        self._is_free = cache(conduct.is_free)
        self._deliveries = cache(conduct.deliveries)
        self._accidents = cache(conduct.events)
        self._answered = cache(conduct.answered)
        self._aged = cache(conduct.aged)
        self._users = cache(self._job_events)

    def initial(self) -> State:
        """An empty queue, and workers that are just starting."""
        return State((), False, False, False, (), (self._starts,) * self.workers, self.crashes, 0)

    # What must hold.

    def fault(self, s: State, *, resting: bool) -> str:
        """What is wrong with the state, "" if nothing is; *resting* if no step is possible in it."""
        if self.crashes:
            return "a due job waited longer than CAP beside a free slot" if s.late > self.cap else ""
        if self.unguarded(s):
            return "the invariant is broken"
        return "it rests, with a due job and a free slot" if resting and self.neglected(s) else ""

    def unguarded(self, s: State) -> bool:
        """Whether the invariant is broken.

        If the head is before now + CAP and some worker has a free slot, then a token exists (in the list, on its way to
        a worker, in its hand, or about to be pushed by a nudge), or such a worker is about to claim, or holds a timer
        no later than the head. A worker told to stop with a claim in flight is going to nudge.
        """
        if s.token or s.nudge or s.paused or self.head(s) >= self.cap:
            return False
        head = max(self.head(s), 0)
        free = False
        for worker in s.blocked + s.others:
            if worker.popped or worker.hand or worker.leaving:
                return False
            if self._is_free(worker):
                if worker.phase == CLAIMING or worker.timer <= head:
                    return False
                free = True
        return free

    def neglected(self, s: State) -> bool:
        """Whether a job is due while a worker has a free slot for it."""
        due = self.head(s) <= 0 and not s.paused
        return due and any(map(self._is_free, s.blocked + s.others))

    def head(self, s: State) -> int:
        """The earliest time in any set, NEVER if there is none."""
        head = s.dues[0] if s.dues else NEVER
        return min(head, self.lease) if self.lease < head and any(map(held, s.blocked + s.others)) else head

    # What the server and the workers do by themselves: it needs neither time nor anybody's will.

    def steps(self, s: State) -> Iterator[Step]:
        """Every script that can run now, and every reply that can arrive."""
        return map(self._timed, self._steps(s)) if s.late else self._steps(s)

    def _steps(self, s: State) -> Iterator[Step]:
        if s.nudge:
            yield ("a nudge runs", None, self._nudge(s._replace(nudge=False)))
        for at, worker in each(s):
            if worker.phase == CLAIMING:
                yield ("its claim runs", worker, self._claim(s, at, worker))
            for change in self._deliveries(worker):
                yield (change.label, worker, applied(s, at, change))

    def _nudge(self, s: State) -> State:
        return pushed(s) if self.head(s) < self.cap else s

    def _touches(self, at: int, head: int) -> bool:
        """Whether a script that made something runnable at *at* pushes, when the head was *head*."""
        return at < self.cap and (at < head or (head < 0 and not self.rules.push_when_the_head_moved))

    def _claim(self, s: State, at: int, worker: Worker) -> State:
        if s.paused:
            return put(s, at, self._answered(worker, 0, min(self.cap, self.lease // 2)))
        jobs = min(worker.jobs, sum(due <= 0 for due in s.dues))
        left = State(s.dues[jobs:], *s[1:])
        head = min(self.head(left), self.lease if jobs else NEVER)
        claimed = put(left, at, self._answered(worker, jobs, min(max(head, 0), self.cap, self.lease // 2)))
        filled = jobs == worker.jobs and not self.rules.push_when_the_head_moved
        return pushed(claimed) if filled and head < self.cap else claimed

    # What users, operators, time and accidents do.

    def events(self, s: State, *, resting: bool) -> Iterator[Step]:
        """Everything that may come from outside; *resting* if no step is possible."""
        events = self._events(s, time=resting or not self.crashes)
        return map(self._timed, events) if s.late else events

    def _timed(self, step: Step) -> Step:
        """Measure lateness afresh once nothing is neglected."""
        label, worker, s = step
        return step if self.neglected(s) else (label, worker, s._replace(late=0))

    def _events(self, s: State, *, time: bool) -> Iterator[Step]:
        room = len(s.dues) + sum(map(held, s.blocked + s.others)) < self.jobs
        for label, dues, touched in self._users(s.dues, self.head(s), room):
            changed = State(dues, s.token, s.nudge, s.paused, s.blocked, s.others, s.crashes, s.late)
            yield (label, None, pushed(changed) if touched else changed)
        if s.paused:
            yield ("the queue is resumed", None, self._nudge(s._replace(paused=False)))
        elif self.pauses:
            yield ("the queue is paused", None, s._replace(paused=True))
        for at, worker in each(s):
            if worker == GHOST:
                yield ("a dead BLPOP ends", None, s._replace(blocked=s.blocked[:at] + s.blocked[at + 1 :]))
                continue
            for change in self._accidents(worker, blocked=at < len(s.blocked)):
                yield (change.label, worker, applied(s, at, change))
            if s.crashes and worker.phase != GONE:
                yield from self._crash(s, at, worker)
        if time:
            yield ("time passes", None, self._tick(s))

    def _job_events(self, dues: tuple[int, ...], head: int, room: bool) -> list[tuple[str, tuple[int, ...], bool]]:
        """What users may do to jobs nobody runs: name, the due times then, and whether a token is pushed.

        A retry and a release are not here: the end of a job and an enqueue, one after the other, come to the same. So
        do a cancel and an enqueue to a reschedule, unless its script looks at the head before it takes the job out.
        """
        changes = [
            (f"a job for {due} is enqueued", in_order(*dues, due), self._touches(due, head))
            for due in range(self._oldest, self.cap + 1)
            if room
        ]
        for old in set(dues):
            first = dues.index(old)
            without = dues[:first] + dues[first + 1 :]
            changes.append((f"the job for {old} is cancelled", without, False))
            if first == 0 and without[:1] != dues[:1]:
                for due in range(self.cap + 1):
                    label = f"the job for {old} is rescheduled for {due}"
                    changes.append((label, in_order(*without, due), self._touches(due, head)))
        return changes

    def _crash(self, s: State, at: int, worker: Worker) -> Iterator[Step]:
        leases = (min(self.lease, self.cap),) * held(worker)
        dead = s._replace(dues=in_order(*s.dues, *leases), crashes=s.crashes - 1)
        yield ("dies", worker, applied(dead, at, Change("", LEFT, CLOSED)))
        if at < len(s.blocked):
            yield ("dies, unseen by the server", worker, applied(dead, at, Change("", LEFT, ORPHANED)))

    def _tick(self, s: State) -> State:
        dues = tuple(max(due - 1, self._oldest) for due in s.dues)
        late = s.late + 1 if self.crashes and self.neglected(s) else 0
        others = in_order(*map(self._aged, s.others))
        return State(dues, s.token, s.nudge, s.paused, tuple(map(self._aged, s.blocked)), others, s.crashes, late)
