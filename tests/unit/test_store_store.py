"""Store: what is accepted and changed is there again, for every reader, as the record it was."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from service.email.record import Change, Email, Recipient, RecipientStatus, Status
from service.email.steps import WrongState
from service.store.errors import EmailExists, EmailNotFound
from service.store.records import Event
from service.store.store import Unfinished
from tests.unit.store_emails import LATER, NOW, begin, cancel, email, opened


async def test_an_accepted_email_is_read_as_it_was(tmp_path: Path) -> None:
    """The record comes back whole, now and after the store was opened again."""
    first, second = email("1"), email("2", text="x" * 100_000)
    async with opened(tmp_path) as store:
        assert await store.accept([first, second]) == [first, second]
        assert [store.get(name) for name in ("em_1", "em_2", "em_3")] == [first, second, None]
        identity = store.id
    async with opened(tmp_path) as store:
        assert ([store.get("em_1"), store.get("em_2")], store.id) == ([first, second], identity)


async def test_a_change_sees_the_record_and_makes_the_next_revision(tmp_path: Path) -> None:
    """The state is the new one, the content stays, rev grows by one, and so it is read again."""
    accepted = email("1")
    async with opened(tmp_path) as store:
        await store.accept([accepted])
        sending = await store.change("em_1", begin)
        assert sending == replace(accepted, rev=2, state=sending.state)
        assert (sending.state.status, sending.state.run, sending.state.by) == (Status.SENDING, 1, "p1")
        assert store.get("em_1") == sending
    async with opened(tmp_path) as store:
        assert store.get("em_1") == sending


async def test_an_edit_replaces_the_content(tmp_path: Path) -> None:
    """A change with a content is read with it, also by later changes that have none."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        content = replace(email("1").content, subject="Better")
        await store.change("em_1", lambda current: Change("email.updated", current.state, content))
        cancelled = await store.change("em_1", cancel)
    async with opened(tmp_path) as store:
        assert store.get("em_1") == cancelled
        assert (cancelled.rev, cancelled.content) == (3, content)


async def test_nothing_to_do_writes_nothing(tmp_path: Path) -> None:
    """A decision for None answers the record as it is."""
    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        size = (tmp_path / "journal-0-0000.jsonl").stat().st_size
        assert await store.change("em_1", lambda _: None) == email("1")
        assert (tmp_path / "journal-0-0000.jsonl").stat().st_size == size


