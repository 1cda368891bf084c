"""The query of ``GET /v1/emails``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.datastructures import QueryParams

from service.email import times
from service.email.faults import Fault, InvalidRequest, unknown
from service.email.record import Status
from service.store.listing import Filter

MOST = 100
DEFAULT = 20
_LONGEST = 500
_LONGEST_CURSOR = 18


@dataclass(frozen=True, slots=True)
class Listing:
    """Which page of which e-mails is asked for."""

    where: Filter
    limit: int
    after: int | None
    before: int | None


def parse(query: QueryParams) -> Listing:
    """Read the query of a list.

    Raises:
        InvalidRequest: A parameter is unknown, given twice, or wrong; it names all of them.
    """
    found: dict[str, Any] = {}
    faults = []
    for name in dict.fromkeys(query.keys()):
        read = _PARAMETERS.get(name)
        if read is None:
            faults.append(Fault(name[:_LONGEST], unknown(name, _PARAMETERS)))
        elif len(query.getlist(name)) > 1:
            faults.append(Fault(name, "is given more than once"))
        else:
            try:
                found[name] = read(query[name])
            except ValueError as error:
                faults.append(Fault(name, str(error)))
    if "after" in query and "before" in query:
        faults.append(Fault("before", "cannot be used together with after"))
    if faults:
        raise InvalidRequest(sorted(faults))
    limit, after, before = found.pop("limit", DEFAULT), found.pop("after", None), found.pop("before", None)
    return Listing(Filter(**found), limit, after, before)


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Status)}") from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MOST):
        raise ValueError(f"must be a whole number from 1 to {MOST}")
    return int(text)


def _cursor(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_CURSOR):
        raise ValueError("must be a cursor that an earlier answer gave")
    return int(text)


def _text(text: str) -> str:
    if not 1 <= len(text) <= _LONGEST:
        raise ValueError(f"must be 1 to {_LONGEST} characters long")
    return text


def _moment(text: str) -> datetime:
    # In a query, "+" means a blank: an offset typed in by hand arrives as one.
    return times.parse(text.replace(" ", "+"))


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "status": _status,
    "to": _text,
    "tag": _text,
    "scheduled_after": _moment,
    "scheduled_before": _moment,
    "q": _text,
    "limit": _limit,
    "after": _cursor,
    "before": _cursor,
}
