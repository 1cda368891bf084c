"""The real scripts against a queue in plain Python: whatever the calls, the same answers and the same state.

The calls are the same in each run; `--hypothesis-seed=N` makes others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import unique_name
from tests.queue_state import faults
from tests.unit.queue_model import Claim, Claimed, Delivery, Failures, Item, New, QueueModel, Seen
from zqueue.commands import Call, Commands, Kept, Settlement, Verb
from zqueue.connect import Address, Link
from zqueue.embedded import Server
from zqueue.job import Job, JobState
from zqueue.keys import ORDER, Keys
from zqueue.replies import read_failures
from zqueue.sending import ask

R = TypeVar("R")
Run = tuple[int | str, str | None]
"""The n-th of the claimed jobs, or any id; under the token that holds it (None), or another."""

S = 1_000_000
START = 1_900_000_000 * S
KEEP = Kept(keep_us=12 * S, most=1)
NAMES = "abcdefgh"
PRODUCERS = ("p.0", "p.1")
LANES = ("due:0", "due:1", "due:2")

IDS = st.sampled_from(NAMES)
TOKENS = st.sampled_from(["0a", "0b", "0c"])
SPANS = st.sampled_from([0, 1, 60_000, 100_001, S, 5 * S - 1, 5 * S, 12 * S])
LEASES = st.sampled_from([S, 2 * S, 10 * S])
WHEN = st.just("") | SPANS.map("+{}".format) | SPANS | SPANS.map(lambda us: -us)  # now, a delay, a time
NEW = st.tuples(IDS, st.sampled_from([0, 1, 2]), WHEN)
ENDS = st.tuples(
    st.sampled_from(["ack", "bury", "retry", "snooze", "release", "release"]),
    SPANS,
    st.sampled_from(["", "451 later", "a: b\nü"]),
)
HELD = st.tuples(st.integers(0, 3), st.none())
RUNS = st.tuples(st.integers(0, 3) | IDS, st.none() | TOKENS)


class QueueMachine(RuleBasedStateMachine):
    """Makes each call on the server and on the model, and compares. Subclasses say on which server."""

    url: str
    loop: asyncio.AbstractEventLoop

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

    @rule(us=SPANS | st.sampled_from([-1, -S, 61 * S]))
    def time_passes(self, us: int) -> None:
        """The clock goes on, or is corrected."""
        self.model.now += us

    @initialize(jobs=st.lists(NEW, min_size=4, max_size=8))
    def fill(self, jobs: list[tuple[str, int, str | int]]) -> None:
        """There are jobs."""
        self.enqueue(PRODUCERS[0], jobs)

    @rule(producer=st.sampled_from(PRODUCERS), jobs=st.lists(NEW, min_size=1, max_size=4))
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
        most=st.sampled_from([1, 2, 3, 3]),
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

    @precondition(lambda self: self.model.head() is not None)
    @rule(token=TOKENS, solo_ok=st.booleans(), late=st.sampled_from([0, 0, 1, S]))
    def claim_when_due(self, token: str, solo_ok: bool, late: int) -> None:
        """A worker sleeps until the first job is due, or the first lease lapses, and claims what there is."""
        self.model.now = max(self.model.now, self.model.head() or 0) + late
        self.claim(4, S, token, 3, solo_ok, "")

    @precondition(lambda self: self.model.claims)
    @rule(runs=st.lists(st.tuples(HELD, ENDS), min_size=1, max_size=3))
    def settle(self, runs: list[tuple[Run, tuple[Verb, int, str]]]) -> None:
        """Workers end their runs."""
        items = [Item(*self._run(*run), verb, delay, error) for run, (verb, delay, error) in runs]
        settlements = [Settlement(item.id.encode(), item.token, item.verb, item.delay, item.error) for item in items]
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
        """Leases are renewed, in time or late."""
        pairs = [self._run(*run) for run in runs]
        answer = self.run(self.commands.extend([(id.encode(), token) for id, token in pairs], lease))
        assert answer == self.model.extend(pairs, lease)

    @precondition(lambda self: len(self.model.envelopes) > 3)
    @rule(ids=st.lists(IDS, min_size=1, max_size=2))
    def cancel(self, ids: list[str]) -> None:
        """Jobs are cancelled, waiting or running; the dead stay."""
        assert self.run(self.commands.cancel(ids)) == self.model.cancel(ids)

    @precondition(lambda self: self.model.envelopes)
    @rule(id=IDS, state=st.sampled_from(JobState))
    def look(self, id: str, state: JobState) -> None:
        """Somebody inspects the queue; and a full worker hands its token on."""
        assert self.run(self.commands.missing(NAMES)) == self.model.missing(NAMES)
        job = self.run(self.commands.get(id))
        assert (job and _seen(job)) == self.model.get(id)
        jobs = self.run(self.commands.jobs(state, 100, None))
        assert [_seen(each) for each in jobs] == self.model.jobs(state)
        _now, stats = self.run(self.commands.stats())
        counts = (stats.scheduled, stats.due, stats.leased, stats.dead, stats.workers)
        assert counts == self.model.stats()
        assert self.run(self.commands.nudge()) == self.model.nudge()

    @invariant()
    def the_server_holds_what_the_model_says(self) -> None:
        """All sets, hashes and tokens; these are then taken away, so that the next call shows whether it pushes one."""
        key = dict(zip(ORDER, self.keys.all, strict=True))
        zsets = [("ZRANGE", key[name], 0, -1, "WITHSCORES") for name in (*LANES, "leased", "dead", "workers")]
        hashes = [("HGETALL", key[name]) for name in ("jobs", "claims", "attempts")]
        replies = self.wait(self.link.send(*zsets, *hashes, ("LPOP", key["wake"], 9)))
        *lanes, leased, dead, workers = ({id: int(at) for id, at in _pairs(reply)} for reply in replies[:6])
        jobs, claims, attempts = (dict(_pairs(reply)) for reply in replies[6:9])
        assert {
            "due": tuple(lanes),
            "leased": leased,
            "dead": dead,
            "jobs": {id: envelope.decode() for id, envelope in jobs.items()},
            "claims": {id: _claim(entry) for id, entry in claims.items()},
            "attempts": {id: _failures(entry) for id, entry in attempts.items()},
            "wake": len(replies[9] or ()),
            "workers": workers,
        } == self.model.state()
        self.model.token = False

    def _run(self, job: int | str, token: str | None) -> tuple[str, str]:
        """The id and the token that a `Run` means."""
        claimed = sorted(self.model.claims) or NAMES
        id = claimed[job % len(claimed)] if isinstance(job, int) else job
        return id, token or self.model.claims.get(id, Claim("", 0, 0)).token or "0f"


def _pairs(flat: list[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((flat[at].decode(), flat[at + 1]) for at in range(0, len(flat), 2))


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


@pytest.mark.timeout(400)  # to make a failure small may take 300 s
def test_scripts_do_what_the_model_does(any_server: Server, pytestconfig: pytest.Config) -> None:
    """Enqueue, claim, settle, extend, cancel, expiry and inspection agree with the model in answers and state."""
    seeded = pytestconfig.getoption("--hypothesis-seed") is not None
    chosen = settings(
        max_examples=100,
        stateful_step_count=50,
        deadline=None,
        database=None,
        derandomize=not seeded,
        suppress_health_check=[HealthCheck.too_slow],
    )
    with asyncio.Runner() as opened:

        class OnThisServer(QueueMachine):
            url = any_server.url
            loop = opened.get_loop()

        run_state_machine_as_test(OnThisServer, settings=chosen)