async def test_a_refused_request_does_not_disturb_its_neighbours(tmp_path: Path) -> None:
    """Of many concurrent requests each gets its own answer; those that raise leave nothing behind."""
    async with opened(tmp_path) as store:
        await store.accept([email("1"), email("2")])

        def refuse(current: Email) -> Change:
            raise WrongState(current, "touch")

        def spoil(current: Email) -> Change:
            return Change("email.updated", current.state, detail={"not JSON": object()})

        answers = await asyncio.gather(
            store.change("em_1", cancel),
            store.change("em_2", refuse),
            store.change("em_2", spoil),
            store.change("em_none", cancel),
            store.accept([email("3"), email("1")]),
            store.accept([email("4")]),
            store.accept([email("5"), email("5")]),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [
            Email,
            WrongState,
            orjson.JSONEncodeError,
            EmailNotFound,
            EmailExists,
            list,
            EmailExists,
        ]
        kept = [store.get(f"em_{n}") for n in range(1, 6)]
        assert [one and one.state.status for one in kept] == ["cancelled", "scheduled", None, "scheduled", None]


async def test_concurrent_changes_of_one_email_follow_each_other(tmp_path: Path) -> None:
    """Each of them sees what the one before decided, though all are one write: cancel and send cannot both win."""

    def note(current: Email) -> Change:
        return Change("email.updated", replace(current.state, attempts=current.state.attempts + 1))

    async with opened(tmp_path) as store:
        await store.accept([email("1")])
        changed = await asyncio.gather(*(store.change("em_1", note) for _ in range(50)))
        assert [one.state.attempts for one in changed] == list(range(1, 51))
        answers = await asyncio.gather(
            store.change("em_1", begin), store.change("em_1", cancel), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Email, WrongState]
        final = store.get("em_1")
        assert final is not None
        assert (final.state.status, final.rev) == (Status.SENDING, 52)


async def test_many_accepts_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that come while a write is being made durable are one write after it."""
    real, synced = os.fdatasync, []

    def sync(fd: int) -> None:
        synced.append(fd)
        real(fd)

    async with opened(tmp_path) as store:
        monkeypatch.setattr(os, "fdatasync", sync)
        await asyncio.gather(*(store.accept([email(str(n))]) for n in range(500)))
        assert store.get("em_499") is not None
    assert len(synced) < 50


async def test_two_stores_of_one_directory_agree(tmp_path: Path) -> None:
    """Each sees what the other wrote, before it reads and before it decides."""
    async with opened(tmp_path) as one, opened(tmp_path) as two:
        await one.accept([email("1")])
        assert two.get("em_1") == email("1")
        cancelled = await two.change("em_1", cancel)
        with pytest.raises(WrongState):
            await one.change("em_1", begin)
        assert one.get("em_1") == cancelled
        assert (one.alive(two.by), one.alive(one.by), one.alive("ffff"), one.alive("../LOCK")) == (
            True,
            True,
            False,
            False,
        )


async def test_events_tell_what_each_line_changed(tmp_path: Path) -> None:
    """One event a line, with what may be shown of the state, the recipients it changed, and its detail."""
    async with opened(tmp_path) as store:
        await store.accept([email("0")])
        await store.accept([email("1")])
        await store.change("em_1", begin)

        def refuse(current: Email) -> Change:
            refused = (Recipient("b@example.com", RecipientStatus.REFUSED, 550, "no"),)
            state = replace(current.state, status=Status.FAILED, recipients=refused, attempts=1, last_error="550 no")
            return Change("email.failed", replace(state, reason="refused", by=None), detail={"relay": "r1"})

        await store.change("em_1", refuse)
        events = store.events("em_1")
        with pytest.raises(EmailNotFound, match="em_none"):
            store.events("em_none")
    nothing = {"reason": None, "attempts": 0, "next_attempt_at": None, "last_error": None}
    failed = {"status": "failed", "reason": "refused", "attempts": 1, "next_attempt_at": None, "last_error": "550 no"}
    recipient = {"address": "b@example.com", "status": "refused", "code": 550, "reply": "no"}
    begun = {key: value for key, value in events[1].data.items() if key in {"status", "recipients", "attempts"}}
    assert events[0] == Event(
        2,
        NOW,
        "email.scheduled",
        "em_1",
        0,
        {**nothing, "status": "scheduled", "next_attempt_at": "2026-11-24T13:00:00.000000Z"},
        rev=1,
    )
    assert (events[1].seq, events[1].type, events[1].run, begun) == (
        3,
        "email.sending",
        1,
        {"status": "sending", "attempts": 0},
    )
    told = {**failed, "recipients": [recipient], "relay": "r1"}
    assert events[2] == Event(4, NOW, "email.failed", "em_1", 1, told, rev=3)


async def test_what_is_not_final_is_listed_by_its_time(tmp_path: Path) -> None:
    """Due ones come earliest first, as many as asked for; final ones never; one that is being sent by its start."""
    async with opened(tmp_path) as store:
        for minutes in (30, 10, 20, 0):
            await store.accept([email(str(minutes), scheduled_at=NOW + timedelta(minutes=minutes))])
        await store.change("em_20", begin)
        await store.change("em_0", cancel)

        def ids(found: list[Unfinished]) -> list[str]:
            return [one.id for one in found]

        assert ids(store.due_before(NOW + timedelta(minutes=30), 10)) == ["em_10", "em_20"]
        assert ids(store.due_before(LATER, 10)) == ["em_10", "em_20", "em_30"]
        assert ids(store.due_before(LATER, 1)) == ["em_10"]
        assert ids(store.due_before(NOW, 10)) == []
        unfinished = list(store.unfinished())
        assert unfinished[:2] == [
            Unfinished("em_10", "em_10.1", Status.SCHEDULED, NOW + timedelta(minutes=10), None),
            Unfinished("em_20", "em_20.1", Status.SENDING, NOW + timedelta(minutes=20), "p1"),
        ]
        assert ids(unfinished) == ["em_10", "em_20", "em_30"]
