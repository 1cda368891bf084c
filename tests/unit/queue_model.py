"""A queue in plain Python: what the scripts must answer and leave behind, written from the rules and not from the Lua.

A token fences every write of a worker, and holds past its deadline until another claim; `deliveries` counts claims
since the last finished attempt. Of jobs with one id in one call, each counts as if it had come in a call of its own.
"""

from collections.abc import Iterable, Sequence

from tests.unit.queue_claim import Claiming
from tests.unit.queue_state import QueueState, in_order
from tests.unit.queue_words import (
    CAP,
    NEVER,
    SEEN,
    Answer,
    Claim,
    Claimed,
    Failures,
    Fire,
    Item,
    Limit,
    New,
    Seen,
    State,
)


class QueueModel(QueueState):
    """One queue, and what each script does to it."""

    def enqueue(self, producer: str, nonce: str, jobs: Sequence[New]) -> list[int | Seen | None]:
        """Schedule jobs: the due time of each, or the job that holds its id. The same nonce again only answers."""
        if producer not in self.calls or self.calls[producer][0] != nonce:
            new: dict[str, tuple[New, int]] = {}
            dues = [self._admit(job, new) for job in jobs]
            replaced = [id for id in new if id in self.envelopes]
            self.forget(replaced)
            self.let_go(replaced)
            before = self.head()
            for id, (job, due) in new.items():
                self.envelopes[id] = job.envelope
                self.lane(id)[id] = due
            self.touch(min((due for due in dues if due is not None), default=NEVER), before)
            self.calls[producer] = (nonce, dues)
        return [
            self.get(job.id) if due is None else due for job, due in zip(jobs, self.calls[producer][1], strict=True)
        ]

    def _admit(self, job: New, new: dict[str, tuple[New, int]]) -> int | None:
        """Take a new job in: its due time, or None where its id is taken."""
        taken = job.id in new or job.id in self.envelopes
        if job.id in self.leased or (taken and not job.replace):
            return None
        due = self.now + int(job.when or 0) if job.when[:1] in ("", "+") else int(job.when)
        new.pop(job.id, None)
        new[job.id] = (job, due)
        return due

    def claim(
        self, limit: int, lease: int, token: str, max_deliveries: int, *, solo_ok: bool, worker: str = ""
    ) -> Claimed:
        """Lease what is due, and name the schedules that are."""
        if self.paused:
            return Claimed(self.now, CAP, False, [], [])
        self.workers = {each: at for each, at in self.workers.items() if at > self.now - SEEN}
        if worker:
            self.workers[worker] = self.now
            self.trim()
        fires = [Fire(name, self.fires[name], self.specs[name]) for name in in_order(self.fires, self.now)[:10]]
        claiming = Claiming(self, limit, token, max_deliveries, solo_ok)
        claiming.look_through(self.leased)
        again = len(claiming.taken)
        claiming.limit = min(limit, again + self.allowance("")[0])
        claiming.open_gates()
        for lane in self.lanes:
            claiming.look_through(lane)
        taken = claiming.taken
        self.leased |= {job.id: self.now + lease for job in taken}
        self.spend("", len(taken) - again)
        head = self.head()
        if claiming.limit < limit and not claiming.room:
            head = min([self.allowance("")[1], *self.leased.values(), *self.fires.values()])
        elif len(taken) == limit and head < self.now + CAP:
            self.token = True
        more = head <= self.now and len(taken) < limit
        return Claimed(self.now, max(0, min(head - self.now, CAP)), more, fires, taken)

    def settle(self, items: Iterable[Item]) -> list[Answer]:
        """End runs. Each item is fenced by its token; an id counts once a call."""
        answers: list[Answer] = []
        ended: dict[str, tuple[Item, Claim]] = {}
        for item in items:
            answer = "gone" if item.id in ended else self.fence(item.id, item.token)
            answers.append(answer)
            if answer == "ok":
                ended[item.id] = (item, self.claims[item.id])
        for id in ended:
            del self.leased[id], self.claims[id]
            self.progressed.pop(id, None)
        self.let_go(list(ended))
        before = self.head()
        kept = [self._end(item, claim, before) for item, claim in ended.values()]
        if any(kept):
            self.trim()
        return answers

    def _end(self, item: Item, claim: Claim, before: int) -> bool:
        """What becomes of a job that ran; whether it is kept."""
        id, failed = item.id, Failures(self.failed(item.id).attempts + 1, item.text)
        if item.verb == "ack" and not item.time:
            self.forget([id])
            return False
        if item.verb == "ack":
            self.done[id], self.results[id], self.claims[id] = self.now, item.text, Claim("", 0, self.now + item.time)
            return True
        if item.verb == "bury":
            self.die(id, failed)
            return True
        if item.verb == "retry":
            self.failures[id] = failed
        if item.verb == "release" and claim.deliveries > 1:
            self.claims[id] = Claim("", claim.deliveries - 1, claim.due)
        due = claim.due if item.verb == "release" and not item.time else self.now + item.time
        self.lane(id)[id] = due
        self.touch(due, before)
        return False

    def extend(self, leases: Iterable[tuple[str, str]], lease: int) -> list[Answer]:
        """Renew leases, given as (id, token)."""
        answers = [(id, self.fence(id, token)) for id, token in leases]
        self.leased |= {id: self.now + lease for id, answer in answers if answer == "ok"}
        return [answer for _, answer in answers]

    def progress(self, id: str, token: str, value: str) -> Answer:
        """Keep what a running job says of itself."""
        answer = self.fence(id, token)
        if answer == "ok":
            self.progressed[id] = value
        return answer

    def cancel(self, ids: Iterable[str]) -> list[bool]:
        """Take jobs away; whether each was scheduled or leased."""
        ids = list(ids)
        there = {id for id in ids if id in self.envelopes and id not in self.done and id not in self.dead}
        answers = [id in there and id not in ids[:at] for at, id in enumerate(ids)]
        self.forget(there)
        self.let_go(there)
        return answers

    def reschedule(self, when: str, ids: Iterable[str]) -> list[bool]:
        """Give waiting jobs another due time; whether each was waiting."""
        due = self.now + int(when or 0) if when[:1] in ("", "+") else int(when)
        before = self.head()
        answers = []
        for id in ids:
            waits = id in self.parked or any(id in lane for lane in self.lanes)
            answers.append(waits)
            if waits:
                if id in self.claims:
                    self.claims[id] = self.claims[id]._replace(due=max(0, due))
                self.lane(id)[id] = due
                if id in self.parked:
                    self.let_go([id])
                self.touch(due, before)
        return answers

    def requeue(self, ids: Iterable[str]) -> list[bool]:
        """Let dead jobs run again; whether each was dead."""
        before = self.head()
        answers = []
        for id in ids:
            answers.append(self.dead.pop(id, None) is not None)
            if answers[-1]:
                self.failures.pop(id, None)
                self.lane(id)[id] = self.now
                self.touch(self.now, before)
        return answers

    def purge(self, state: State, age: int | None, limit: int) -> int:
        """Delete jobs of a state, oldest first; how many. By age the parked are left alone."""
        places = {"scheduled": self.lanes, "done": (self.done,), "dead": (self.dead,)}[state]
        until = NEVER if age is None else self.now - age
        ids = [id for place in places for id in in_order(place, until)][:limit]
        parked: list[str] = []
        if state == "scheduled" and age is None:
            parked = [member.id for member in sorted(self.parked.values())][: limit - len(ids)]
        self.forget([*ids, *parked])
        self.let_go(parked)
        return len(ids) + len(parked)

    def pause(self, *, paused: bool) -> None:
        """Let nothing be claimed, or again."""
        self.paused = paused
        if not paused:
            self.nudge()

    def limit(self, group: str, limit: Limit | None) -> None:
        """Set the limit of a group ("" for the queue), or lift it."""
        before = self.head()
        self.limits.pop(group, None)
        if limit is not None:
            self.limits[group] = limit
        limit = self.limit_of(group)
        if limit.interval is None:
            self.arrivals.pop(group, None)
        elif group in self.arrivals:
            self.arrivals[group] = min(self.arrivals[group], self.now + limit.burst * limit.interval)
        if group == "":
            self.nudge()
        elif self.queueing(group):
            self.gates[group] = self.now
            self.touch(self.now, before)

    def recur(self, name: str, times: str, what: str, slot: int, *, forward: bool) -> int:
        """Make or change a schedule; its next slot, which stays while its times do."""
        before = self.head()
        if name in self.specs and self.specs[name].startswith(f"{times}\n"):
            slot = max(slot, self.fires[name]) if forward else self.fires[name]
        self.specs[name], self.fires[name] = f"{times}\n{what}", slot
        self.touch(slot, before)
        return slot

    def fire(self, name: str, slot: int, next_slot: int, jobs: Sequence[tuple[str, str, int]]) -> int:
        """Move a schedule on from a slot, if it is there, and enqueue jobs, given as (id, envelope, due)."""
        if self.fires.get(name) != slot:
            return 0
        before = self.head()
        self.fires[name] = next_slot
        made = [next_slot]
        for id, envelope, due in jobs:
            if id not in self.envelopes:
                self.envelopes[id] = envelope
                self.lane(id)[id] = due
                made.append(due)
        self.touch(min(made), before)
        return 1

    def unrecur(self, name: str) -> int:
        """End a schedule."""
        self.fires.pop(name, None)
        return int(self.specs.pop(name, None) is not None)

    def tell(self, leaver: str = "") -> int:
        """Push the token if something wants a worker within CAP; how many there are."""
        self.workers.pop(leaver, None)
        self.nudge()
        return int(self.token)

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of *ids* that have no job."""
        return [id for id in ids if id not in self.envelopes]

    def get(self, id: str) -> Seen | None:
        """One job, in any state."""
        if id not in self.envelopes:
            return None
        claim = self.claims.get(id, Claim("", 0, 0))
        states = {"leased": self.leased, "scheduled": self.lane(id), "done": self.done, "dead": self.dead}
        state, score = next(
            ((state, place[id]) for state, place in states.items() if id in place), ("scheduled", self.parked_due(id))
        )
        due = {"leased": claim.due, "scheduled": score}.get(state)
        return Seen(
            id,
            state,
            max(0, score),
            None if due is None else max(0, due),
            self.envelopes[id],
            claim.deliveries,
            self.failed(id),
            id in self.parked,
            self.progressed.get(id),
            self.results.get(id),
        )

    def parked_due(self, id: str) -> int:
        """When a parked job was due; 0 if it is not parked."""
        return self.parked[id].due if id in self.parked else 0

    def jobs(self, state: State) -> list[Seen]:
        """All jobs of a state, in order."""
        places = {"scheduled": self.lanes, "leased": (self.leased,), "done": (self.done,), "dead": (self.dead,)}[state]
        ids = [id for place in places for id in in_order(place, NEVER)]
        if state == "scheduled":
            ids += [member.id for member in sorted(self.parked.values())]
        return [job for job in map(self.get, ids) if job is not None]

    def stats(self) -> tuple[int, int, int, int, int, int, bool, int]:
        """How many are scheduled, due, parked, leased, done, dead; whether it is paused; how many work."""
        dues = [due for lane in self.lanes for due in lane.values()] + [self.now] * len(self.parked)
        workers = sum(at >= self.now - SEEN for at in self.workers.values())
        counts = len(self.parked), len(self.leased), len(self.done), len(self.dead)
        return len(dues), sum(due <= self.now for due in dues), *counts, self.paused, workers
