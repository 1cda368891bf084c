"""The real scripts against a queue in plain Python: whatever the calls, the same answers and the same state.

The calls are the same in each run; `--hypothesis-seed=N` makes others.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.conftest import unique_name
from tests.queue_state import command, faults, read_keys
from tests.unit.queue_model import Claim, Claimed, Delivery, Failures, Item, New, QueueModel, Seen
from zqueue.commands import Call, Commands, Dead, Settlement
from zqueue.connect import Address, Link
from zqueue.embedded import Server
from zqueue.job import Job, JobState
from zqueue.keys import Keys
from zqueue.replies import read_failures
from zqueue.sending import ask

R = TypeVar("R")

S = 1_000_000
START = 1_900_000_000 * S
KEEP = Dead(keep_us=20 * S, most=3)

IDS = st.sampled_from("abcdef")
TOKENS = st.sampled_from(["0a", "0b", "0c"])
SPANS = st.sampled_from([0, 1, 60_000, 100_001, S, 5 * S - 1, 5 * S, 12 * S])
LEASES = st.sampled_from([2 * S, 10 * S])
WHEN = st.just("") | SPANS.map("+{}".format) | SPANS | SPANS.map(lambda us: -us)  # now, a delay, a time
NEW = st.tuples(IDS, st.sampled_from([0, 1, 2]), WHEN)
HELD = st.tuples(IDS, TOKENS | st.none())  # None: the token that holds it
ENDS = st.tuples(
    HELD,
    st.sampled_from(["ack", "retry", "snooze", "bury", "release"]),
    SPANS,
    st.sampled_from(["", "451 later", "a: b\nü"]),
)


class QueueMachine(RuleBasedStateMachine):
    """Makes each call on the server and on the model, and compares. Subclasses say on which server."""

    url: str
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.model = QueueModel(START, KEEP.keep_us, KEEP.most)
        self.keys = Keys(unique_name())
        self.commands = Commands(self.keys, clock=self)
        self.link = Link(Address(self.url))
        self.sent: list[tuple[str, str, list[New]]] = []

    def now_us(self) -> int:
        """The clock that the scripts are given."""
        return self.model.now

    def run(self, call: Call[R]) -> R:
        """What the server answers."""
        return self.runner.run(ask(self.link, call))

    def teardown(self) -> None:
        """Hold the queue to its invariants, and take it away."""
        try:
            assert self.runner.run(faults(self.link, self.keys)) == []
            for key in self.runner.run(command(self.link, "KEYS", f"{self.keys.prefix}*")):
                self.runner.run(command(self.link, "DEL", key))
        finally:
            self.runner.run(self.link.close())

    @rule(us=SPANS.filter(bool))
    def time_passes(self, us: int) -> None:
        """The clock goes forward."""
        self.model.now += us

    @rule(us=st.sampled_from([1, S]))
    def clock_steps_back(self, us: int) -> None:
        """The server's clock is corrected."""
        self.model.now -= us

    @rule(producer=st.sampled_from(["p.0", "p.1"]), jobs=st.lists(NEW, min_size=1, max_size=3))
    def enqueue(self, producer: str, jobs: list[tuple[str, int, str | int]]) -> None:
        """Some of the ids may be taken, also by an earlier job of the same call."""
        count = sum(len(sent) for _, _, sent in self.sent)
        new = [
            New(id, f'{lane}{{"payload":{count + n}}}', when if isinstance(when, str) else str(self.model.now + when))
            for n, (id, lane, when) in enumerate(jobs)
        ]
        self.sent.append((producer, f"{len(self.sent):016x}", new))
        self.enqueue_again()

    @precondition(lambda self: self.sent)
    @rule()
    def enqueue_again(self) -> None:
        """The reply was lost, and the producer sends the very same call once more."""
        producer, nonce, jobs = self.sent[-1]
        encoded = [(job.id.encode(), job.envelope.encode(), job.when.encode()) for job in jobs]
        now, answers = self.run(self.commands.enqueue(producer, nonce, encoded))
        seen = [_seen(answer) if isinstance(answer, Job) else answer for answer in answers]
        assert (now, seen) == (self.model.now, self.model.enqueue(producer, nonce, jobs))

    @rule(
        limit=st.integers(1, 4),
        lease=LEASES,
        token=TOKENS,
        most=st.sampled_from([1, 2, 3]),
        solo_ok=st.booleans(),
        worker=st.sampled_from(["", "w1", "w2"]),
    )
    def claim(self, limit: int, lease: int, token: str, most: int, solo_ok: bool, worker: str) -> None:
        """A worker looks for jobs."""
        claimed = self.run(self.commands.claim(limit, lease, token, most, solo_ok=solo_ok, worker=worker, dead=KEEP))
        jobs = [
            Delivery(job.id.decode(), job.envelope.decode(), job.deliveries, job.due_us, _failures(job.failed))
            for job in claimed.deliveries
        ]
        answer = Claimed(claimed.now_us, round(claimed.next_s * S), claimed.more, jobs)
        assert answer == self.model.claim(limit, lease, token, most, solo_ok=solo_ok, worker=worker)

    @precondition(lambda self: self.model.envelopes)
    @rule(ends=st.lists(ENDS, min_size=1, max_size=3))
    def settle(self, ends: list[tuple[tuple[str, str | None], Any, int, str]]) -> None:
        """Runs end, of workers that still hold their jobs and of those that lost them."""
        items = [Item(*self._held(*held), verb, delay, error) for held, verb, delay, error in ends]
        settlements = [Settlement(item.id.encode(), *item[1:]) for item in items]  # type: ignore[arg-type]
        answer = self.run(self.commands.settle(settlements, KEEP))
        assert answer == (self.model.now, self.model.settle(items))

    @precondition(lambda self: self.model.claims)
    @rule(leases=st.lists(HELD, min_size=1, max_size=3), lease=LEASES)
    def extend(self, leases: list[tuple[str, str | None]], lease: int) -> None:
        """Leases are renewed, in time or late."""
        pairs = [self._held(*held) for held in leases]
        answer = self.run(self.commands.extend([(id.encode(), token) for id, token in pairs], lease))
        assert answer == self.model.extend(pairs, lease)

    @rule(ids=st.lists(IDS, min_size=1, max_size=2))
    def cancel(self, ids: list[str]) -> None:
        """Jobs are cancelled, waiting or running; the dead stay."""
        assert self.run(self.commands.cancel(ids)) == self.model.cancel(ids)

    @rule()
    def nudge(self) -> None:
        """A full worker hands its token on."""
        assert self.run(self.commands.nudge()) == self.model.nudge()

    @rule()
    def token_is_taken(self) -> None:
        """A sleeper takes the token, if there is one."""
        taken = self.runner.run(command(self.link, "LPOP", self.keys.wake))
        assert taken == (b"1" if self.model.token else None)
        self.model.token = False

    @rule(id=IDS, state=st.sampled_from(JobState))
    def look(self, id: str, state: JobState) -> None:
        """Somebody inspects the queue."""
        assert self.run(self.commands.missing("abcdef")) == self.model.missing("abcdef")
        job = self.run(self.commands.get(id))
        assert (job and _seen(job)) == self.model.get(id)
        jobs = self.run(self.commands.jobs(state, 100, None))
        assert [_seen(each) for each in jobs] == self.model.jobs(state)
        _now, stats = self.run(self.commands.stats())
        counts = (stats.scheduled, stats.due, stats.leased, stats.dead, stats.workers)
        assert counts == self.model.stats()

    @invariant()
    def the_server_holds_what_the_model_says(self) -> None:
        """Every key, but for the remembered calls."""
        held = self.runner.run(read_keys(self.link, self.keys))
        assert {
            "due": tuple(held.get(f"due:{lane}", {}) for lane in range(3)),
            "leased": held.get("leased", {}),
            "dead": held.get("dead", {}),
            "jobs": {id: envelope.decode() for id, envelope in held.get("jobs", {}).items()},
            "claims": {id: _claim(entry) for id, entry in held.get("claims", {}).items()},
            "attempts": {id: _failures(entry) for id, entry in held.get("attempts", {}).items()},
            "wake": len(held.get("wake", [])),
            "workers": held.get("workers", {}),
        } == self.model.state()

    def _held(self, id: str, token: str | None) -> tuple[str, str]:
        """The id with the token given, or else with the one that holds it."""
        return id, token or self.model.claims.get(id, Claim("0f", 0, 0)).token or "0f"


def _claim(entry: bytes) -> Claim:
    token, deliveries, due = entry.decode().split(":")
    return Claim(token, int(deliveries), int(due))


def _failures(entry: bytes) -> Failures:
    return Failures(*read_failures(entry))


def _seen(job: Job) -> Seen:
    assert job.score_us is not None
    envelope = f'{int(job.priority)}{{"payload":{job.payload}}}'
    failures = Failures(job.attempts, job.error)
    return Seen(job.id, str(job.state), job.score_us, job.due_us, envelope, job.deliveries, failures)


def test_scripts_do_what_the_model_does(any_server: Server, pytestconfig: pytest.Config) -> None:
    """Enqueue, claim, settle, extend, cancel, expiry and inspection agree with the model in answers and state."""
    seeded = pytestconfig.getoption("--hypothesis-seed") is not None
    chosen = settings(
        max_examples=60,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=not seeded,
        suppress_health_check=[HealthCheck.too_slow],
    )
    with asyncio.Runner() as opened:

        class OnThisServer(QueueMachine):
            url = any_server.url
            runner = opened

        run_state_machine_as_test(OnThisServer, settings=chosen)
