"""The suppression list as the store keeps it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from service import suppression
from service.store.store import Store
from service.store.transaction import Transaction
from service.suppression import Reason
from tests.unit.store_emails import opened


async def fill(store: Store, count: int) -> None:
    """Suppress u000000@example.org and so on; one of a thousand complained, the others bounced."""
    for start in range(0, count, 1_000):

        def add(it: Transaction, start: int = start) -> None:
            for n in range(start, min(start + 1_000, count)):
                suppression.add(it, f"u{n:06}@example.org", Reason.BOUNCE if n % 1_000 else Reason.COMPLAINT)

        await store.write(add)


@pytest.mark.parametrize(
    ("address", "normal"),
    [
        ("Ann@example.org", "ann@example.org"),
        ("ANN+tag@EXAMPLE.org", "ann+tag@example.org"),
        ("JÖRG@bücher.example", "jörg@bücher.example"),
        ("JO\u0308RG@bücher.example", "jörg@bücher.example"),
    ],
)
def test_addresses_are_compared_in_one_form(address: str, normal: str) -> None:
    """In lower case, and composed."""
    assert suppression.normal(address) == normal == suppression.normal(normal)


async def test_those_of_a_list_are_found(tmp_path: Path) -> None:
    """As they are written in the list; after a restart, too."""
    async with opened(tmp_path) as store:
        await store.write(lambda it: suppression.add(it, "Ann@example.org", Reason.MANUAL))
    async with opened(tmp_path) as store:
        found = suppression.suppressed(store, ["ANN@example.org", "bob@example.org", "ann@example.org"])
        assert found == {"ANN@example.org", "ann@example.org"}
        assert await suppression.remove(store, "aNN@example.org")
        assert not await suppression.remove(store, "aNN@example.org")
        assert suppression.suppressed(store, found) == frozenset()


async def test_a_hundred_thousand_are_cheap(tmp_path: Path) -> None:
    """Looking up costs what it costs with one, and a page or the rare entries of a reason are found."""
    async with opened(tmp_path) as store:
        await fill(store, 100_000)
        many = [f"x{n}@example.org" for n in range(1_000)] + ["u050000@example.org", "U099999@example.org"]
        began = time.process_time()
        found = suppression.suppressed(store, many)
        assert time.process_time() - began < 1  # a scan of the list for each would take minutes
        assert found == {"u050000@example.org", "U099999@example.org"}
        page = suppression.page(store, 2, after="u050000@example.org")
        assert ([one.address[:7] for one in page.data], page.has_more) == (["u050001", "u050002"], True)
        rare = suppression.page(store, 2, after="u010000@example.org", reason=Reason.COMPLAINT)
        assert ([one.address[:7] for one in rare.data], rare.has_more) == (["u011000", "u012000"], True)
        last = suppression.page(store, 2, after="u098000@example.org", reason=Reason.COMPLAINT)
        assert ([one.address[:7] for one in last.data], last.has_more) == (["u099000"], False)
