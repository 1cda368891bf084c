"""Choosing e-mails from the index, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from service.email.record import Email, Status
from service.email.times import to_z
from service.store.index import Index
from service.store.rows import Row
from service.store.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What an e-mail has to be like; None leaves it open.

    Attributes:
        to: The address of one of its recipients (to, cc or bcc), in any case.
        tag: One of its tags, exactly.
        scheduled_after: It is scheduled for this moment or later.
        scheduled_before: It is scheduled for an earlier moment.
        q: Part of its subject, an address, a display name or a tag, in any case.
    """

    status: Status | None = None
    to: str | None = None
    tag: str | None = None
    scheduled_after: datetime | None = None
    scheduled_before: datetime | None = None
    q: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some e-mails, the newest accepted first.

    Attributes:
        first: Cursor of the first of them (for the page before), None when there are none.
        last: Cursor of the last of them (for the page after).
        has_more: Whether there are more in the direction that was asked for.
    """

    data: list[Email]
    first: int | None
    last: int | None
    has_more: bool


@dataclass(frozen=True, slots=True)
class Upcoming:
    """Some e-mails that are not final, in the order in which they are due.

    Attributes:
        last: Cursor of the last of them: when it is due, and its id; None when there are none.
        has_more: Whether there are more after it.
    """

    data: list[Email]
    last: tuple[str, str] | None
    has_more: bool


def candidates(index: Index, where: Filter, *, after: int | None, before: int | None) -> Iterator[Row]:
    """The e-mails of which those like *where* are among: older than *after*, newest first; or newer than *before*."""
    needle = next(_needles(index.words, where), None)
    if before is not None:
        return index.oldest_first(before) if needle is None else index.found_oldest_first(needle, before)
    return index.newest_first(after) if needle is None else index.found_newest_first(needle, after)


def choose(rows: Iterator[Row], where: Filter, limit: int, words: Words) -> tuple[list[Row], bool]:
    """The first of *rows*, at most *limit* and at least 1, that are like *where*; and whether there are more."""
    found = list(islice(_matching(rows, where, words), limit + 1))
    return found[:limit], len(found) > limit


def _needles(words: Words, where: Filter) -> Iterator[bytes]:
    """What must be among an e-mail's words."""
    if where.to is not None:
        yield words.to(where.to)
    if where.tag is not None:
        yield words.tag(where.tag)
    if where.q:
        yield words.part(where.q)


def _matching(rows: Iterator[Row], where: Filter, words: Words) -> Iterator[Row]:
    if where.status is not None:
        rows = (row for row in rows if row.status is where.status)
    for needle in _needles(words, where):
        rows = (row for row in rows if words.has(row.number, needle))
    if where.scheduled_after is not None:
        earliest = to_z(where.scheduled_after)
        rows = (row for row in rows if row.scheduled_at >= earliest)
    if where.scheduled_before is not None:
        end = to_z(where.scheduled_before)
        rows = (row for row in rows if row.scheduled_at < end)
    return rows
