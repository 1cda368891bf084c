"""``GET /v1/events`` as server-sent events, over real connections."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.access import keys
from service.access.scopes import Scope
from service.store.errors import StoreUnavailable
from service.store.records import Events
from tests.conftest import wait_until
from tests.integration.api import LEAST, problem
from tests.integration.serving import Message, Serving, Stream, listening, serving
from zqueue import Queue


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Serving]:
    """The API on an empty store, behind a real server."""
    async with serving(tmp_path / "data", queue) as api:
        yield api


async def accept(api: Serving) -> str:
    """A new e-mail, due in a year."""
    response = await api.http.post("/v1/emails", json=LEAST | {"scheduled_at": "2027-11-24T12:00:00Z"})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def take(stream: Stream, count: int) -> list[tuple[str, str]]:
    """Ids and types of the next messages."""
    async with asyncio.timeout(10):
        return [(message.id, message.event) for message in [await stream.next() for _ in range(count)]]


async def test_a_stream_tells_what_happens_from_now_on(api: Serving) -> None:
    """Each event is there in full, its id is its seq, and what came before the stream is not told."""
    first = await accept(api)
    async with listening(api) as stream:
        await api.http.post(f"/v1/emails/{first}/cancel")
        async with asyncio.timeout(10):
            message = await stream.next()
    listed = (await api.http.get(f"/v1/emails/{first}/events")).json()["data"][-1]
    assert message == Message("2", "email.cancelled", message.data)
    assert message.data == {**listed, "subject": None, "rev": 2}


async def test_a_stream_begins_where_it_is_told_to(api: Serving) -> None:
    """`after` replays the log and goes on live; what a client saw last counts more than where it once began."""
    for _ in range(3):
        await accept(api)
    async with listening(api, "?after=1") as stream, listening(api, "?after=1", last_event_id="2") as later:
        await accept(api)
        assert await take(stream, 3) == [(str(seq), "email.scheduled") for seq in (2, 3, 4)]
        assert await take(later, 2) == [("3", "email.scheduled"), ("4", "email.scheduled")]


async def test_a_stream_tells_only_what_is_wanted(api: Serving) -> None:
    """By type, by kind, by e-mail; the past of an e-mail is told as its present is."""
    first, second = await accept(api), await accept(api)
    async with AsyncExitStack() as stack:
        cancelled, notes, one = [
            await stack.enter_async_context(listening(api, f"?after=0&{query}"))
            for query in ("types=email.cancelled", "types=key.*,email.failed", f"email_id={second}")
        ]
        await api.http.post(f"/v1/emails/{first}/cancel")
        await api.note("key.refused")
        await api.http.post(f"/v1/emails/{second}/cancel")
        assert await take(cancelled, 2) == [("3", "email.cancelled"), ("5", "email.cancelled")]
        assert await take(notes, 1) == [("4", "key.refused")]
        assert await take(one, 2) == [("2", "email.scheduled"), ("5", "email.cancelled")]


async def test_a_client_that_knows_what_is_gone_is_told_to_begin_anew(
    api: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a compaction past its position, or on another store, `reset` comes first, and a resumed client goes on."""
    await accept(api)
    read = api.store.read_events

    def compacted(after: int, limit: int) -> Events:
        found = read(after, limit)
        return Events(found.events, found.last, reset=after < 1)

    async with listening(api, last_event_id="999") as stream:
        assert await take(stream, 1) == [("1", "reset")]
        await accept(api)
        assert await take(stream, 1) == [("2", "email.scheduled")]
    monkeypatch.setattr(api.store, "read_events", compacted)
    async with listening(api, "?after=0") as stream:
        assert await take(stream, 3) == [("0", "reset"), ("1", "email.scheduled"), ("2", "email.scheduled")]


async def test_silence_is_filled_with_signs_of_life(tmp_path: Path, queue: Queue) -> None:
    """A comment shows that the stream lives, and carries on the id past what the client does not want."""
    async with serving(tmp_path / "data", queue, heartbeat=0.05) as api, listening(api, "?types=key.*") as stream:
        await accept(api)
        reading = asyncio.create_task(stream.next())
        await wait_until(lambda: stream.last_id == "1")
        await api.note("key.made")
        assert (await reading).id == "2"
        assert stream.comments[0] == "still here"


