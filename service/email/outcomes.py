"""What an SMTP server's answers mean for each recipient of an e-mail."""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import replace
from typing import Any

from service.email.record import Ending, Outcome, Recipient, RecipientStatus, Reply, Stage


def pending(recipients: tuple[Recipient, ...]) -> tuple[str, ...]:
    """The addresses that are still to be tried."""
    return tuple(one.address for one in recipients if one.status is RecipientStatus.PENDING)


def suppress(recipients: tuple[Recipient, ...], suppressed: Container[str]) -> tuple[Recipient, ...]:
    """The recipients once those in *suppressed* that are still to be tried get nothing any more."""
    return tuple(
        replace(one, status=RecipientStatus.SUPPRESSED)
        if one.status is RecipientStatus.PENDING and one.address in suppressed
        else one
        for one in recipients
    )


def apply(recipients: tuple[Recipient, ...], outcome: Outcome) -> tuple[Recipient, ...]:
    """The recipients after *outcome*: each pending one follows the answer it got, or stays as it is without one.

    A 2xx counts only when the whole transaction was answered: before that it is a promise about RCPT alone.
    """
    return tuple(
        _answered(one, outcome.replies[one.address], outcome.ending is Ending.ANSWERED)
        if one.status is RecipientStatus.PENDING and one.address in outcome.replies
        else one
        for one in recipients
    )


def give_up(recipients: tuple[Recipient, ...], *, unknown: Collection[str] = ()) -> tuple[Recipient, ...]:
    """The recipients once nobody tries any more: pending ones are refused, those in *unknown* unknown."""
    return tuple(
        replace(one, status=RecipientStatus.UNKNOWN if one.address in unknown else RecipientStatus.REFUSED)
        if one.status is RecipientStatus.PENDING
        else one
        for one in recipients
    )


def unanswered(recipients: tuple[Recipient, ...], outcome: Outcome) -> tuple[str, ...]:
    """The addresses still pending that *outcome* says nothing about."""
    return tuple(
        one.address
        for one in recipients
        if one.status is RecipientStatus.PENDING and one.address not in outcome.replies
    )


def last_words(outcome: Outcome) -> str | None:
    """What the server said against the message, in one sentence; None when it took it for everybody.

    Which recipient it was about is said unless all got the same answer.
    """
    against = {address: reply for address, reply in outcome.replies.items() if not _is_taken(reply)}
    if not against:
        return None
    address, reply = next(iter(against.items()))
    alike = len(against) == len(outcome.replies) and len({str(other) for other in against.values()}) == 1
    return str(reply) if alike else f"{address}: {reply}"


def to_json(outcome: Outcome) -> dict[str, Any]:
    """What an event tells of *outcome*: the answers by address, and the error where there is one."""
    told: dict[str, Any] = {
        "replies": {address: {"code": reply.code, "reply": reply.text} for address, reply in outcome.replies.items()}
    }
    error = outcome.error or last_words(outcome)
    if error is not None:
        told["error"] = error
    return told


def _answered(recipient: Recipient, reply: Reply, whole: bool) -> Recipient:
    if _is_taken(reply):
        if not whole:
            return recipient
        status = RecipientStatus.ACCEPTED
    elif _is_final(reply):
        status = RecipientStatus.REFUSED
    else:
        status = RecipientStatus.PENDING
    return Recipient(recipient.address, status, reply.code, reply.text)


def _is_taken(reply: Reply) -> bool:
    return 200 <= reply.code <= 299


def _is_final(reply: Reply) -> bool:
    return 500 <= reply.code <= 599 and not (reply.code == 552 and reply.stage is Stage.RCPT)
