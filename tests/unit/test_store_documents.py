"""Documents, notes, idempotency keys and the stream of events: all of them lines of the same log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from service.email.record import Change, Email
from service.store.documents import Document
from service.store.errors import EmailExists, KeyReused
from service.store.idempotency import Key
from service.store.log import Draft
from service.store.records import RECORD, Event
from service.store.store import Store
from service.store.transaction import Transaction
from tests.unit.store_emails import NOW, cancel, email, opened


async def test_a_document_is_read_as_it_was_put(tmp_path: Path) -> None:
    """Each change makes the next revision, which is there after the store was opened again; a deleted one is gone."""
    async with opened(tmp_path) as store:
        first = await store.write(lambda t: t.put("template", "welcome", {"subject": "Hi"}, type="template.created"))
        second = await store.write(lambda t: t.put("template", "welcome", {"subject": "Ho"}, type="template.updated"))
        await store.write(lambda t: t.put("template", "bye", {}, type="template.created"))
        assert first == Document("template", "welcome", 1, NOW, NOW, {"subject": "Hi"})
        assert second == first._replace(rev=2, data={"subject": "Ho"})
        assert [await store.write(lambda t: t.delete("template", "bye", type="template.deleted")) for _ in "12"] == [
            True,
            False,
        ]
    async with opened(tmp_path) as store:
        assert store.document("template", "welcome") == second
        assert store.document("template", "bye") is None
        assert store.document("schedule", "welcome") is None
        assert (store.has("template", "welcome"), store.has("template", "bye")) == (True, False)
        assert (store.count("template"), store.count("schedule")) == (1, 0)


async def test_documents_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Page by page: after a name, as many as asked for."""

    def put(name: str) -> Callable[[Transaction], Document]:
        return lambda t: t.put("suppression", name, {"n": name}, type="suppression.added")

    async with opened(tmp_path) as store:
        for name in "dacb":
            await store.write(put(name))
        assert [one.name for one in store.documents("suppression")] == ["a", "b", "c", "d"]
        assert [one.name for one in store.documents("suppression", after="b", limit=1)] == ["c"]
        assert store.documents("template") == []


async def test_a_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    """What raises leaves neither a document nor an e-mail nor a key behind; others do not mind."""

    def fails(t: Transaction) -> None:
        t.put("key", "k", {}, type="key.created")
        t.change("em_1", cancel)
        raise ZeroDivisionError

    def works(t: Transaction) -> tuple[Document | None, Email | None]:
        t.put("key", "k2", {}, type="key.created")
        return t.document("key", "k2"), t.get("em_1")

    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        with pytest.raises(ZeroDivisionError):
            await store.write(fails)
        document, seen = await store.write(works)
        assert document == Document("key", "k2", 1, NOW, NOW, {})
        assert seen == email("1") == store.get("em_1")
        assert [one.name for one in store.documents("key")] == ["k2"]


async def test_a_key_makes_a_request_happen_once(tmp_path: Path) -> None:
    """The same request again answers what the first one made, as it was accepted; another one is refused."""
    key = Key("k:1", "digest")
    async with opened(tmp_path) as store:
        first = await store.accept_once([email("1"), email("2")], key, {"errors": [7]})
        assert (first.emails, first.replayed, first.extra) == ([email("1"), email("2")], False, {"errors": [7]})
        await store.change("em_1", cancel)
        again = await store.accept_once([email("3")], key)
        assert (again.emails, again.replayed, again.extra) == (first.emails, True, first.extra)
        with pytest.raises(KeyReused):
            await store.accept_once([email("3")], Key("k:1", "other"))
        with pytest.raises(EmailExists):
            await store.accept_once([email("1")], Key("k:2", "digest"))
        assert store.key("k:2", NOW) is None
    async with opened(tmp_path) as store:
        again = await store.accept_once([email("3")], key)
        assert (again.emails, again.replayed, again.extra) == (first.emails, True, first.extra)
        assert store.get("em_3") is None


@pytest.mark.parametrize(
    ("name", "final", "hours", "remembered"),
    [
        ("k", True, 23, True),
        ("k", True, 24, False),
        ("k", False, 24 * 365, True),
        ("schedule:daily:2026-11-24T09:00:00Z", True, 24 * 365, True),
    ],
)
async def test_a_key_is_kept_for_a_day_and_until_its_emails_are_final(
    tmp_path: Path, name: str, final: bool, hours: int, remembered: bool
) -> None:
    """That of a schedule's slot is kept for ever."""
    key = Key(name, "digest")
    clock = NOW

    def now() -> datetime:
        return clock

    store = await Store.open(tmp_path, now=now, min_free=0)
    try:
        await store.accept_once([email("1")], key)
        if final:
            await store.change("em_1", cancel)
        clock = NOW + timedelta(hours=hours)
        assert (await store.accept_once([email("2")], key)).replayed is remembered
    finally:
        await store.close()


async def test_events_of_all_kinds_come_in_the_order_of_the_log(tmp_path: Path) -> None:
    """Those of documents tell that, not what; a note tells all; one reads on where one stopped."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        await store.write(lambda t: t.put("webhook", "w", {"secret": "s"}, type="webhook.created"))
        await store.write(lambda t: t.note("key:k", "key.refused", {"path": "/v1/emails"}))
        await store.change("em_1", cancel)
        await store.change("em_1", lambda _: None)
        found = store.read_events(0, 3)
        assert ([event.type for event in found.events], found.last, found.reset) == (
            ["email.scheduled", "webhook.created", "key.refused"],
            3,
            False,
        )
        assert found.events[1] == Event(2, NOW, "webhook.created", None, 0, {}, subject="webhook:w", rev=1)
        assert found.events[2] == Event(3, NOW, "key.refused", None, 0, {"path": "/v1/emails"}, subject="key:k")
        rest = store.read_events(found.last, 100)
        assert ([event.data["status"] for event in rest.events], rest.last) == (["cancelled"], 4)
        assert rest.events == store.events("em_1")[1:]
        assert store.read_events(4, 10).events == []
        ahead = store.read_events(9, 10)
        assert (ahead.events, ahead.reset) == ([], True)


async def test_one_waits_for_what_is_written_elsewhere(tmp_path: Path) -> None:
    """`changed` is true once there is more than one has seen, whoever wrote it."""
    async with opened(tmp_path) as store, opened(tmp_path) as other:
        assert not await store.changed(0, 0.0)
        await other.accept([email("1")])
        assert await store.changed(0, 5.0)
        assert store.read_events(0, 10).last == 1
        assert not await store.changed(1, 0.0)


async def test_a_recipient_whose_state_is_what_it_was_is_not_told_again(tmp_path: Path) -> None:
    """An event names the recipients that it changed, and no other."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        await store.change("em_1", lambda it: Change("email.updated", it.state))
        assert ["recipients" in event.data for event in store.read_events(0, 9).events] == [False, False]


async def test_an_imported_email_is_no_news(tmp_path: Path) -> None:
    """What happened to it happened elsewhere; its own story has it."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        row = store._index.row("em_1")
        assert row is not None
        line = store._log.fetch(store._index.newest_of(row))
    told = {"seq": 1, "at": line["at"], "type": "email.scheduled", "run": 0, "rev": 1, "data": {}}
    record = Draft(line["at"], "em_1", 1, RECORD, line["data"] | {"events": [told]})
    async with opened(tmp_path / "other") as store:
        await store.write(lambda t: t.drafts.append(record))
        assert store.read_events(0, 9).events == []
        assert [event.type for event in store.events("em_1")] == ["email.scheduled"]
