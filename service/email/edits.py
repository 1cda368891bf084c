"""Changes that people and other servers make to an e-mail beside its sending: an edit, a bounce.

Pure functions like those of `service.email.life`, called under the store's lock.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from service.email import outcomes
from service.email.record import FINAL, Change, Content, Email, Recipient, RecipientStatus, State, Status
from service.email.steps import WrongState


class StaleRevision(Exception):
    """The e-mail is not the revision any more that the caller meant; nothing was written."""

    def __init__(self, email: Email, rev: int) -> None:
        super().__init__(f"{email.id} is at revision {email.rev}, not {rev}")
        self.email_id = email.id
        self.rev = email.rev


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to be different; None leaves it as it is.

    Attributes:
        content: Replaces all of it: what is not to change has to be in it.
        addresses: The envelope that goes with `content`.
        scheduled_at: The new time; the e-mail gets a new job.
    """

    content: Content | None = None
    addresses: Sequence[str] | None = None
    scheduled_at: datetime | None = None
    max_retries: int | None = None
    retry_until: datetime | None = None


def check_rev(email: Email, rev: int | None) -> None:
    """Refuse what was meant for another revision than this; None is meant for any.

    Raises:
        StaleRevision: It was.
    """
    if rev is not None and rev != email.rev:
        raise StaleRevision(email, rev)


def edit(email: Email, edit: Edit, *, rev: int | None = None, suppressed: Container[str] = ()) -> Change | None:
    """Change what is not being sent. The content is fixed from the first run on, so that every attempt sends the same.

    Returns:
        The change, or None where everything is so already.

    Raises:
        StaleRevision: It is not at revision *rev* any more.
        WrongState: It is being sent or final; or its content is to change, and it was attempted already.
    """
    check_rev(email, rev)
    state = email.state
    if state.status not in (Status.SCHEDULED, Status.RETRYING):
        raise WrongState(email, "change")
    content = None if edit.content == email.content else edit.content
    if content is not None and (state.status is not Status.SCHEDULED or state.run > 0):
        raise WrongState(email, "change the content of")
    changed = _timed(state, edit)
    if content is not None and edit.addresses is not None:
        recipients = tuple(Recipient(address) for address in edit.addresses)
        changed = replace(changed, recipients=outcomes.suppress(recipients, suppressed))
    if content is None and changed == state:
        return None
    detail = {"changed": sorted(_names(email, edit))}
    return Change("email.updated", changed, content, detail=detail)


def bounce(email: Email, address: str, *, code: int | None, reply: str) -> Change | None:
    """Note that the message came back from a recipient whose server had taken it; None if that is known.

    Args:
        email: The record under the lock.
        address: The recipient, as the record has it.
        code: The server's three-digit code, where the report has it.
        reply: What the server said.

    Raises:
        WrongState: It was not sent to *address*, or is being sent.
        LookupError: *address* is none of its recipients.
    """
    state = email.state
    found = next((one for one in state.recipients if one.address == address), None)
    if found is None:
        raise LookupError(address)
    waits = found.status is RecipientStatus.PENDING and state.status not in FINAL
    if waits or state.run == 0 or found.status is RecipientStatus.SUPPRESSED:
        raise WrongState(email, "bounce")
    if found.status is RecipientStatus.BOUNCED:
        return None
    bounced = Recipient(address, RecipientStatus.BOUNCED, code, reply)
    recipients = tuple(bounced if one is found else one for one in state.recipients)
    detail = {"address": address, "code": code, "reply": reply}
    return Change("recipient.bounced", replace(state, recipients=recipients), detail=detail)


def _timed(state: State, edit: Edit) -> State:
    changed = replace(
        state,
        max_retries=state.max_retries if edit.max_retries is None else edit.max_retries,
        retry_until=state.retry_until if edit.retry_until is None else edit.retry_until,
    )
    if edit.scheduled_at is None or edit.scheduled_at == state.next_attempt_at == state.scheduled_at:
        return changed
    return replace(changed, gen=state.gen + 1, scheduled_at=edit.scheduled_at, next_attempt_at=edit.scheduled_at)


def _names(email: Email, edit: Edit) -> set[str]:
    """What an edit changes, by the names of the API."""
    asked = {
        "scheduled_at": (edit.scheduled_at, email.state.next_attempt_at),
        "max_retries": (edit.max_retries, email.state.max_retries),
        "retry_until": (edit.retry_until, email.state.retry_until),
        "content": (edit.content, email.content),
    }
    return {name for name, (wanted, present) in asked.items() if wanted is not None and wanted != present}
