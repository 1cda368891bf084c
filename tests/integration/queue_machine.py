"""Every script, called in any order: each call is made on a server and on the queue in plain Python, and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.conftest import unique_name
from tests.integration.queue_reading import read_claimed, read_seen, read_state
from tests.queue_state import faults
from tests.unit.queue_model import QueueModel
from tests.unit.queue_words import NEVER, Claim, Item, Limit, New
from zqueue.commands import Call, Commands, Kept, Settlement, Verb
from zqueue.connect import Address, Link
from zqueue.job import JobInfo, JobState
from zqueue.keys import Keys
from zqueue.sending import ask

R = TypeVar("R")
Run = tuple[int | str, str | None]
"""The n-th of the claimed jobs, or any id; under the token that holds it (None), or another."""
Fresh = tuple[str, int, str | None, str | int, bool]
"""A job to enqueue: id, lane, group, when, whether it replaces."""

S = 1_000_000
START = 1_900_000_000 * S
KEEP = Kept(keep_us=12 * S, most=1)
NAMES = "abcdefgh"
PRODUCERS = ("p.0", "p.1")

IDS = st.sampled_from(NAMES)
TOKENS = st.sampled_from(["0a", "0b", "0c"])
SPANS = st.sampled_from([0, 1, 60_000, 100_001, S, 5 * S - 1, 5 * S, 12 * S])
LEASES = st.sampled_from([S, 2 * S, 10 * S])
WHEN = st.just("") | SPANS.map("+{}".format) | SPANS | SPANS.map(lambda us: -us)  # now, a delay, a time
NEW = st.tuples(IDS, st.sampled_from([0, 1, 2]), st.sampled_from(["g", "g", "ga", None]), WHEN, st.booleans())
ENDS = st.tuples(
    st.sampled_from(["ack", "bury", "retry", "snooze", "release", "release"]),
    SPANS,
    st.sampled_from(["", "451 later", "a: b\nü"]),
)
HELD = st.tuples(st.integers(0, 3), st.none())
RUNS = st.tuples(st.integers(0, 3) | IDS, st.none() | TOKENS)
LIMITS = st.builds(Limit, st.sampled_from([None, 60_000, S, 7 * S]), st.integers(1, 2), st.sampled_from([None, 1, 2]))


class QueueMachine(RuleBasedStateMachine):
    """Makes each call on the server and on the model, and compares. Subclasses say on which server."""

    url: str
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.model = QueueModel(START, KEEP.keep_us, KEEP.most)
        self.keys = Keys(unique_name())
        self.commands = Commands(self.keys, clock=self)
        self.link = Link(Address(self.url), key=self.keys.wake)
        self.sent: list[tuple[str, str, list[New]]] = []

    def now_us(self) -> int:
        """The clock that the scripts are given."""
        return self.model.now

    def run(self, call: Call[R]) -> R:
        """What the server answers."""
        return self.wait(ask(self.link, call))

    def wait(self, work: Coroutine[Any, Any, R]) -> R:
        """What *work* comes to."""
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        """Hold the queue to what is always true of it, and take it away."""
        try:
            assert self.wait(faults(self.link, self.keys)) == []
            calls = [self.keys.call(producer) for producer in PRODUCERS]
            self.wait(self.link.send(("DEL", *self.keys.all, *calls)))
        finally:
            self.wait(self.link.close())

    # Time and producers

    @rule(us=SPANS | st.sampled_from([-1, -S, 61 * S]))
    def time_passes(self, us: int) -> None:
        """The clock goes on, or is corrected."""
        self.model.now += us

    @initialize(jobs=st.lists(NEW, min_size=4, max_size=8), limit=LIMITS)
    def fill(self, jobs: list[Fresh], limit: Limit) -> None:
        """There are jobs, and perhaps a limit."""
        self.limit("g", limit)
        self.enqueue(PRODUCERS[0], jobs)

    @rule(producer=st.sampled_from(PRODUCERS), jobs=st.lists(NEW, min_size=1, max_size=4))
    def enqueue(self, producer: str, jobs: list[Fresh]) -> None:
        """Some of the ids may be taken, also by an earlier job of the same call."""
        count = sum(len(sent) for _, _, sent in self.sent)
        new = [
            New(id, _envelope(lane, group, count + n), when if isinstance(when, str) else f"{START + when}", replace)
            for n, (id, lane, group, when, replace) in enumerate(jobs)
        ]
        self.sent.append((producer, f"{len(self.sent):016x}", new))
        self.enqueue_again()

    @precondition(lambda self: self.sent)
    @rule()
    def enqueue_again(self) -> None:
        """The reply was lost, and the producer sends the very same call once more."""
        producer, nonce, jobs = self.sent[-1]
        encoded = [
            (job.id.encode(), job.envelope.encode(), job.when.encode(), b"1" if job.replace else b"") for job in jobs
        ]
        now, answers = self.run(self.commands.enqueue(producer, nonce, encoded))
        seen = [read_seen(answer) if isinstance(answer, JobInfo) else answer for answer in answers]
        expected = [
            each if each is None or isinstance(each, int) else each._replace(progress=None, result=None)
            for each in self.model.enqueue(producer, nonce, jobs)
        ]
        assert (now, seen) == (self.model.now, expected)

    @rule(name=st.sampled_from("nm"), times=st.sampled_from(["[1]", "[1,2]"]), slot=SPANS, forward=st.booleans())
    def recur(self, name: str, times: str, slot: int, forward: bool) -> None:
        """A schedule is made or changed."""
        slot += self.model.now
        what = _envelope(slot % 3, "g", slot)
        answer = self.run(self.commands.recur(name, times.encode(), what.encode(), slot, forward=forward))
        assert answer == self.model.recur(name, times, what, slot, forward=forward)

    @precondition(lambda self: self.model.fires)
    @rule(name=st.sampled_from("nm"), off=st.sampled_from([0, 0, 0, 1]), step=SPANS, ids=st.lists(IDS, max_size=2))
    def fire(self, name: str, off: int, step: int, ids: list[str]) -> None:
        """A worker moves a schedule on, or is late with it."""
        slot = self.model.fires.get(name, START) + off
        jobs = [(id, _envelope(1, "g", slot), slot) for id in ids]
        encoded = [(id.encode(), envelope.encode(), due) for id, envelope, due in jobs]
        answer = self.run(self.commands.fire(name.encode(), b"%d" % slot, slot + step, encoded))
        assert answer == self.model.fire(name, slot, slot + step, jobs)

    # Workers

    @rule(
        limit=st.integers(1, 4),
        lease=LEASES,
        token=TOKENS,
        most=st.sampled_from([1, 2, 3, 3]),
        solo_ok=st.booleans(),
        worker=st.sampled_from(["", "w1", "w2"]),
    )
    def claim(self, limit: int, lease: int, token: str, most: int, solo_ok: bool, worker: str) -> None:
        """A worker looks for jobs."""
        call = self.commands.claim(limit, lease, token, most, solo_ok=solo_ok, worker=worker, kept=KEEP)
        expected = self.model.claim(limit, lease, token, most, solo_ok=solo_ok, worker=worker)
        assert read_claimed(self.run(call)) == expected

    @precondition(lambda self: self.model.head() < NEVER)
    @rule(token=TOKENS, solo_ok=st.booleans(), late=st.sampled_from([0, 0, 1, S]))
    def claim_when_due(self, token: str, solo_ok: bool, late: int) -> None:
        """A worker sleeps until the first job is due, or the first lease lapses, and claims what there is."""
        self.model.now = max(self.model.now, self.model.head()) + late
        self.claim(4, S, token, 3, solo_ok, "")

    @precondition(lambda self: self.model.envelopes)
    @rule(span=SPANS, end=ENDS)
    def work(self, span: int, end: tuple[Verb, int, str]) -> None:
        """A worker with two slots claims after a while, and the first of its runs ends."""
        self.model.now += span
        self.claim(2, 10 * S, "0d", 5, True, "w3")
        self.the_server_holds_what_the_model_says()
        if self.model.leased:
            self.settle([((0, None), end)])
            self.claim(2, 10 * S, "0e", 5, True, "")

    @precondition(lambda self: self.model.leased)
    @rule(runs=st.lists(st.tuples(HELD, ENDS), min_size=1, max_size=3))
    def settle(self, runs: list[tuple[Run, tuple[Verb, int, str]]]) -> None:
        """Workers end their runs."""
        items = [
            Item(*self._run(*run), verb, time, f"[{time}]" if verb == "ack" else text)
            for run, (verb, time, text) in runs
        ]
        settlements = [Settlement(item.id.encode(), item.token, item.verb, item.time, item.text) for item in items]
        answer = self.run(self.commands.settle(settlements, KEEP))
        assert answer == (self.model.now, self.model.settle(items))

    @precondition(lambda self: self.model.claims)
    @rule(runs=st.lists(st.tuples(RUNS, ENDS), min_size=1, max_size=3))
    def settle_late(self, runs: list[tuple[Run, tuple[Verb, int, str]]]) -> None:
        """So do workers that lost theirs."""
        self.settle(runs)

    @precondition(lambda self: self.model.claims)
    @rule(runs=st.lists(RUNS, min_size=1, max_size=3), lease=LEASES)
    def extend(self, runs: list[Run], lease: int) -> None:
        """Leases are renewed, in time or late, and a handler says how far it is."""
        pairs = [self._run(*run) for run in runs]
        answer = self.run(self.commands.extend([(id.encode(), token) for id, token in pairs], lease))
        assert answer == self.model.extend(pairs, lease)
        id, token = pairs[0]
        said = self.run(self.commands.progress((id.encode(), token), b"%d" % lease))
        assert said == self.model.progress(id, token, f"{lease}")

    # Operators

    @precondition(lambda self: len(self.model.envelopes) > 3)
    @rule(ids=st.lists(IDS, min_size=1, max_size=2))
    def cancel(self, ids: list[str]) -> None:
        """Jobs are cancelled, waiting or running; those that ended stay."""
        assert self.run(self.commands.cancel(ids)) == self.model.cancel(ids)

    @precondition(lambda self: self.model.envelopes)
    @rule(when=WHEN, ids=st.lists(IDS, min_size=1, max_size=3))
    def reschedule(self, when: str | int, ids: list[str]) -> None:
        """Waiting jobs, parked ones too, get another time."""
        when = when if isinstance(when, str) else f"{START + when}"
        assert self.run(self.commands.reschedule(when.encode(), ids)) == self.model.reschedule(when, ids)

    @precondition(lambda self: self.model.dead)
    @rule(ids=st.lists(IDS, min_size=1, max_size=3))
    def requeue(self, ids: list[str]) -> None:
        """The dead are given another life."""
        ids = [*ids, *self.model.dead]
        assert self.run(self.commands.requeue(ids)) == self.model.requeue(ids)

    @precondition(lambda self: len(self.model.envelopes) > 3)
    @rule(state=st.sampled_from(["scheduled", "done", "dead"]), age=st.none() | SPANS, limit=st.integers(1, 2))
    def purge(self, state: Any, age: int | None, limit: int) -> None:
        """A few of the jobs in one state are deleted."""
        assert self.run(self.commands.purge(state, age, limit)) == self.model.purge(state, age, limit)

    @rule(group=st.sampled_from(["g", "g", "ga", "", "*"]), limit=LIMITS)
    def limit(self, group: str, limit: Limit) -> None:
        """A limit is set, changed or lifted, whatever waits for it."""
        lifted = limit.interval is None and limit.most is None
        self.run(self.commands.limit(group, "" if lifted else str(limit)))
        self.model.limit(group, None if lifted else limit)

    @rule(paused=st.sampled_from([True, False, False]), name=st.sampled_from("nmxx"))
    def pause(self, paused: bool, name: str) -> None:
        """The queue is paused, or goes on; perhaps a schedule ends."""
        paused = paused and not self.model.paused
        self.run(self.commands.pause(paused=paused))
        self.model.pause(paused=paused)
        assert self.run(self.commands.unrecur(name)) == self.model.unrecur(name)

    # Onlookers

    @precondition(lambda self: self.model.envelopes)
    @rule(id=IDS, state=st.sampled_from(JobState), leaver=st.sampled_from(["", "w1"]))
    def look(self, id: str, state: JobState, leaver: str) -> None:
        """Somebody inspects the queue; and a full or leaving worker hands its token on."""
        assert self.run(self.commands.missing(NAMES)) == self.model.missing(NAMES)
        job = self.run(self.commands.get(id))
        assert (job and read_seen(job)) == self.model.get(id)
        jobs = self.run(self.commands.jobs(state, 100, None))
        assert [read_seen(each) for each in jobs] == self.model.jobs(state.value)
        _now, stats = self.run(self.commands.stats())
        counts = (stats.scheduled, stats.due, stats.parked, stats.leased, stats.done, stats.dead)
        assert (*counts, stats.paused, stats.workers) == self.model.stats()
        assert self.run(self.commands.nudge(leaver)) == self.model.tell(leaver)

    @invariant()
    def the_server_holds_what_the_model_says(self) -> None:
        """All sets, hashes and tokens; these are then taken away, so that the next call shows whether it pushes one."""
        assert self.wait(read_state(self.link, self.keys)) == self.model.held()
        self.model.token = False

    def _run(self, job: int | str, token: str | None) -> tuple[str, str]:
        """The id and the token that a `Run` means."""
        claimed = sorted(self.model.leased) or NAMES
        id = claimed[job % len(claimed)] if isinstance(job, int) else job
        return id, token or self.model.claims.get(id, Claim("", 0, 0)).token or "0f"


def _envelope(lane: int, group: str | None, payload: int) -> str:
    named = "" if group is None else f'"group":"{group}",'
    return f'{lane}{{{named}"payload":{payload}}}'
