"""One run of a worker: a poller for each shard over one set of runs, from the first claim to the last settlement."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from zqueue.connected import Connected
from zqueue.poller import Poller, outlast
from zqueue.runs import Runs, Settings

_HEED_S: Final = 1.0
"""How long a worker that stops at once waits for handlers to heed their cancellation."""
_LAST_WORDS_S: Final = 10.0
"""How long a stopping worker goes on trying to settle on a server that does not answer."""


class Crew:
    """The pollers of one worker, in one event loop.

    Args:
        state: What a handler finds as its job's `state`.
    """

    def __init__(self, queue: Connected, settings: Settings, state: Any) -> None:
        self._settings = settings
        self._runs = Runs(queue, settings, state)
        self._pollers = [Poller(queue, shard, settings, self._runs) for shard in queue.shards]

    @property
    def last_claim(self) -> float | None:
        """When a server last answered a claim, on the monotonic clock: of the shard where that is longest ago."""
        times = [poller.last_claim for poller in self._pollers]
        return min((each for each in times if each is not None), default=None) if None not in times else None

    def stop(self, *, at_once: bool) -> None:
        """End `run`: in order, or at once."""
        for poller in self._pollers:
            poller.stop(at_once=at_once)

    async def run(self, *, burst: bool) -> None:
        """Poll until stopped, then drain and leave."""
        try:
            # A job on one shard may make another due on a shard that was found empty: look again.
            while sum(await self._each(lambda poller: poller.poll(burst=burst))) and burst and len(self._pollers) > 1:
                pass
            await self._each(Poller.leave_wake)
            deadline = time.monotonic() + self._settings.drain_s
            await self._each(lambda poller: poller.settle_until(deadline))
        except asyncio.CancelledError:
            self.stop(at_once=True)
            raise
        finally:
            await self._end()

    async def tick(self) -> int:
        """One claim on each shard, its jobs run to their end, and settled; how many there were."""
        try:
            claimed = 0
            for poller in self._pollers:
                claimed += await poller.tick()
            await self._each(lambda poller: poller.settle_until(math.inf))
        except asyncio.CancelledError:
            self.stop(at_once=True)
            raise
        finally:
            await self._end()
        return claimed

    async def _each(self, act: Callable[[Poller], Awaitable[Any]]) -> list[Any]:
        """What each poller does, at the same time; cancelled, it ends when all of them have."""

        async def act_or_stop(poller: Poller) -> Any:
            try:
                return await act(poller)
            except Exception:
                self.stop(at_once=True)  # the others have to end too
                raise

        outcomes = await asyncio.gather(*map(act_or_stop, self._pollers), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return outcomes

    async def _end(self) -> None:
        """Leave nothing behind, however often cancelled."""
        closing = asyncio.ensure_future(self._close())
        cancelled = await outlast(closing)
        if cancelled is not None:
            raise cancelled
        closing.result()

    async def _close(self) -> None:
        """Give back what still runs, settle everything, and let go of connections and threads."""
        self._runs.release_all()
        try:
            await self._each(Poller.leave_wake)
            await self._each(lambda poller: poller.settle_until(math.inf))  # a handler may shield what it must finish
            heed = time.monotonic() + _HEED_S
            while self._runs.busy and (left := heed - time.monotonic()) > 0:
                await self._pollers[0].wait(min(left, 0.05))
            self._runs.abandon()
            await self._each(lambda poller: poller.flush(_LAST_WORDS_S))
        finally:
            await self._runs.close()
            for poller in self._pollers:
                await poller.close()
