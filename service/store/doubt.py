"""Which e-mails must wait for a person, since lines of the log are lost that may have told what became of them.

An e-mail that is not final would be sent by what its newest line says. So it is held, as one whose outcome is unknown:

1. if a lost line was its own: the line's beginning can still be read, or its revisions have a gap where lines are lost
   (an edit may have been among them: what would be sent may not be what was wanted);
2. if a lost line cannot be told to be another record's, the e-mail has no line that is younger, and it was due when the
   line was written: the line may have been its ``sending``, or the outcome of that.

An e-mail that was not due then cannot have been sent. Such a line may have cancelled or changed it all the same;
holding everything that waits would stop the service for that, so those are counted and told instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from service.email import steps
from service.email.ids import is_email_id
from service.email.record import Email
from service.store import records
from service.store.log import Draft
from service.store.rows import Row
from service.store.salvage import Flaw, Salvage

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
            if _is_known(salvage, head.id, head.rev):
                ids.add(head.id)
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


def _is_known(salvage: Salvage, subject: str, rev: int) -> bool:
    """Can what is read of a damaged line be believed? It fits what is there, or it is no line of an e-mail."""
    if not is_email_id(subject):
        return subject == "" or ":" in subject
    row = salvage.index.row(subject)
    return rev == 1 if row is None else rev == row.rev + 1 or any(gap.email_id == subject for gap in salvage.gaps)


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
