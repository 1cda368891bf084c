"""What people and the queue may do to an e-mail, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from service.email import life
from service.email.record import Change, Email, RecipientStatus, State, Status
from tests.unit.email_records import (
    ACCEPTED,
    BACKOFF,
    CONTENT,
    NOW,
    PENDING,
    REFUSED,
    UNKNOWN,
    fresh,
    in_status,
    recipients,
)
from zqueue import fixed


def test_accept_makes_the_first_record() -> None:
    """An accepted e-mail is scheduled at its time, revision 1, every recipient pending."""
    email = fresh()
    assert email == Email(
        "em_X",
        1,
        NOW,
        CONTENT,
        State(Status.SCHEDULED, recipients(PENDING, PENDING), NOW, 3, NOW + timedelta(days=5), next_attempt_at=NOW),
    )
    assert email.job_id == "em_X.1"
    assert life.still_to_try(email) == ("b@example.com", "c@example.com")


def test_the_default_lifetime_covers_every_retry() -> None:
    """An e-mail is given up after five days, or after all its retries where they take longer."""
    assert life.default_retry_until(NOW, 3, BACKOFF) == NOW + timedelta(days=5)
    assert life.default_retry_until(NOW, 10, fixed(86_400)) == NOW + timedelta(days=10, hours=1)


@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.RETRYING, Status.HELD])
def test_cancel_ends_what_waits(status: Status) -> None:
    """A scheduled, retrying or held e-mail can be cancelled, and is due no more."""
    email = in_status(status, reason="unknown" if status is Status.HELD else None)
    expected = replace(email.state, status=Status.CANCELLED, next_attempt_at=None, reason=None)
    assert life.cancel(email) == Change("email.cancelled", expected)


def test_cancelling_twice_changes_nothing() -> None:
    """A cancelled e-mail can be cancelled again to no effect."""
    assert life.cancel(in_status(Status.CANCELLED)) is None


@pytest.mark.parametrize("status", [Status.SENDING, Status.COMPLETED, Status.FAILED])
def test_cancel_comes_too_late(status: Status) -> None:
    """What is being sent or is over cannot be cancelled, and the error says where it stands."""
    with pytest.raises(life.WrongState) as caught:
        life.cancel(in_status(status))
    assert (caught.value.status, caught.value.email_id, caught.value.step) == (status, "em_X", "cancel")


@pytest.mark.parametrize("status", [Status.FAILED, Status.HELD])
def test_requeue_starts_anew_for_whoever_lacks_the_message(status: Status) -> None:
    """/retry gives a failed or held e-mail a new job, all attempts and time; accepted recipients are left alone."""
    email = in_status(status, reason="unknown", recipients=recipients(ACCEPTED, UNKNOWN), attempts=4)
    now = NOW + timedelta(days=9)
    change = life.requeue(email, now=now, backoff=BACKOFF)
    expected = replace(
        email.state,
        status=Status.SCHEDULED,
        reason=None,
        recipients=recipients(ACCEPTED, PENDING),
        gen=2,
        attempts=0,
        next_attempt_at=now,
        retry_until=now + timedelta(days=5),
    )
    assert change is not None
    assert (change.type, change.state) == ("email.requeued", expected)


@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.RETRYING, Status.SENDING])
def test_requeue_of_what_is_on_its_way_changes_nothing(status: Status) -> None:
    """/retry twice is as good as once."""
    assert life.requeue(in_status(status), now=NOW, backoff=BACKOFF) is None


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED])
def test_requeue_comes_too_late(status: Status) -> None:
    """What is completed or cancelled is not sent again."""
    with pytest.raises(life.WrongState):
        life.requeue(in_status(status), now=NOW, backoff=BACKOFF)


@pytest.mark.parametrize(
    ("status", "left"), [(Status.SCHEDULED, REFUSED), (Status.RETRYING, REFUSED), (Status.SENDING, UNKNOWN)]
)
def test_a_buried_job_fails_its_email(status: Status, left: RecipientStatus) -> None:
    """A job among the dead fails its e-mail as poison, with the queue's reason."""
    email = in_status(status)
    change = life.poison(email, gen=1, error="its worker died 20 times")
    expected = replace(
        email.state,
        status=Status.FAILED,
        reason="poison",
        recipients=recipients(left, left),
        next_attempt_at=None,
        by=None,
        sending_since=None,
        last_error="its worker died 20 times",
    )
    assert change == Change("email.failed", expected, detail={"reason": "poison", "error": "its worker died 20 times"})


@pytest.mark.parametrize(
    ("status", "gen"),
    [(Status.COMPLETED, 1), (Status.FAILED, 1), (Status.HELD, 1), (Status.CANCELLED, 1), (Status.SCHEDULED, 2)],
)
def test_a_buried_job_of_the_past_changes_nothing(status: Status, gen: int) -> None:
    """A final record, or one with a newer job, does not care about a dead job."""
    assert life.poison(in_status(status, gen=gen), gen=1, error="x") is None
