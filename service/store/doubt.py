"""Which e-mails must wait for a person, since lines of the log are lost that may have told what became of them.

An e-mail that is not final would be sent by what its newest line says. So it is held, as one whose outcome is unknown:

1. if a lost line was its own: the line's beginning can still be read, be it with a slip in the id, or its revisions
   have a gap where lines are lost (an edit may have been among them: what would be sent may not be what was wanted);
2. if a lost line cannot be told to be another record's, the e-mail has no line that is younger, and it was due when the
   line was written: the line may have been its ``sending``, or the outcome of that.

An e-mail that was not due then cannot have been sent. Such a line may have cancelled or changed it all the same;
holding everything that waits would stop the service for that, so those are counted and told instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import ne

from service.email import steps
from service.email.ids import PREFIX, is_email_id
from service.email.record import Email
from service.store import records
from service.store.log import Draft
from service.store.pieces import Head
from service.store.rows import Row
from service.store.salvage import Flaw, Salvage

_SLIPS = 2
"""Letters that damage to a word may have changed before nothing is made of it any more."""

_SAMPLE = PREFIX + "0" * 26
_ERROR = "lines of the log were lost that may have said that it was sent"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is not known.

    Attributes:
        ids: E-mails to hold.
        changed: How many others may have been cancelled or changed.
    """

    ids: list[str]
    changed: int


def judge(salvage: Salvage, now: str) -> Doubt:
    """Go through what was lost from the journal; *now* is the latest that it can have been written."""
    lost = [flaw for flaw in salvage.flaws if flaw.lost]
    ids: set[str] = set()
    left = {id(flaw): flaw.lost for flaw in lost}
    for flaw in lost:
        for head in flaw.heads:
            whose = _owners(salvage, head)
            if whose is not None:
                ids |= whose
                left[id(flaw)] -= 1
    for gap in salvage.gaps:
        inside = [flaw for flaw in lost if gap.after < flaw.first + flaw.lost and flaw.first < gap.before]
        if inside:
            ids.add(gap.email_id)
        if len(inside) == 1 and gap.email_id not in {head.id for head in inside[0].heads}:
            left[id(inside[0])] -= gap.missing
    unclear = [flaw for flaw in lost if left[id(flaw)] > 0]
    changed = 0
    if unclear:
        due, changed = _with_no_younger_line(salvage, unclear, now)
        ids |= due
    open_rows = (row for one in sorted(ids) if (row := salvage.index.row(one)) is not None and row.due is not None)
    return Doubt([row.id for row in open_rows], changed)


def held(salvage: Salvage, email_id: str, at: str) -> Draft:
    """The line that holds an e-mail."""
    row = salvage.index.row(email_id)
    assert row is not None
    newest, content = salvage.fetch(salvage.index.newest_of(row)), salvage.fetch(row.content)
    email = records.read_email(content, newest, row.created_at)
    change = steps.hold(replace(email.state, last_error=_ERROR), (), {"repaired": True})
    return records.changed(Email(email.id, email.rev + 1, email.created_at, email.content, change.state), change, at)


def _owners(salvage: Salvage, head: Head) -> set[str] | None:
    """The e-mails that a damaged line may have been about, by what can be read of it; None if that cannot be told.

    The damage may lie in the id itself: all whose ids are nearly the same are taken for it.
    """
    row = salvage.index.row(head.id)
    if row is not None and (head.rev == row.rev + 1 or any(gap.email_id == head.id for gap in salvage.gaps)):
        return {head.id}
    alike = {row.id for row in salvage.index.oldest_first(0) if _slips(row.id, head.id) <= _SLIPS}
    if alike:
        return alike
    if _is_nearly_an_id(head.id):
        return set() if head.rev == 1 else None  # one that is gone with this line
    is_of_email = any(_slips(head.type[: len(prefix)], prefix) <= _SLIPS for prefix in ("email.", "recipient."))
    return None if is_of_email and head.id else set()


def _slips(one: str, other: str) -> int:
    """In how many letters they differ; more than any number that matters if in their length."""
    return sum(map(ne, one, other)) if len(one) == len(other) else len(one) + len(other)


def _is_nearly_an_id(text: str) -> bool:
    """Is it the shape of an e-mail's id but for a few letters?"""
    if len(text) != len(_SAMPLE):
        return False
    right = [is_email_id(_SAMPLE[:n] + letter + _SAMPLE[n + 1 :]) for n, letter in enumerate(text)]
    return right.count(False) <= _SLIPS


def _with_no_younger_line(salvage: Salvage, unclear: Iterable[Flaw], now: str) -> tuple[set[str], int]:
    """E-mails that were due, and how many were not, when lines were written that may have been theirs."""
    due: set[str] = set()
    others: set[str] = set()
    rows = [row for row in salvage.index.oldest_first(0) if row.due is not None]
    for row in rows:
        newest = _newest(salvage, row)
        for flaw in unclear:
            if newest < flaw.first:
                (due if (row.due or "") <= (flaw.by or now) else others).add(row.id)
    return due, len(others - due)


def _newest(salvage: Salvage, row: Row) -> int:
    return salvage.fetch(salvage.index.newest_of(row))["seq"]
