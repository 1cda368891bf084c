"""Edits, bounces and suppression: what they make of a record, and where they are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from service.email import edits, life
from service.email.edits import Edit, StaleRevision
from service.email.record import Change, Content, Email, Recipient, RecipientStatus, Status
from service.email.steps import WrongState
from tests.unit.store_emails import LATER, NOW

CONTENT = Content("a@example.com", ("b@example.com", "c@example.com"), "Hello", "<1@example.com>", text="Hi")
BOTH = ("b@example.com", "c@example.com")
UNTIL = LATER + timedelta(days=5)


def accepted(suppressed: tuple[str, ...] = ()) -> Email:
    """A new e-mail to two recipients."""
    return life.accept(
        "em_1",
        CONTENT,
        addresses=BOTH,
        now=NOW,
        scheduled_at=LATER,
        max_retries=3,
        retry_until=UNTIL,
        suppressed=suppressed,
    )


def begun(email: Email, suppressed: tuple[str, ...] = ()) -> Change | None:
    """The start of its next run."""
    at = email.state.next_attempt_at
    assert at is not None
    return life.begin(email, now=at, rev=email.rev, by="p", date=NOW, digest="d", suppressed=suppressed)


def after(email: Email, change: Change | None) -> Email:
    """The record once *change* is written."""
    assert change is not None
    return replace(email, rev=email.rev + 1, content=change.content or email.content, state=change.state)


def statuses(email: Email) -> list[str]:
    """Those of its recipients."""
    return [one.status.value for one in email.state.recipients]


def test_suppressed_recipients_are_passed_over_at_accept() -> None:
    """The others get theirs; with nobody left the e-mail has failed before it was ever scheduled."""
    some = accepted(BOTH[:1])
    assert (some.state.status, statuses(some)) == (Status.SCHEDULED, ["suppressed", "pending"])
    nobody = accepted(BOTH)
    assert (nobody.state.status, nobody.state.reason, nobody.state.next_attempt_at) == (
        Status.FAILED,
        "suppressed",
        None,
    )


def test_suppressed_recipients_are_passed_over_at_send() -> None:
    """A run is for the rest; without a rest the e-mail ends without one."""
    email = accepted()
    change = begun(email, BOTH[1:])
    assert change is not None
    assert (change.type, change.detail, statuses(after(email, change))) == (
        "email.sending",
        {"to": ["b@example.com"]},
        ["pending", "suppressed"],
    )
    nobody = begun(email, BOTH)
    assert nobody is not None
    assert (nobody.type, nobody.state.reason, nobody.state.run) == ("email.failed", "suppressed", 0)


def test_the_rest_suppressed_after_one_accepted_is_completed() -> None:
    """Rule F: one recipient has the message."""
    email = accepted()
    one = Recipient("b@example.com", RecipientStatus.ACCEPTED, 250, "ok")
    email = replace(email, state=replace(email.state, recipients=(one, *email.state.recipients[1:])))
    change = begun(email, BOTH)
    assert change is not None
    assert (change.type, change.state.status) == ("email.completed", Status.COMPLETED)


def test_an_edit_of_the_content_keeps_the_job() -> None:
    """The envelope follows the content; the generation, which names the job, stays."""
    content = replace(CONTENT, to=("d@example.com",), subject="Better")
    email = accepted()
    edited = after(email, edits.edit(email, Edit(content=content, addresses=("d@example.com",)), rev=1))
    assert (edited.content, statuses(edited), edited.state.gen, edited.rev) == (content, ["pending"], 1, 2)


def test_an_edit_of_the_time_makes_a_new_job() -> None:
    """Also while it is retrying, whose next attempt then comes at that time."""
    sooner = NOW + timedelta(minutes=1)
    email = accepted()
    moved = after(email, edits.edit(email, Edit(scheduled_at=sooner)))
    assert (moved.state.gen, moved.state.scheduled_at, moved.state.next_attempt_at) == (2, sooner, sooner)
    retrying = replace(email, state=replace(email.state, status=Status.RETRYING, run=1, attempts=1))
    moved = after(retrying, edits.edit(retrying, Edit(scheduled_at=sooner)))
    assert (moved.state.status, moved.state.gen, moved.state.next_attempt_at) == (Status.RETRYING, 2, sooner)


def test_an_edit_to_what_is_there_changes_nothing() -> None:
    """No line is written for it."""
    email = accepted()
    same = Edit(content=CONTENT, addresses=BOTH, scheduled_at=LATER, max_retries=3, retry_until=UNTIL)
    assert edits.edit(email, same) is None


def test_an_edit_says_what_it_changed() -> None:
    """By the names of the API."""
    change = edits.edit(accepted(), Edit(max_retries=5, retry_until=UNTIL + timedelta(days=1), scheduled_at=LATER))
    assert change is not None
    assert (change.type, change.detail, change.content) == (
        "email.updated",
        {"changed": ["max_retries", "retry_until"]},
        None,
    )


def test_an_edit_meant_for_another_revision_is_refused() -> None:
    """Whatever the e-mail is."""
    with pytest.raises(StaleRevision, match="revision 1, not 2"):
        edits.edit(accepted(), Edit(max_retries=1), rev=2)


@pytest.mark.parametrize(
    ("status", "run", "edit", "step"),
    [
        (Status.SENDING, 1, Edit(max_retries=1), "change"),
        (Status.COMPLETED, 1, Edit(max_retries=1), "change"),
        (Status.FAILED, 1, Edit(max_retries=1), "change"),
        (Status.HELD, 1, Edit(max_retries=1), "change"),
        (Status.CANCELLED, 0, Edit(max_retries=1), "change"),
        (Status.RETRYING, 1, Edit(content=replace(CONTENT, subject="x")), "change the content of"),
        (Status.SCHEDULED, 1, Edit(content=replace(CONTENT, subject="x")), "change the content of"),
    ],
)
def test_an_edit_that_comes_too_late_is_refused(status: Status, run: int, edit: Edit, step: str) -> None:
    """From `sending` on nothing changes; from the first run on the content does not."""
    email = accepted()
    with pytest.raises(WrongState) as refused:
        edits.edit(replace(email, state=replace(email.state, status=status, run=run)), edit)
    assert refused.value.step == step


def test_a_bounce_marks_its_recipient_and_leaves_the_status() -> None:
    """Again it changes nothing."""
    email = accepted()
    email = replace(email, state=replace(email.state, status=Status.COMPLETED, run=1))
    bounced = after(email, edits.bounce(email, "c@example.com", code=550, reply="no such user"))
    assert bounced.state.recipients[1] == Recipient("c@example.com", RecipientStatus.BOUNCED, 550, "no such user")
    assert (bounced.state.status, statuses(bounced)) == (Status.COMPLETED, ["pending", "bounced"])
    assert edits.bounce(bounced, "c@example.com", code=550, reply="no such user") is None


def test_a_bounce_of_what_was_not_sent_is_refused() -> None:
    """So is one from an address that the e-mail does not have."""
    email = accepted()
    with pytest.raises(WrongState):
        edits.bounce(email, "c@example.com", code=None, reply="")
    failed = replace(email.state, status=Status.FAILED, recipients=(Recipient(BOTH[0], RecipientStatus.REFUSED),))
    with pytest.raises(WrongState):
        edits.bounce(replace(email, state=failed), BOTH[0], code=None, reply="")
    with pytest.raises(LookupError):
        edits.bounce(
            replace(email, state=replace(email.state, status=Status.HELD)), "x@example.com", code=None, reply=""
        )


def test_only_what_was_sent_to_a_recipient_can_bounce() -> None:
    """While others are still tried, one whose server took the message may bounce, and one who waits may not."""
    email = accepted(("b@example.com",))
    taken = (replace(email.state.recipients[1], status=RecipientStatus.ACCEPTED), Recipient("d@example.com"))
    recipients = (email.state.recipients[0], *taken)
    email = replace(email, state=replace(email.state, status=Status.RETRYING, run=1, recipients=recipients))
    bounced = after(email, edits.bounce(email, "c@example.com", code=550, reply="no such user"))
    assert (bounced.state.status, statuses(bounced)) == (Status.RETRYING, ["suppressed", "bounced", "pending"])
    for address in ("b@example.com", "d@example.com"):
        with pytest.raises(WrongState):
            edits.bounce(email, address, code=550, reply="")


def test_what_bounced_had_been_accepted() -> None:
    """An e-mail whose rest gets nothing is completed, though what was accepted has come back by then."""
    email = accepted()
    recipients = (replace(email.state.recipients[0], status=RecipientStatus.BOUNCED), email.state.recipients[1])
    email = replace(email, state=replace(email.state, status=Status.RETRYING, run=1, recipients=recipients))
    ended = begun(email, ("c@example.com",))
    assert ended is not None
    assert (ended.type, ended.state.status) == ("email.completed", Status.COMPLETED)
