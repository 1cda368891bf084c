"""The newest events, read from the log once for all who listen in this process.

Each listener asks for what comes after its own position, so nothing is kept for it: one that is quick is answered from
the events kept here, one that is behind reads the log at its own pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator

from service.events.shown import Selection
from service.store.errors import StoreError
from service.store.records import Event, Events
from service.store.store import Store

RECENT = 2_000
"""Events that are kept."""
MOST_LISTENERS = 1_000
HEARTBEAT_S = 15.0
"""Silence after which a listener gets a sign of life."""
PATIENCE_S = 30.0
"""How long a listener may take nothing of what is sent to it before it is dropped."""
LIFETIME_S = 900.0
"""How long one may listen before it has to ask again: its key may have been revoked."""
CHUNK = 100
"""Most events that are read at once."""

_LOOK_S = 1.0
_log = logging.getLogger(__name__)


def read_log(store: Store, after: int, limit: int) -> Events:
    """Up to *limit* events after line *after*; for any thread. A line that is not there yet is one of another store."""
    found = store.read_events(after, limit)
    return Events([], store.seq, reset=True) if after > store.seq else found


class Feed:
    """Watches the log of *store* while somebody listens; see the module.

    Attributes:
        heartbeat: See `HEARTBEAT_S`.
        patience: See `PATIENCE_S`.
        closed: Whether listeners are to end.
    """

    def __init__(
        self, store: Store, *, recent: int = RECENT, heartbeat: float = HEARTBEAT_S, patience: float = PATIENCE_S
    ) -> None:
        self.heartbeat = heartbeat
        self.patience = patience
        self._store = store
        self._recent: deque[Event] = deque()
        self._most = recent
        self._start = 0  # the kept events are all those after this line ...
        self._last = 0  # ... up to this one
        self._moved = asyncio.Event()
        self._listeners = 0
        self._watching: asyncio.Task[None] | None = None
        self.closed = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return self._listeners

    @property
    def is_full(self) -> bool:
        """Whether nobody more may listen."""
        return self.closed or self._listeners >= MOST_LISTENERS

    def end(self) -> int:
        """The number of the last line there is."""
        self._store.catch_up()
        return self._store.seq

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Watch the log as long as this lasts."""
        if self._watching is None:
            self._recent.clear()
            self._start = self._last = self.end()
            self._watching = asyncio.create_task(self._watch())
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners and self._watching is not None:
                self._watching.cancel()
                self._watching = None

    async def read(self, after: int, limit: int = CHUNK) -> Events:
        """Up to *limit* events after line *after*."""
        if self._watching is None or not self._start <= after <= self._last:
            return await asyncio.to_thread(read_log, self._store, after, limit)
        newer = []
        for event in reversed(self._recent):
            if event.seq <= after:
                break
            newer.append(event)
        newer.reverse()
        if len(newer) > limit:
            return Events(newer[:limit], newer[limit - 1].seq, reset=False)
        return Events(newer, self._last, reset=False)

    async def history(self, email_id: str, after: int) -> Events:
        """Every event of one e-mail after line *after*, however long ago.

        Raises:
            EmailNotFound: There is no such e-mail.
        """
        last = self.end()
        events = await asyncio.to_thread(self._store.events, email_id)
        reset = (await asyncio.to_thread(read_log, self._store, after, 1)).reset
        return Events([event for event in events if after < event.seq <= last], last, reset)

    async def select(self, wanted: Selection, after: int, limit: int, most_lines: int) -> tuple[Events, bool]:
        """Up to *limit* events that are wanted, from at most *most_lines* lines; and whether there are more lines."""
        found: list[Event] = []
        position, reset = after, False
        while True:
            read = await self.read(position, CHUNK)
            reset = reset or read.reset
            for event in read.events:
                if wanted.takes(event):
                    found.append(event)
                    if len(found) == limit:
                        return Events(found, event.seq, reset), event.seq < self.end()
            if read.last <= position or read.last - after >= most_lines:
                return Events(found, read.last, reset), read.last < self.end()
            position = read.last

    async def wait(self, after: int, timeout: float) -> bool:
        """Wait for a line after *after*, at most *timeout* seconds; whether there is one. Ends early when closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._last <= after and not self.closed:
                    await self._moved.wait()
        return self._last > after

    def close(self) -> None:
        """Let everybody who listens end."""
        self.closed = True
        self._tell()

    async def _watch(self) -> None:
        trouble = False
        while True:
            try:
                if await self._store.changed(self._last, _LOOK_S):
                    self._add(await asyncio.to_thread(self._store.read_events, self._last, CHUNK))
                trouble = False
            except StoreError as error:
                if not trouble:
                    _log.error("events wait for the store: %s", error)
                trouble = True
                await asyncio.sleep(_LOOK_S)

    def _add(self, found: Events) -> None:
        if found.reset:
            self._recent.clear()
            self._start = found.last
        else:
            self._recent += found.events
        while len(self._recent) > self._most:
            self._start = self._recent.popleft().seq
        if found.last != self._last:
            self._last = found.last
            self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
