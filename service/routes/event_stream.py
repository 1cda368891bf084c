"""Events as they are sent to somebody who listens (HTML standard, section 9.2: server-sent events)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import takewhile

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Send

from service.access.keys import KIND
from service.events.feed import LIFETIME_S, Feed
from service.events.shown import Selection, document
from service.store.documents import subject
from service.store.records import Event, Events

_RECONNECT_MS = 3_000
_log = logging.getLogger(__name__)


async def frames(
    feed: Feed, wanted: Selection, position: int, past: Events | None, key_id: str
) -> AsyncIterator[bytes]:
    """What is sent, until the feed is closed, the key is revoked, or `LIFETIME_S` is over: then the client comes back.

    Args:
        feed: Where events come from.
        wanted: Which of them are sent.
        position: Only events after this line.
        past: Those up to the present, where they have been looked up already.
        key_id: The API key of the client; empty where none was asked for.
    """
    end = time.monotonic() + LIFETIME_S
    with feed.listening():
        yield b"retry: %d\n\n" % _RECONNECT_MS
        while not feed.closed and time.monotonic() < end:
            found = past or await feed.read(position)
            past = None
            allowed = list(takewhile(lambda event: not _shuts_out(event, key_id), found.events))
            told = [_frame(event) for event in wanted.of(allowed)]
            if found.reset:
                told.insert(0, _reset(found))
            if told:
                yield b"".join(told)
            if len(allowed) < len(found.events):
                return
            if found.last == position and not await feed.wait(position, feed.heartbeat) and not feed.closed:
                # The id, without data, moves on where the client will resume: what it does not want is not read again.
                yield b"id: %d\n: still here\n\n" % position
            position = found.last


def _shuts_out(event: Event, key_id: str) -> bool:
    """Whether a client with this key may be told nothing from *event* on: it is revoked, or the first one was made."""
    if not key_id:
        return event.type == "key.created"
    return event.type == "key.revoked" and event.subject == subject(KIND, key_id)


def _frame(event: Event) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, event.type.encode(), orjson.dumps(document(event)))


def _reset(found: Events) -> bytes:
    """Says that events are missing: whoever keeps a state of its own has to ask for all of it again."""
    before = found.events[0].seq - 1 if found.events else found.last
    return b"id: %d\nevent: reset\ndata: {}\n\n" % before


class EventStream(StreamingResponse):
    """A stream that does not wait for a client that takes nothing, and so keeps little for it."""

    def __init__(self, content: AsyncIterator[bytes], *, patience: float) -> None:
        super().__init__(
            content, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        self._patience = patience

    async def stream_response(self, send: Send) -> None:
        """Send the frames; a client that is too slow is cut off."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self.body_iterator) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(self._patience):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    _log.warning("a stream of events is cut off: its client took nothing for %g s", self._patience)
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
