"""Records of e-mails in every status, for tests of what may happen to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from service.email import life
from service.email.record import Change, Content, Email, Ending, Outcome, Recipient, RecipientStatus, Reply, Status
from zqueue import steps

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BACKOFF = steps(60, 600, 3600)
CONTENT = Content("a@example.com", ("b@example.com", "c@example.com"), "Hello", "<em_X@example.com>", text="Hi")
OK, LATER, NEVER = Reply(250, "ok"), Reply(451, "4.7.1 try later"), Reply(550, "5.1.1 no such user")
PENDING, ACCEPTED, REFUSED, UNKNOWN = (
    RecipientStatus.PENDING,
    RecipientStatus.ACCEPTED,
    RecipientStatus.REFUSED,
    RecipientStatus.UNKNOWN,
)


def fresh(max_retries: int = 3) -> Email:
    """An e-mail just accepted, due now, for b and c."""
    return life.accept(
        "em_X",
        CONTENT,
        addresses=("b@example.com", "c@example.com"),
        now=NOW,
        scheduled_at=NOW,
        max_retries=max_retries,
        retry_until=NOW + timedelta(days=5),
    )


def after(email: Email, change: Change | None) -> Email:
    """The record once *change* is written."""
    assert change is not None
    return replace(email, rev=email.rev + 1, state=change.state)


def sending(email: Email, now: datetime = NOW) -> Email:
    """*email* with its next run begun."""
    return after(email, life.begin(email, now=now, rev=email.rev, by="p1", date=NOW, digest="d1"))


def settled(email: Email, outcome: Outcome, on_unknown: life.OnUnknown = "retry") -> Change:
    """What settling *email*'s present run writes."""
    return life.settle(
        email, now=NOW, run=email.state.run, outcome=outcome, backoff=BACKOFF, on_unknown=on_unknown, rng=lambda: 0.5
    )


def answered(**replies: Reply) -> Outcome:
    """Answers for b and c by their first letter."""
    return Outcome(Ending.ANSWERED, {f"{letter}@example.com": reply for letter, reply in replies.items()})


def recipients(b: RecipientStatus, c: RecipientStatus) -> tuple[Recipient, ...]:
    """Both recipients, unanswered, in these statuses."""
    return (Recipient("b@example.com", b), Recipient("c@example.com", c))


def in_status(status: Status, **fields: object) -> Email:
    """An e-mail of revision 5 in *status*."""
    email = fresh()
    due = NOW if status in (Status.SCHEDULED, Status.RETRYING) else None
    state = replace(email.state, status=status, next_attempt_at=due, run=2, attempts=1)
    if status is Status.SENDING:
        state = replace(state, by="p1", sending_since=NOW, date=NOW, digest="d1")
    return replace(email, rev=5, state=replace(state, **fields))  # type: ignore[arg-type]
