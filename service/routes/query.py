"""The query of ``GET /v1/emails``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.datastructures import QueryParams

from service.email import times
from service.email.faults import Fault, InvalidRequest, unknown
from service.email.record import Status
from service.routes.shapes import StatusName
from service.store.listing import Filter

MOST = 100
DEFAULT = 20
_LONGEST = 500
_LONGEST_CURSOR = 18
_TIME_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)\.(em_[0-9A-Z]{26})", re.ASCII)
_BAD_CURSOR = "must be a cursor that an earlier answer gave"


class ListQuery(BaseModel):
    """The parameters of a list of e-mails."""

    status: StatusName | None = None
    to: str | None = Field(None, min_length=1, max_length=_LONGEST)
    tag: str | None = Field(None, min_length=1, max_length=_LONGEST)
    scheduled_after: datetime | None = None
    scheduled_before: datetime | None = None
    q: str | None = Field(None, min_length=1, max_length=_LONGEST)
    sort: Literal["scheduled_at"] | None = None
    limit: int = Field(DEFAULT, ge=1, le=MOST)
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Which page of which e-mails is asked for.

    Attributes:
        by_time: Whether only what is not final is asked for, in the order it is due.
        after_time: The cursor where it is.
    """

    where: Filter
    limit: int
    after: int | None
    before: int | None
    by_time: bool = False
    after_time: tuple[str, str] | None = None


def parse(query: QueryParams) -> Listing:
    """Read the query of a list.

    Raises:
        InvalidRequest: A parameter is unknown, given twice, or wrong; it names all of them.
    """
    found: dict[str, Any] = {}
    faults = []
    by_time = query.getlist("sort") == ["scheduled_at"]
    for name in dict.fromkeys(query.keys()):
        read = _time_cursor if by_time and name == "after" else _PARAMETERS.get(name)
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
    if by_time and "before" in query:
        faults.append(Fault("before", "cannot be used together with sort"))
    if faults:
        raise InvalidRequest(sorted(faults))
    found.pop("sort", None)
    limit, after, before = found.pop("limit", DEFAULT), found.pop("after", None), found.pop("before", None)
    if by_time:
        return Listing(Filter(**found), limit, None, None, by_time, after)
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
        raise ValueError(_BAD_CURSOR)
    return int(text)


def _time_cursor(text: str) -> tuple[str, str]:
    match = _TIME_CURSOR.fullmatch(text)
    if match is None:
        raise ValueError(_BAD_CURSOR)
    return match[1], match[2]


def _sort(text: str) -> str:
    if text != "scheduled_at":
        raise ValueError("must be scheduled_at, which lists what is not final; leave it out for the newest first")
    return text


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
    "sort": _sort,
    "limit": _limit,
    "after": _cursor,
    "before": _cursor,
}
