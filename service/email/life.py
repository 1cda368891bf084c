"""The life of an e-mail: every step it may take, as pure functions from a record to the change to write.

Each function looks at the record as it is under the store's lock, and answers the `Change`, or None when there is
nothing to do, or raises when the step is not allowed from there. None of them reads a clock or performs I/O, so the
store may call one again. The table of steps is in `docs/architecture.md`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from service.email import outcomes, steps
from service.email.record import (
    FINAL,
    Change,
    Content,
    Email,
    Ending,
    Outcome,
    Recipient,
    RecipientStatus,
    State,
    Status,
)
from service.email.steps import StaleRun, WrongState
from service.email.times import to_z
from zqueue import Backoff, exponential

__all__ = [
    "FROZEN",
    "LIFETIME",
    "OnUnknown",
    "StaleRun",
    "WrongState",
    "accept",
    "begin",
    "cancel",
    "default_retry_until",
    "expire",
    "owner_died",
    "poison",
    "requeue",
    "settle",
    "still_to_try",
]

OnUnknown = Literal["retry", "hold"]
"""What follows a transaction of which nobody knows whether it delivered: try again, or wait for a person."""

LIFETIME = timedelta(days=5)
"""How long after its time an e-mail is tried, unless its retries need longer (RFC 5321, section 4.5.4.1)."""

FROZEN = timedelta(minutes=20)
"""A run that has taken longer is over, though its process still lives: `service.mailer.smtp.Timeouts` stay below."""

_DEFERRAL = exponential(5, cap=300, jitter=True)
_WAITING = (Status.SCHEDULED, Status.RETRYING)


def accept(
    email_id: str,
    content: Content,
    *,
    addresses: Sequence[str],
    now: datetime,
    scheduled_at: datetime,
    max_retries: int,
    retry_until: datetime,
    suppressed: Container[str] = (),
) -> Email:
    """The first record of an e-mail, for the store to write: ``scheduled``, or ``failed`` if everybody is suppressed.

    Args:
        email_id: See `service.email.ids`.
        content: Fixes the bytes that are sent.
        addresses: The envelope: each address once, at least one.
        now: When it was accepted.
        scheduled_at: When it is to be sent.
        max_retries: Attempts after the first, at least 0.
        retry_until: When it is given up, whatever attempts are left.
        suppressed: Addresses that get nothing.
    """
    state = State(
        status=Status.SCHEDULED,
        recipients=outcomes.suppress(tuple(Recipient(address) for address in addresses), suppressed),
        scheduled_at=scheduled_at,
        max_retries=max_retries,
        retry_until=retry_until,
        next_attempt_at=scheduled_at,
    )
    if not outcomes.pending(state.recipients):
        state = steps.finish(state, "suppressed", {}).state
    return Email(email_id, 1, now, content, state)


def default_retry_until(scheduled_at: datetime, max_retries: int, backoff: Backoff) -> datetime:
    """`LIFETIME` after *scheduled_at*, or an hour more than all retries take, if that is later."""
    longest = timedelta(hours=1)
    for failures in range(1, max_retries + 1):
        longest += backoff.delay(failures, lambda: 1.0)
    return scheduled_at + max(LIFETIME, longest)


def still_to_try(email: Email) -> tuple[str, ...]:
    """The addresses that the next transaction is for."""
    return outcomes.pending(email.state.recipients)


def cancel(email: Email) -> Change | None:
    """Cancel what is not being sent; None if it is cancelled already.

    Raises:
        WrongState: It is being sent, or it is completed or failed.
    """
    status = email.state.status
    if status is Status.CANCELLED:
        return None
    if status not in (*_WAITING, Status.HELD):
        raise WrongState(email, "cancel")
    return Change("email.cancelled", steps.rest(email.state, Status.CANCELLED))


def requeue(email: Email, *, now: datetime, backoff: Backoff) -> Change | None:
    """Try a failed or held e-mail again from now, with a new job, all its attempts and time for them.

    Recipients who have the message keep it; all others are tried. None if it is still on its way.

    Raises:
        WrongState: It is completed or cancelled.
    """
    state = email.state
    if state.status in (*_WAITING, Status.SENDING):
        return None
    if state.status not in (Status.HELD, Status.FAILED):
        raise WrongState(email, "retry")
    again = replace(
        steps.rest(state, Status.SCHEDULED),
        recipients=tuple(
            one
            if one.status in (RecipientStatus.ACCEPTED, RecipientStatus.BOUNCED)
            else replace(one, status=RecipientStatus.PENDING)
            for one in state.recipients
        ),
        gen=state.gen + 1,
        attempts=0,
        deferrals=0,
        next_attempt_at=now,
        retry_until=max(state.retry_until, default_retry_until(now, state.max_retries, backoff)),
    )
    return Change("email.requeued", again, detail={"next_attempt_at": to_z(now)})


def expire(email: Email, *, now: datetime, trouble: str | None = None) -> Change | None:
    """Give up an e-mail whose `retry_until` has passed; None while it has not.

    Args:
        email: The record under the lock.
        now: The queue's time.
        trouble: What it waited for, in one sentence; None where it is not known to have waited for anything.

    Raises:
        WrongState: It is not waiting to be sent.
    """
    if email.state.status not in _WAITING:
        raise WrongState(email, "expire")
    if now < email.state.retry_until:
        return None
    unknown = still_to_try(email) if email.state.reason == "unknown" else ()
    state = replace(email.state, recipients=outcomes.give_up(email.state.recipients, unknown=unknown))
    error = trouble or state.last_error or f"not sent by {to_z(state.retry_until)}"
    return steps.finish(replace(state, last_error=error), "expired", {"error": error})


def begin(
    email: Email,
    *,
    now: datetime,
    rev: int,
    by: str,
    date: datetime,
    digest: str,
    suppressed: Container[str] = (),
) -> Change | None:
    """Start a run: from this line on the caller, and nobody else, may talk to the server about this e-mail.

    Args:
        email: The record under the lock.
        now: The queue's time.
        rev: The revision the message was built from.
        by: Random id of the calling process.
        date: The ``Date`` header of the message built; kept from the first run on.
        digest: SHA-256 of the message built, hex.
        suppressed: Addresses that get nothing by now.

    Returns:
        The start; or the end, when `retry_until` has passed or the rest is suppressed; or None when it is not due yet.

    Raises:
        WrongState: It is not waiting to be sent (any more).
        StaleRun: It changed since revision *rev*: build the message again.
    """
    state = email.state
    if state.status not in _WAITING:
        raise WrongState(email, "send")
    expired = expire(email, now=now)
    if expired is not None:
        return expired
    if state.next_attempt_at is not None and now < state.next_attempt_at:
        return None
    if email.rev != rev:
        raise StaleRun(email, f"revision {email.rev} is not the {rev} that the message was built from")
    state = replace(state, recipients=outcomes.suppress(state.recipients, suppressed))
    if not outcomes.pending(state.recipients):
        return steps.finish(state, "suppressed", {})
    started = replace(
        steps.rest(state, Status.SENDING),
        run=state.run + 1,
        by=by,
        sending_since=now,
        date=state.date or date,
        digest=digest,
    )
    return Change("email.sending", started, detail={"to": list(outcomes.pending(state.recipients))})


def settle(
    email: Email,
    *,
    now: datetime,
    run: int,
    outcome: Outcome,
    backoff: Backoff,
    on_unknown: OnUnknown,
    rng: Callable[[], float] = random.random,
) -> Change:
    """Write down what one transaction came to.

    Args:
        email: The record under the lock.
        now: The queue's time.
        run: The run that `begin` started; it fences this write.
        outcome: What the server said.
        backoff: The delays between counted attempts.
        on_unknown: What follows a final dot without an answer.
        rng: Draws the jitter from [0, 1).

    Raises:
        StaleRun: This run is over: its owner was taken for dead, or the outcome is written already.
    """
    state = _running(email, run)
    if outcome.ending is Ending.TROUBLE:
        # Each such run in a row makes the next wait longer, up to the cap; the relay's breaker guards the rest.
        state = replace(state, deferrals=state.deferrals + 1)
        delay = _DEFERRAL.delay(state.deferrals, rng)
        error = outcome.error or "the relay failed"
        return steps.again(state, "email.deferred", now + delay, "relay", error, {})
    recipients = outcomes.apply(state.recipients, outcome)
    said = outcomes.to_json(outcome)
    words = outcome.error or outcomes.last_words(outcome)
    state = replace(state, recipients=recipients, attempts=state.attempts + 1, last_error=words, deferrals=0)
    if not any(one.status is RecipientStatus.PENDING for one in recipients):
        return steps.finish(state, "refused", said)
    unknown = outcome.ending is Ending.UNKNOWN
    if unknown and on_unknown == "hold":
        return steps.hold(state, outcome.replies, said)
    if state.attempts >= 1 + state.max_retries:
        unanswered = () if not unknown else outcomes.unanswered(recipients, outcome)
        given_up = replace(state, recipients=outcomes.give_up(recipients, unknown=unanswered))
        return steps.finish(given_up, "unknown" if unanswered else "exhausted", said)
    delay = backoff.delay(state.attempts, rng)
    return steps.again(state, "email.retrying", now + delay, "unknown" if unknown else "temporary", words, said)


def owner_died(email: Email, *, now: datetime, run: int, on_unknown: OnUnknown) -> Change:
    """End a run whose process is dead, or was frozen too long. Whether it delivered is unknown; no attempt is spent.

    Raises:
        StaleRun: That run is over already.
    """
    state = _running(email, run)
    error = "the process that was sending it died; whether the message was sent is unknown"
    state = replace(state, last_error=error)
    if on_unknown == "hold":
        return steps.hold(state, {}, {})
    return steps.again(state, "email.retrying", now, "unknown", error, {})


def poison(email: Email, *, gen: int, error: str) -> Change | None:
    """Fail an e-mail whose job the queue has buried; None if it is final, or has a newer job than that one.

    Args:
        email: The record under the lock.
        gen: The generation of the buried job.
        error: Why the queue buried it.
    """
    state = email.state
    if state.status in FINAL or state.gen != gen:
        return None
    pending = still_to_try(email)
    recipients = outcomes.give_up(state.recipients, unknown=pending if state.status is Status.SENDING else ())
    failed = replace(steps.rest(state, Status.FAILED), recipients=recipients, reason="poison", last_error=error)
    return Change("email.failed", failed, detail={"reason": "poison", "error": error})


def _running(email: Email, run: int) -> State:
    state = email.state
    if state.status is not Status.SENDING or state.run != run:
        raise StaleRun(email, f"run {run} is over; the e-mail is {state.status}, run {state.run}")
    return state
