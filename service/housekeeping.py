"""Compactions, when the store has grown: each in a process of its own, which nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable

from service.settings import PREFIX, Settings
from service.store.store import Store

PAUSE_S = 60.0
"""Seconds from the beginning of a compaction to the next one: each reads everything, and what fails may fail again."""

RETENTION_S = 86_400.0
"""Where RETENTION is set: seconds after which what is over is looked for, however small the store is."""

_log = logging.getLogger(__name__)


class Housekeeping:
    """Looks after one store; closed with its worker.

    Args:
        hold: Says whether somebody still has to be told what a compaction would merge.
    """

    def __init__(self, store: Store, settings: Settings, *, hold: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._settings = settings
        self._hold = hold
        self._child: asyncio.subprocess.Process | None = None
        self._not_before = 0.0
        self._archive_at = time.monotonic() + RETENTION_S

    async def look(self) -> None:
        """Start a compaction if there is reason to, and none of ours under way."""
        if self._child is not None:
            if self._child.returncode is None:
                return
            if self._child.returncode:
                _log.error("the compaction failed with status %d", self._child.returncode)
            self._child = None
        if time.monotonic() < self._not_before or not self._has_reason() or self._hold():
            return
        self._not_before = time.monotonic() + PAUSE_S
        self._archive_at = time.monotonic() + RETENTION_S
        _log.info("the store has %d lines: they are compacted", self._store.lines)
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "service", "compact", "--background"),
            env=os.environ | {f"{PREFIX}DATA_DIR": str(self._settings.data_dir)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )

    def _has_reason(self) -> bool:
        is_time = self._settings.retention is not None and time.monotonic() >= self._archive_at
        return is_time or self._store.wants_compaction()

    async def close(self) -> None:
        """End what is under way; wherever it is, the store is whole."""
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
            await self._child.wait()
