"""What a report changes: the record of the e-mail it is about, and the suppression list.

A report is a message like any other, and anybody can write one. It counts only where it names an e-mail that was sent
from here, by its Message-ID, which nobody can guess, and one of its recipients: who can write that has the message.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from service import suppression
from service.bounces.report import Action, Report, Reported
from service.email import edits, mailbox, reports
from service.email.mailbox import InvalidMailbox
from service.email.record import Email
from service.email.steps import WrongState
from service.store.store import Store
from service.store.transaction import Transaction
from service.suppression import Reason


class UnknownEmail(LookupError):
    """A report is about no e-mail that was sent from here; it changed nothing."""


class UnknownRecipients(LookupError):
    """A report is about an e-mail from here, and about none of its recipients; it changed nothing."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What came of a report for one recipient.

    Attributes:
        address: As the record has it.
        recorded: Whether the record tells of it.
        suppressed: Whether the address gets nothing any more because of this.
    """

    address: str
    reported: Reported
    recorded: bool
    suppressed: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a report.

    Attributes:
        strangers: Addresses in it to which the e-mail was not sent.
    """

    email_id: str
    recipients: tuple[Noted, ...]
    strangers: tuple[str, ...]


async def take(store: Store, report: Report) -> Taken:
    """Write down what *report* says; a second time it changes nothing but for delays, which are told each time.

    Raises:
        UnknownEmail: It is about no e-mail that was sent from here.
        UnknownRecipients: It is about none of the e-mail's recipients.
        StoreUnavailable: Nothing was changed; repeating is safe.
    """
    return await store.write(partial(_take, report=report))


def _take(transaction: Transaction, report: Report) -> Taken:
    email = _find(transaction, report)
    noted, strangers = [], []
    for reported in report.recipients:
        address = _recipient(email, reported)
        if address is None:
            strangers.append(reported.addresses[0] if reported.addresses else "")
        else:
            noted.append(_note(transaction, email, address, reported))
    if not noted:
        raise UnknownRecipients(email.id)
    return Taken(email.id, tuple(noted), tuple(filter(None, strangers)))


def _find(transaction: Transaction, report: Report) -> Email:
    for message_id in report.message_ids:
        email = transaction.get(message_id.partition("@")[0])
        if email is not None and email.state.run and email.content.message_id.lower() == f"<{message_id}>".lower():
            return email
    raise UnknownEmail(report.message_ids[0])


def _recipient(email: Email, reported: Reported) -> str | None:
    """The recipient that is meant: the only one is, whatever the report calls it, for it may have been forwarded."""
    known = {suppression.normal(one.address): one.address for one in email.state.recipients}
    if len(known) == 1:
        return next(iter(known.values()))
    named = (known.get(suppression.normal(_written_as_here(address))) for address in reported.addresses)
    return next(filter(None, named), None)


def _written_as_here(address: str) -> str:
    """*address* with its domain in Unicode, as records have it."""
    try:
        return mailbox.parse(address).address
    except InvalidMailbox:
        return address


def _note(transaction: Transaction, email: Email, address: str, reported: Reported) -> Noted:
    code, text = reported.code, reported.text
    if reported.action is Action.FAILED:
        recorded = _bounced(transaction, email, address, reported)
        if reported.is_hard:
            suppression.add(transaction, address, Reason.BOUNCE, email_id=email.id, detail=text or reported.status)
        return Noted(address, reported, recorded, reported.is_hard)
    if reported.action is Action.DELAYED:
        transaction.change(email.id, lambda it: reports.delayed(it, address, code=code, reply=text))
        return Noted(address, reported, recorded=True, suppressed=False)
    if reported.action is Action.COMPLAINT:
        before = suppression.find(transaction, address)
        entry = suppression.add(transaction, address, Reason.COMPLAINT, email_id=email.id, detail=text)
        if entry != before or entry.email_id != email.id:
            transaction.change(email.id, lambda it: reports.complained(it, address, kind=text))
        return Noted(address, reported, recorded=True, suppressed=True)
    return Noted(address, reported, recorded=False, suppressed=False)


def _bounced(transaction: Transaction, email: Email, address: str, reported: Reported) -> bool:
    """Mark the recipient; False while that cannot be: it is tried again, or never got the message."""
    try:
        transaction.change(email.id, lambda it: edits.bounce(it, address, code=reported.code, reply=reported.text))
    except WrongState:
        return False
    return True
