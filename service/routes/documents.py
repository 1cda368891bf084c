"""What the endpoints of named things read from a request: the name, the page of a list, the revision that is meant."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import BaseModel, Field
from starlette.datastructures import QueryParams
from starlette.requests import Request

from service.email.faults import Fault, InvalidRequest, unknown

MOST = 100
DEFAULT = 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TAG = re.compile(r'"([0-9]{1,9})"')
_LONGEST = 500


class PageQuery(BaseModel):
    """The parameters of a list of named things, which come in the order of their names."""

    limit: int = Field(DEFAULT, ge=1, le=MOST)
    after: str | None = Field(None, max_length=_LONGEST, description="Only those whose names come after this one.")


class Page(NamedTuple):
    """Which page is asked for."""

    limit: int
    after: str | None


def name_of(request: Request) -> str:
    """The name in the path.

    Raises:
        InvalidRequest: It cannot be one.
    """
    name: str = request.path_params["name"]
    if _NAME.fullmatch(name) is None:
        detail = "must be 1 to 100 letters, digits and ._- of ASCII, the first a letter or a digit"
        raise InvalidRequest([Fault("name", detail)])
    return name


def parse_page(query: QueryParams) -> Page:
    """Read the query of a list.

    Raises:
        InvalidRequest: A parameter is unknown, given twice, or wrong; it names all of them.
    """
    faults = [Fault(name[:_LONGEST], unknown(name, PageQuery.model_fields)) for name in query if name not in _KNOWN]
    faults += [Fault(name, "is given more than once") for name in _KNOWN if len(query.getlist(name)) > 1]
    limit, after = query.get("limit", str(DEFAULT)), query.get("after")
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= 3 and 1 <= int(limit) <= MOST):
        faults.append(Fault("limit", f"must be a whole number from 1 to {MOST}"))
    if after is not None and len(after) > _LONGEST:
        faults.append(Fault("after", f"must be at most {_LONGEST} characters long"))
    if faults:
        raise InvalidRequest(sorted(faults))
    return Page(int(limit), after)


def wanted_rev(request: Request) -> int | None:
    """The revision that ``If-Match`` asks for (RFC 9110, section 13.1.1); None for any, 0 for one that cannot be."""
    given = request.headers.getlist("if-match")
    tags = [tag.strip() for value in given for tag in value.split(",")]
    if not tags or tags == ["*"]:
        return None
    found = _TAG.fullmatch(tags[0])
    return int(found[1]) if found is not None and len(tags) == 1 else 0


_KNOWN = tuple(PageQuery.model_fields)
