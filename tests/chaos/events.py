"""Counting events, and acting at the k-th one the moment it is seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.chaos.history import whole_writes
from tests.chaos.programs import ChaosError

_LOOK = 0.001
"""Seconds between two looks at the journal."""
_VALKEY_NOTES = {b"due:": "enqueued", b"leased": "claimed"}


class Trigger:
    """Calls *act* at the *k*-th *event*, within the call of `saw`: nothing comes between the event and the act.

    Attributes:
        pulled: Set once that is done.
        error: What *act* raised.
    """

    def __init__(self, event: str, k: int, act: Callable[[], None]) -> None:
        self.event = event
        self.k = k
        self._seen = 0
        self._act = act
        self.pulled = asyncio.Event()
        self.error: ChaosError | None = None

    def saw(self, event: str) -> None:
        """Count *event*."""
        if event == self.event:
            self._seen += 1
            if self._seen == self.k:
                self.pull()

    def pull(self) -> None:
        """Act now."""
        try:
            self._act()
        except ChaosError as error:
            self.error = error
        self.pulled.set()


class JournalTail:
    """Follows the journal of a data directory that others write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path: Path | None = None
        self._offset = 0
        self.skip()

    def skip(self) -> None:
        """Go to the end."""
        for _ in self.lines():
            pass

    def lines(self) -> list[str]:
        """The types of the lines that whole writes have added since the last call."""
        newest = max(self._directory.glob("journal-*.jsonl"), default=None)
        if newest is None:
            return []
        if newest != self._path:
            self._path, self._offset = newest, 0
        size = newest.stat().st_size
        if size <= self._offset:
            return []
        with newest.open("rb") as file:
            file.seek(self._offset)
            added, end = whole_writes(file.read())
        self._offset += end
        return [line["type"] for line in added]


@contextlib.asynccontextmanager
async def watching(trigger: Trigger, journal: Path, valkey: Path) -> AsyncIterator[None]:
    """Let *trigger* see the lines of a journal, and what happens on the Valkey of a socket where it waits for that."""
    tasks = []
    if trigger.event in ("scheduled", "sending", "completed"):
        tasks.append(asyncio.create_task(_watch_journal(trigger, JournalTail(journal))))
    if trigger.event in _VALKEY_NOTES.values():
        reader, writer = await asyncio.open_unix_connection(str(valkey))
        writer.write(b"MONITOR\r\n")
        await reader.readline()
        tasks.append(asyncio.create_task(_watch_valkey(trigger, reader, writer)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def _watch_journal(trigger: Trigger, tail: JournalTail) -> None:
    while not trigger.pulled.is_set():
        for kind in tail.lines():
            trigger.saw(kind.removeprefix("email."))
        await asyncio.sleep(_LOOK)


async def _watch_valkey(trigger: Trigger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async for line in reader:
            if b'"ZADD"' in line:
                for key, event in _VALKEY_NOTES.items():
                    if b"}:" + key in line:
                        trigger.saw(event)
    except ConnectionError:
        assert trigger.pulled.is_set()  # this Valkey was killed, then
    finally:
        writer.close()
