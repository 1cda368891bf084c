"""What holds along every path an e-mail can take."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.email import life
from service.email.record import FINAL, Change, Email, Ending, Outcome, RecipientStatus, Reply, Stage, Status
from tests.unit.email_records import BACKOFF, NOW, after, fresh

_REPLIES = st.sampled_from([Reply(250, "ok"), Reply(451, "later"), Reply(550, "no"), Reply(552, "n", Stage.RCPT), None])
_POLICIES = st.sampled_from(["retry", "hold"])


class EmailLife(RuleBasedStateMachine):
    """Everybody does anything to one e-mail, in any order and at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.email: Email = fresh(max_retries=2)
        self.before = self.email
        self.last: str = "email.scheduled"
        self.taken: set[str] = set()

    def step(self, decide: Callable[[], Change | None]) -> None:
        """Write what *decide* answers; a refusal or None writes nothing."""
        self.before = self.email
        try:
            change = decide()
        except (life.WrongState, life.StaleRun):
            return
        if change is not None:
            self.email, self.last = after(self.email, change), change.type

    @rule(seconds=st.integers(0, 2 * 86_400))
    def time_passes(self, seconds: int) -> None:
        """The clock moves on."""
        self.now += timedelta(seconds=seconds)

    @rule()
    def cancel(self) -> None:
        """Somebody cancels."""
        self.step(lambda: life.cancel(self.email))

    @rule()
    def requeue(self) -> None:
        """Somebody asks for another try."""
        self.step(lambda: life.requeue(self.email, now=self.now, backoff=BACKOFF))

    @rule(stale=st.booleans())
    def begin(self, stale: bool) -> None:
        """A worker claims the job, perhaps with a record read too long ago."""
        rev = self.email.rev - stale
        self.step(lambda: life.begin(self.email, now=self.now, rev=rev, by="p", date=self.now, digest="d"))

    @rule(ending=st.sampled_from(Ending), b=_REPLIES, c=_REPLIES, late=st.booleans(), policy=_POLICIES)
    def settle(self, ending: Ending, b: Reply | None, c: Reply | None, late: bool, policy: life.OnUnknown) -> None:
        """A worker writes an outcome, perhaps that of a run that is over."""
        replies = {"b@example.com": b, "c@example.com": c}
        tried = set(life.still_to_try(self.email))
        outcome = Outcome(ending, {a: reply for a, reply in replies.items() if reply is not None and a in tried}, "x")
        run = self.email.state.run - late
        if self.email.state.status is Status.SENDING and not late:
            assert not tried & self.taken, "a run tried a recipient who has the message"
            if ending is Ending.ANSWERED:
                self.taken |= {address for address, reply in outcome.replies.items() if reply.code == 250}
        self.step(
            lambda: life.settle(
                self.email,
                now=self.now,
                run=run,
                outcome=outcome,
                backoff=BACKOFF,
                on_unknown=policy,
                rng=random.Random(0).random,
            )
        )

    @rule(policy=_POLICIES)
    def owner_dies(self, policy: life.OnUnknown) -> None:
        """The process that sends is found dead."""
        run = self.email.state.run
        self.step(lambda: life.owner_died(self.email, now=self.now, run=run, on_unknown=policy))

    @rule(gen=st.integers(1, 3))
    def buried(self, gen: int) -> None:
        """The queue buries a job of the e-mail."""
        self.step(lambda: life.poison(self.email, gen=gen, error="x"))

    @invariant()
    def a_final_status_is_left_by_a_person_only(self) -> None:
        """Only /retry leaves a final status, and cancel leaves held."""
        before, now = self.before.state.status, self.email.state.status
        if before in FINAL and self.before.rev != self.email.rev:
            assert self.last == "email.requeued" or (before, now) == (Status.HELD, Status.CANCELLED)

    @invariant()
    def counters_never_shrink(self) -> None:
        """Revision, run and generation only grow."""
        old, new = self.before, self.email
        assert (old.rev, old.state.run, old.state.gen) <= (new.rev, new.state.run, new.state.gen)
        assert new.state.run >= old.state.run
        assert new.state.gen - old.state.gen == (self.last == "email.requeued" and new.rev != old.rev)

    @invariant()
    def attempts_are_bounded(self) -> None:
        """No more outcomes are counted than 1 + max_retries."""
        assert self.email.state.attempts <= 1 + self.email.state.max_retries

    @invariant()
    def the_status_and_its_fields_agree(self) -> None:
        """Waiting has a time, sending has an owner, over has nobody pending, and accepted is never lost."""
        state = self.email.state
        pending = life.still_to_try(self.email)
        assert (state.next_attempt_at is not None) == (state.status in (Status.SCHEDULED, Status.RETRYING))
        assert (state.by is not None) == (state.sending_since is not None) == (state.status is Status.SENDING)
        assert bool(pending) or state.status in FINAL
        assert not pending or state.status not in (Status.COMPLETED, Status.FAILED)
        accepted = {one.address for one in state.recipients if one.status is RecipientStatus.ACCEPTED}
        assert accepted == self.taken
        assert state.status is not Status.COMPLETED or accepted
        assert state.status is not Status.FAILED or not accepted or state.reason == "poison"


EmailLife.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestEmailLife = EmailLife.TestCase
