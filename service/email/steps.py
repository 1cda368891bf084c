"""The pieces that the steps of an e-mail's life are made of, and the errors that refuse a step."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from datetime import datetime
from typing import Any

from service.email.record import Change, Email, RecipientStatus, State, Status
from service.email.times import to_z


class WrongState(Exception):
    """The e-mail stands where this step is not allowed; nothing was written."""

    def __init__(self, email: Email, step: str) -> None:
        super().__init__(f"{email.id} is {email.state.status}; it is not possible to {step} it")
        self.email_id = email.id
        self.status = email.state.status
        self.step = step


class StaleRun(Exception):
    """The record moved on since the caller read it: another run owns the e-mail, or it was edited."""

    def __init__(self, email: Email, message: str) -> None:
        super().__init__(f"{email.id}: {message}")
        self.email_id = email.id
        self.status = email.state.status
        self.run = email.state.run


def rest(state: State, status: Status) -> State:
    """*state* in *status*, without what belongs to the status before."""
    return replace(state, status=status, reason=None, next_attempt_at=None, by=None, sending_since=None)


def finish(state: State, reason: str, detail: dict[str, Any]) -> Change:
    """Every recipient is final: completed if the message was accepted for one of them, else failed.

    It was accepted, too, for those whose servers sent it back later.
    """
    detail = {"attempts": state.attempts, **detail}
    if any(one.status in (RecipientStatus.ACCEPTED, RecipientStatus.BOUNCED) for one in state.recipients):
        return Change("email.completed", rest(state, Status.COMPLETED), detail=detail)
    failed = replace(rest(state, Status.FAILED), reason=reason)
    return Change("email.failed", failed, detail={"reason": reason, **detail})


def again(state: State, event: str, at: datetime, reason: str, error: str | None, detail: dict[str, Any]) -> Change:
    """*state* waits until *at* for another run, but not beyond `retry_until`, when it is given up."""
    at = min(at, state.retry_until)
    waiting = replace(rest(state, Status.RETRYING), next_attempt_at=at, reason=reason, last_error=error)
    told = {"reason": reason, "attempts": state.attempts, "next_attempt_at": to_z(at), "error": error, **detail}
    return Change(event, waiting, detail=told)


def hold(state: State, answered: Container[str], detail: dict[str, Any]) -> Change:
    """*state* waits for a person; the message may have reached the pending recipients that are not in *answered*."""
    recipients = tuple(
        replace(one, status=RecipientStatus.UNKNOWN)
        if one.status is RecipientStatus.PENDING and one.address not in answered
        else one
        for one in state.recipients
    )
    held = replace(rest(state, Status.HELD), recipients=recipients, reason="unknown")
    return Change("email.held", held, detail={"reason": "unknown", "error": state.last_error, **detail})
