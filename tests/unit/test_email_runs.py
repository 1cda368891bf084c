"""The runs of an e-mail - begin, outcome, death - row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from service.email import life
from service.email.record import Change, Ending, Outcome, Recipient, Reply, Stage, State, Status
from service.email.times import to_z
from tests.unit.email_records import (
    ACCEPTED,
    BACKOFF,
    LATER,
    NEVER,
    NOW,
    OK,
    PENDING,
    REFUSED,
    UNKNOWN,
    after,
    answered,
    fresh,
    in_status,
    recipients,
    sending,
    settled,
)


@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.RETRYING])
def test_begin_starts_a_run(status: Status) -> None:
    """A due e-mail is sending under a new run, with its owner, its date and its digest."""
    email = in_status(status)
    change = life.begin(email, now=NOW, rev=5, by="p2", date=NOW - timedelta(seconds=1), digest="d2")
    expected = replace(
        email.state,
        status=Status.SENDING,
        next_attempt_at=None,
        run=3,
        by="p2",
        sending_since=NOW,
        date=NOW - timedelta(seconds=1),
        digest="d2",
    )
    assert change == Change("email.sending", expected, detail={"to": ["b@example.com", "c@example.com"]})


def test_every_run_keeps_the_date_of_the_first() -> None:
    """The Date header is chosen once, so that every attempt sends the same bytes."""
    email = in_status(Status.RETRYING, date=NOW - timedelta(hours=1))
    change = life.begin(email, now=NOW, rev=5, by="p2", date=NOW, digest="d2")
    assert change is not None
    assert change.state.date == NOW - timedelta(hours=1)


def test_begin_before_the_time_does_nothing() -> None:
    """An e-mail that is not due yet stays as it is."""
    email = in_status(Status.RETRYING, next_attempt_at=NOW + timedelta(microseconds=1))
    assert life.begin(email, now=NOW, rev=5, by="p", date=NOW, digest="d") is None


def test_begin_after_retry_until_fails_the_email() -> None:
    """Once `retry_until` has passed the e-mail fails as expired, in its server's last words."""
    email = in_status(Status.RETRYING, retry_until=NOW - timedelta(seconds=1), last_error="451 try later")
    expected = replace(
        email.state,
        status=Status.FAILED,
        reason="expired",
        next_attempt_at=None,
        recipients=recipients(REFUSED, REFUSED),
    )
    change = life.begin(email, now=NOW, rev=5, by="p", date=NOW, digest="d")
    assert change == Change(
        "email.failed", expected, detail={"reason": "expired", "attempts": 1, "error": "451 try later"}
    )


def test_what_expires_after_one_recipient_took_it_is_completed() -> None:
    """Rule F: with every recipient final and one accepted, the e-mail is completed."""
    email = in_status(Status.RETRYING, retry_until=NOW - timedelta(seconds=1), recipients=recipients(ACCEPTED, PENDING))
    change = life.expire(email, now=NOW)
    assert change is not None
    assert (change.type, change.state.status, change.state.recipients) == (
        "email.completed",
        Status.COMPLETED,
        recipients(ACCEPTED, REFUSED),
    )


def test_what_expires_after_an_unknown_outcome_stays_unknown() -> None:
    """Nobody claims that a message was refused when it may have been delivered."""
    email = in_status(Status.RETRYING, retry_until=NOW - timedelta(seconds=1), reason="unknown")
    change = life.expire(email, now=NOW)
    assert change is not None
    assert change.state.recipients == recipients(UNKNOWN, UNKNOWN)


def test_no_retry_waits_beyond_retry_until() -> None:
    """An e-mail whose next delay would end too late fails at `retry_until`, and not a delay later."""
    email = sending(in_status(Status.SCHEDULED, retry_until=NOW + timedelta(seconds=30)))
    change = settled(email, answered(b=LATER, c=LATER))
    assert change.state.next_attempt_at == email.state.retry_until
    assert change.detail["next_attempt_at"] == to_z(email.state.retry_until)
    over = life.expire(replace(email, state=change.state), now=email.state.retry_until)
    assert over is not None
    assert (over.type, over.state.reason) == ("email.failed", "expired")


def test_expire_waits_for_retry_until() -> None:
    """Nothing expires before its time, and only what waits expires."""
    assert life.expire(in_status(Status.SCHEDULED), now=NOW) is None
    with pytest.raises(life.WrongState):
        life.expire(in_status(Status.SENDING), now=NOW + timedelta(days=6))


@pytest.mark.parametrize("status", [Status.SENDING, Status.COMPLETED, Status.FAILED, Status.HELD, Status.CANCELLED])
def test_begin_only_starts_what_waits(status: Status) -> None:
    """An e-mail that is sending or over is never begun."""
    with pytest.raises(life.WrongState):
        life.begin(in_status(status), now=NOW, rev=5, by="p", date=NOW, digest="d")