async def test_many_streams_share_one_watcher(api: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens is read from the log once, however many listen, and nobody reads when nobody listens."""
    reads = []
    read = api.store.read_events

    def counted(after: int, limit: int) -> Events:
        reads.append(after)
        return read(after, limit)

    monkeypatch.setattr(api.store, "read_events", counted)
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(listening(api)) for _ in range(20)]
        await wait_until(lambda: api.state["feed"].listeners == 20)
        await accept(api)
        assert [await take(stream, 1) for stream in streams] == [[("1", "email.scheduled")]] * 20
    await wait_until(lambda: api.state["feed"].listeners == 0)
    assert reads == [0]


async def test_a_client_that_takes_nothing_is_dropped(
    tmp_path: Path, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Its stream ends once its patience is over, and nothing is kept for it; a quick one beside it misses nothing."""
    async with serving(tmp_path / "data", queue, patience=2, recent=10) as api:
        with socket.create_connection(api.address) as slow, caplog.at_level(logging.WARNING, "service.routes"):
            slow.sendall(b"GET /v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
            await wait_until(lambda: api.state["feed"].listeners == 1)
            async with listening(api) as quick:
                for _ in range(60):  # more than the kernel keeps for a connection
                    await api.note("key.made", long="x" * 200_000)
                assert await take(quick, 60) == [(str(seq), "key.made") for seq in range(1, 61)]
                await wait_until(lambda: api.state["feed"].listeners == 1)
            assert "took nothing for 2 s" in caplog.text


async def test_open_streams_do_not_hold_up_the_end(tmp_path: Path, queue: Queue) -> None:
    """A server that is stopped ends its streams in good order and at once."""
    async with serving(tmp_path / "data", queue) as api, listening(api) as stream, listening(api, "?after=0"):
        await accept(api)
        assert await take(stream, 1) == [("1", "email.scheduled")]
        async with asyncio.timeout(5):
            await api.stop()
        assert await stream.rest() == []


async def test_a_stream_ends_after_a_while(api: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a revoked key does not listen for ever; the client comes back by itself."""
    monkeypatch.setattr("service.routes.event_stream.LIFETIME_S", 0.0)
    async with listening(api, "?after=0") as stream:
        assert await stream.rest() == []


async def test_a_revoked_key_is_told_nothing_more(api: Serving) -> None:
    """The stream of a key ends when that is revoked, not that of another; one without a key when there is a key."""
    scopes = frozenset({Scope.READ, Scope.SEND})
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        strangers = await stack.enter_async_context(listening(api, "?types=email.*"))
        made = [await keys.create(api.store, name="", scopes=scopes, expires_at=None, by="a test") for _ in range(2)]
        assert await strangers.rest() == []
        revoked, good = [
            await stack.enter_async_context(listening(api, "?types=email.*", token=token)) for _, token in made
        ]
        await keys.revoke(api.store, made[0][0].id, by="a test")
        api.http.headers["Authorization"] = f"Bearer {made[1][1]}"
        await accept(api)
        assert await revoked.rest() == []
        assert [event for _, event in await take(good, 1)] == ["email.scheduled"]


@pytest.mark.parametrize(
    ("query", "headers", "pointers"),
    [
        ("?after=x&limit=0&nix=1", {}, ["after", "limit", "nix"]),
        ("?types=email.failed&types=email.sent", {}, ["types", "types"]),
        ("?email_id=1", {"Last-Event-ID": "-1"}, ["Last-Event-ID", "email_id"]),
    ],
)
async def test_a_bad_request_is_refused_before_it_streams(
    api: Serving, query: str, headers: dict[str, str], pointers: list[str]
) -> None:
    """With each wrong parameter by its name."""
    response = await api.http.get(f"/v1/events{query}", headers={"Accept": "text/event-stream", **headers})
    assert problem(response) == (422, "invalid_request")
    assert [error["pointer"] for error in response.json()["errors"]] == pointers


async def test_an_unknown_email_is_not_listened_to(api: Serving) -> None:
    """It is a 404, for a list as for a stream."""
    for accepts in ("text/event-stream", "*/*"):
        query = "/v1/events?email_id=em_00000000000000000000000000"
        response = await api.http.get(query, headers={"Accept": accepts})
        assert problem(response) == (404, "email_not_found")


async def test_there_may_be_only_so_many_streams(api: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused for now, and so is one that comes while the server ends."""
    monkeypatch.setattr("service.events.feed.MOST_LISTENERS", 1)
    accepting = {"Accept": "text/event-stream"}
    async with listening(api):
        await wait_until(lambda: api.state["feed"].listeners == 1)
        refused = await api.http.get("/v1/events", headers=accepting)
        assert problem(refused) == (503, "too_many_streams")
        assert refused.headers["retry-after"] == "5"
    await wait_until(lambda: api.state["feed"].listeners == 0)
    api.state["feed"].close()
    assert problem(await api.http.get("/v1/events", headers=accepting)) == (503, "too_many_streams")


async def test_the_head_of_a_stream_is_that_of_a_list(api: Serving) -> None:
    """HEAD has no body, and would wait for the end of one that has none."""
    response = await api.http.head("/v1/events", headers={"Accept": "text/event-stream"})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")


async def test_streams_outlive_trouble_of_the_store(api: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened meanwhile is told afterwards."""
    monkeypatch.setattr("service.events.feed._LOOK_S", 0.01)
    looks = []

    async def broken(_after: int, _timeout: float) -> bool:
        looks.append(1)
        raise StoreUnavailable("journal_cut", "in trouble")

    with monkeypatch.context() as patch:
        patch.setattr(api.store, "changed", broken)
        async with listening(api) as stream:
            await wait_until(lambda: len(looks) > 2)
            await accept(api)
            patch.undo()
            assert await take(stream, 1) == [("1", "email.scheduled")]
