"""Listing: filters, order, cursors."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.email.record import Change, Status
from service.store import listing
from service.store.agenda import Agenda
from service.store.listing import Filter
from service.store.rows import Row
from service.store.store import Store
from tests.unit.store_emails import NOW, cancel, email, opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store with five e-mails, accepted in the order of their names."""
    async with opened(tmp_path) as store:
        await store.accept([email("1", to="Bob <BOB@Example.com>", subject="Grüße", tags=("a", "b"))])
        await store.accept([email("2", tags=("b",)), email("3", subject="Invoice 7")])
        await store.accept([email("4", scheduled_at=NOW + timedelta(days=1))])
        await store.change("em_2", cancel)
        await store.accept([email("5", to="carl@example.org")])
        yield store


def names(store: Store, where: Filter) -> str:
    """The last letters of the ids that *where* finds."""
    return "".join(one.id[-1] for one in store.page(where, 100).data)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(), "54321"),
        (Filter(status=Status.CANCELLED), "2"),
        (Filter(status=Status.SCHEDULED), "5431"),
        (Filter(to="bob@example.COM"), "1"),
        (Filter(to="bob"), ""),
        (Filter(tag="b"), "21"),
        (Filter(tag="B"), ""),
        (Filter(scheduled_after=NOW + timedelta(days=1)), "4"),
        (Filter(scheduled_before=NOW + timedelta(days=1)), "5321"),
        (Filter(scheduled_after=NOW + timedelta(hours=1), scheduled_before=NOW + timedelta(hours=2)), "5321"),
        (Filter(q="GRÜSSE"), "1"),
        (Filter(q="GRÜ"), "1"),
        (Filter(q="bob <b"), "1"),
        (Filter(q="ann"), "54321"),
        (Filter(q="example.org"), "5"),
        (Filter(q="invoice", status=Status.CANCELLED), ""),
        (Filter(q="hi"), ""),
    ],
)
async def test_filters(store: Store, where: Filter, expected: str) -> None:
    """Each filter finds what it says, all of them together what each finds."""
    assert names(store, where) == expected


async def test_pages_go_both_ways(store: Store) -> None:
    """`after` goes to older ones, `before` back to newer ones, and `has_more` tells of the rest in that direction."""

    def page(limit: int, **cursor: int | None) -> tuple[str, bool]:
        found = store.page(Filter(), limit, **cursor)
        return "".join(one.id[-1] for one in found.data), found.has_more

    first = store.page(Filter(), 2)
    second = store.page(Filter(), 2, after=first.last)
    assert ([one.id for one in first.data], first.has_more) == (["em_5", "em_4"], True)
    assert ([one.id for one in second.data], second.has_more) == (["em_3", "em_2"], True)
    assert page(2, after=second.last) == ("1", False)
    assert page(1, before=second.first) == ("4", True)
    assert page(2, before=second.first) == ("54", False)
    assert page(5, before=first.first) == ("", False)
    empty = store.page(Filter(tag="none"), 2)
    assert (empty.data, empty.first, empty.last, empty.has_more) == ([], None, None, False)


async def test_an_edit_changes_what_finds_the_email(store: Store, tmp_path: Path) -> None:
    """After an edit the new subject finds it and the old one does not; its place in the list stays."""
    content = replace(email("3").content, subject="Reminder")
    await store.change("em_3", lambda current: Change("email.updated", current.state, content))
    assert (names(store, Filter(q="invoice")), names(store, Filter(q="reminder"))) == ("", "3")
    assert names(store, Filter()) == "54321"
    async with opened(tmp_path) as again:
        assert (names(again, Filter(q="reminder")), names(again, Filter())) == ("3", "54321")


async def test_what_is_not_final_comes_in_the_order_it_is_due(store: Store) -> None:
    """`upcoming` lists what waits by its time, then by id, page by page, and filters it; a final one is not in it."""
    await store.accept([email("6", scheduled_at=NOW + timedelta(minutes=1), tags=("b",))])

    def page(
        limit: int, where: Filter, after: tuple[str, str] | None = None
    ) -> tuple[str, tuple[str, str] | None, bool]:
        found = store.upcoming(where, limit, after=after)
        return "".join(one.id[-1] for one in found.data), found.last, found.has_more

    names_, cursor, more = page(3, Filter())
    assert (names_, cursor, more) == ("613", ("2026-11-24T13:00:00.000000Z", "em_3"), True)
    names_, cursor, more = page(3, Filter(), cursor)
    assert (names_, cursor, more) == ("54", ("2026-11-25T12:00:00.000000Z", "em_4"), False)
    assert page(3, Filter(), cursor) == ("", None, False)
    assert page(9, Filter(tag="b"))[::2] == ("61", False)
    assert page(1, Filter(tag="b"))[::2] == ("6", True)
    assert page(9, Filter(status=Status.CANCELLED)) == ("", None, False)


def test_where_a_list_ends_is_settled_while_nothing_is_added(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an e-mail that another thread is adding only some of the numbers are there: it is not looked at."""
    free: list[bool] = []
    candidates = listing.candidates

    def watched(*args: Any, **options: Any) -> Iterator[Row]:
        other = threading.Thread(target=lambda: free.append(store._mutex.acquire(timeout=0)))
        other.start()
        other.join()
        return candidates(*args, **options)

    monkeypatch.setattr(listing, "candidates", watched)
    assert names(store, Filter()) == "54321"
    assert free == [False]


def test_a_mailing_that_is_due_in_one_second_is_not_sorted_for_every_page() -> None:
    """So much is looked at as was asked for, and going on from there nothing is missed or seen twice."""
    agenda = Agenda()
    whole = [(f"2026-11-24T09:00:0{n % 2}.00000{n % 3}Z", f"em_{n:03}") for n in range(50)]
    for due, email_id in whole:
        agenda.add(email_id, due)
    found: list[tuple[str, str]] = []
    lengths = []
    while part := agenda.following(*(found[-1] if found else ("", "")), 20):
        lengths.append(len(part))
        found += part
    assert (found, lengths) == (sorted(whole), [20, 20, 10])