def test_begin_refuses_a_message_built_from_an_older_revision() -> None:
    """A record that changed since its message was built is read again first."""
    with pytest.raises(life.StaleRun, match="revision 5 is not the 4"):
        life.begin(in_status(Status.SCHEDULED), now=NOW, rev=4, by="p", date=NOW, digest="d")


def test_everybody_accepted_completes() -> None:
    """2xx for all: completed, one attempt, no error, nothing of the run left."""
    email = sending(fresh())
    change = settled(email, answered(b=OK, c=OK))
    assert change.state == State(
        Status.COMPLETED,
        (Recipient("b@example.com", ACCEPTED, 250, "ok"), Recipient("c@example.com", ACCEPTED, 250, "ok")),
        NOW,
        3,
        NOW + timedelta(days=5),
        run=1,
        attempts=1,
        date=NOW,
        digest="d1",
    )
    assert change.type == "email.completed"


def test_everybody_refused_fails_at_once() -> None:
    """5xx for all: failed on the first attempt, with the server's words."""
    change = settled(sending(fresh()), answered(b=NEVER, c=NEVER))
    state = change.state
    assert (change.type, state.status, state.reason, state.attempts) == ("email.failed", Status.FAILED, "refused", 1)
    assert state.last_error == "550 5.1.1 no such user"
    assert change.detail == {
        "reason": "refused",
        "attempts": 1,
        "error": "550 5.1.1 no such user",
        "replies": {
            "b@example.com": {"code": 550, "reply": "5.1.1 no such user"},
            "c@example.com": {"code": 550, "reply": "5.1.1 no such user"},
        },
    }


def test_one_accepted_and_one_refused_completes() -> None:
    """A refused recipient does not take the message from the others, and the error says who was refused."""
    state = settled(sending(fresh()), answered(b=OK, c=NEVER)).state
    assert (state.status, state.last_error) == (Status.COMPLETED, "c@example.com: 550 5.1.1 no such user")
    assert [one.status for one in state.recipients] == [ACCEPTED, REFUSED]


def test_temporary_refusals_retry_only_who_is_left() -> None:
    """A 4xx keeps its recipient pending, the delay is the policy's, and a retry is for the pending alone."""
    email = sending(fresh())
    change = settled(email, answered(b=OK, c=LATER))
    state = change.state
    assert (change.type, state.status, state.reason, state.attempts) == (
        "email.retrying",
        Status.RETRYING,
        "temporary",
        1,
    )
    assert state.next_attempt_at == NOW + timedelta(seconds=60)
    assert state.recipients[1] == Recipient("c@example.com", PENDING, 451, "4.7.1 try later")
    assert life.still_to_try(after(email, change)) == ("c@example.com",)


def test_451_for_ever_fails_after_four_attempts() -> None:
    """Three retries make four attempts, at 60, 600 and 3,600 seconds, then the e-mail fails in the server's words."""
    email, delays = fresh(), []
    for _ in range(4):
        email = sending(email, now=email.state.next_attempt_at or NOW)
        change = settled(email, answered(b=LATER, c=LATER))
        if change.state.next_attempt_at:
            delays.append(change.state.next_attempt_at - NOW)
        email = after(email, change)
    state = email.state
    assert delays == [timedelta(seconds=60), timedelta(seconds=600), timedelta(seconds=3600)]
    assert (state.status, state.reason, state.attempts) == (Status.FAILED, "exhausted", 4)
    assert state.last_error == "451 4.7.1 try later"
    assert [one.status for one in state.recipients] == [REFUSED, REFUSED]


def test_exhausted_after_somebody_accepted_completes() -> None:
    """Rule F holds when the attempts run out, too."""
    email = sending(in_status(Status.RETRYING, attempts=3, recipients=recipients(ACCEPTED, PENDING)))
    change = settled(email, answered(c=LATER))
    assert (change.type, change.state.status, change.state.attempts) == ("email.completed", Status.COMPLETED, 4)
    assert [one.status for one in change.state.recipients] == [ACCEPTED, REFUSED]


def test_552_is_temporary_at_rcpt_only() -> None:
    """552 to RCPT means too many recipients and is tried again; after the data it means too large and is final."""
    too_many, too_large = Reply(552, "too many", Stage.RCPT), Reply(552, "too large", Stage.DATA)
    state = settled(sending(fresh()), answered(b=too_large, c=too_many)).state
    assert [one.status for one in state.recipients] == [REFUSED, PENDING]


def test_relay_trouble_spends_no_attempt() -> None:
    """Trouble before the final dot defers the e-mail, uncounted, and longer each time up to five minutes."""
    email, delays = fresh(), []
    for _ in range(8):
        email = sending(email, now=email.state.next_attempt_at or NOW)
        change = settled(email, Outcome(Ending.TROUBLE, error="421 busy"))
        assert change.state.next_attempt_at is not None
        delays.append(round((change.state.next_attempt_at - NOW).total_seconds()))
        email = after(email, change)
    assert (change.type, email.state.status, email.state.reason) == ("email.deferred", Status.RETRYING, "relay")
    assert (email.state.run, email.state.attempts, email.state.last_error) == (8, 0, "421 busy")
    assert delays == [5, 10, 20, 40, 80, 160, 300, 300]


def test_deferrals_begin_anew() -> None:
    """After an answer, or a retry by hand, the first deferral is a short one again."""
    email = in_status(Status.RETRYING, run=30, attempts=1, deferrals=9)
    assert settled(sending(email), answered(c=LATER)).state.deferrals == 0
    failed = in_status(Status.FAILED, run=30, attempts=4, deferrals=9)
    change = life.requeue(failed, now=NOW, backoff=BACKOFF)
    assert change is not None
    state = settled(sending(after(failed, change)), Outcome(Ending.TROUBLE, error="421 busy")).state
    assert state.next_attempt_at is not None
    assert (state.deferrals, round((state.next_attempt_at - NOW).total_seconds())) == (1, 5)


def test_a_dot_without_answer_is_retried_and_counted() -> None:
    """With on_unknown=retry the e-mail is tried again for those of whom nothing is known."""
    outcome = Outcome(Ending.UNKNOWN, {"c@example.com": NEVER}, "no answer after the message")
    change = settled(sending(fresh()), outcome)
    state = change.state
    assert (change.type, state.status, state.reason, state.attempts) == (
        "email.retrying",
        Status.RETRYING,
        "unknown",
        1,
    )
    assert [one.status for one in state.recipients] == [PENDING, REFUSED]
    assert state.last_error == "no answer after the message"


def test_a_2xx_of_an_unanswered_transaction_is_no_acceptance() -> None:
    """250 to RCPT says nothing about a message whose final dot was never answered."""
    state = settled(sending(fresh()), Outcome(Ending.UNKNOWN, {"b@example.com": OK}, "no answer")).state
    assert [one.status for one in state.recipients] == [PENDING, PENDING]


def test_a_dot_without_answer_at_the_last_attempt_is_unknown() -> None:
    """When the attempts run out on an unknown outcome, the record says unknown and not refused."""
    email = sending(in_status(Status.RETRYING, attempts=3))
    state = settled(email, Outcome(Ending.UNKNOWN, {"c@example.com": LATER}, "no answer")).state
    assert (state.status, state.reason) == (Status.FAILED, "unknown")
    assert [one.status for one in state.recipients] == [UNKNOWN, REFUSED]


def test_a_dot_without_answer_can_be_held() -> None:
    """With on_unknown=hold the e-mail waits for a person, and unknown recipients are marked."""
    outcome = Outcome(Ending.UNKNOWN, {"c@example.com": LATER}, "no answer")
    change = settled(sending(fresh()), outcome, on_unknown="hold")
    state = change.state
    assert (change.type, state.status, state.reason, state.attempts) == ("email.held", Status.HELD, "unknown", 1)
    assert [one.status for one in state.recipients] == [UNKNOWN, PENDING]
    assert state.next_attempt_at is None


def test_a_dead_owner_is_retried_uncounted() -> None:
    """With on_unknown=retry a run whose process died goes on at once and spends no attempt."""
    email = sending(fresh())
    change = life.owner_died(email, now=NOW, run=1, on_unknown="retry")
    expected = replace(
        email.state,
        status=Status.RETRYING,
        reason="unknown",
        next_attempt_at=NOW,
        by=None,
        sending_since=None,
        last_error="the process that was sending it died; whether the message was sent is unknown",
    )
    assert (change.type, change.state) == ("email.retrying", expected)


def test_a_dead_owner_can_be_held() -> None:
    """With on_unknown=hold a run whose process died waits for a person."""
    change = life.owner_died(sending(fresh()), now=NOW, run=1, on_unknown="hold")
    assert (change.type, change.state.status, change.state.attempts) == ("email.held", Status.HELD, 0)
    assert change.state.recipients == recipients(UNKNOWN, UNKNOWN)


@pytest.mark.parametrize(
    ("status", "run"), [(Status.SENDING, 1), (Status.SENDING, 3), (Status.RETRYING, 2), (Status.COMPLETED, 2)]
)
def test_a_run_that_is_over_writes_nothing(status: Status, run: int) -> None:
    """Only the present run may write its outcome or be declared dead."""
    email = in_status(status)
    with pytest.raises(life.StaleRun):
        life.settle(email, now=NOW, run=run, outcome=answered(b=OK, c=OK), backoff=BACKOFF, on_unknown="retry")
    with pytest.raises(life.StaleRun):
        life.owner_died(email, now=NOW, run=run, on_unknown="retry")
