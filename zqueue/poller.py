"""The poller: claims due jobs, settles those that ended, and sleeps exactly as long as there is nothing to do.

A *step* is one round trip: it settles the runs that ended since the last one and claims into the free slots. Steps
follow each other as long as there is work; otherwise the poller waits for whichever comes first: its own timer set to
the head's due time, a token from the sleeper, or a run that ends (`docs/architecture.md`, "Waking without polling").
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from typing import Any, Final

from zqueue.commands import CAP_S, CHUNK, Call
from zqueue.connect import Link, LinkLost
from zqueue.errors import QueueUnavailable
from zqueue.queue import Queue, check_format
from zqueue.replies import Claimed
from zqueue.runs import Ending, Runs, Settings
from zqueue.sending import send
from zqueue.wake import Sleeper

_LOG: Final = logging.getLogger("zqueue")

_SEEN_S: Final = 1.0
"""How often a claim also says that this worker lives."""
_PATIENCE_S: Final = 1.0
"""How long a step is sent again to a server that refuses; then it is said, and whether to stop is looked at."""
_RECONNECT_S: Final = (0.05, 2.0)
_HEED_S: Final = 1.0
"""How long a worker that stops at once waits for handlers to heed their cancellation."""
_LAST_WORDS_S: Final = 10.0
"""How long a stopping worker goes on trying to settle on a server that does not answer."""


class Poller:
    """One run of a worker, in one event loop.

    Attributes:
        last_claim: When the server last answered a claim, on the monotonic clock.
    """

    def __init__(self, queue: Queue, settings: Settings) -> None:
        self._queue = queue
        self._commands = queue.commands
        self._settings = settings
        self._cap_s = min(CAP_S, settings.lease_us / 2e6)
        self._link = Link(queue.address)
        self._loop = asyncio.get_running_loop()
        self._signal = asyncio.Event()
        self._runs = Runs(queue, settings, self._signal.set)
        self._sleeper: Sleeper | None = None
        self._distrusted = False
        self._seen = 0.0
        self._stopping = False
        self._at_once = False
        self.last_claim: float | None = None

    def stop(self, *, at_once: bool) -> None:
        """End `run`: in order, or at once."""
        self._stopping = True
        self._at_once = self._at_once or at_once
        self._signal.set()

    async def run(self, *, burst: bool) -> None:
        """Poll until stopped, then drain and leave."""
        self._sleeper = Sleeper(self._queue.address, self._commands.keys.wake, self._signal.set, self._distrust)
        try:
            await self._poll(burst=burst)
            await self._leave_wake()
            await self._settle_until(time.monotonic() + self._settings.drain_s)
        except asyncio.CancelledError:
            self.stop(at_once=True)
            raise
        finally:
            await self._end()

    async def tick(self) -> int:
        """One claim, its jobs run to their end, and settled; how many there were."""
        try:
            claimed, _pause = await self._step()
            while self._runs.busy or self._runs.endings:
                if not self._runs.endings:
                    await self._wait(self._cap_s)
                await self._step(claim=False)
        except asyncio.CancelledError:
            self.stop(at_once=True)
            raise
        finally:
            await self._end()
        return claimed

    async def _poll(self, *, burst: bool) -> None:
        delay = _RECONNECT_S[0]
        format_checked = False
        while not self._stopping:
            try:
                if not format_checked:
                    await check_format(self._link, self._commands.keys)
                    format_checked = True
                claimed, pause = await self._step()
            except QueueUnavailable as error:
                _LOG.warning("queue %s: %s; trying again in %.2g s", self._queue.name, error, delay)
                await self._wait(delay)
                delay = min(2 * delay, _RECONNECT_S[1])
                continue
            delay = _RECONNECT_S[0]
            if burst and not claimed and pause and not self._runs.busy and not self._runs.endings:
                return
            if pause:
                await self._wait(pause)

    async def _wait(self, seconds: float) -> None:
        """Sleep on the own timer, or until a token, the end of a run, or `stop`.

        A step forgets what was signalled before it: look at what the wait is for between a step and the wait.
        """
        timer = self._loop.call_later(seconds, self._signal.set)
        try:
            await self._signal.wait()
        finally:
            timer.cancel()
            self._signal.clear()

    async def _step(self, *, claim: bool = True) -> tuple[int, float]:
        """Settle and claim in one round trip.

        Returns:
            How many jobs were claimed, and how long to wait before the next step, in seconds.

        Raises:
            QueueUnavailable: The server could not be reached; what was to be settled waits for the next step.
        """
        self._signal.clear()
        if self._distrusted:
            self._distrusted = False
            await self._link.close()
        token = self._sleeper is not None and self._sleeper.take()
        waiting = self._runs.endings
        endings = [waiting.popleft() for _ in range(min(len(waiting), 10 * CHUNK))]
        chunks = [endings[at : at + CHUNK] for at in range(0, len(endings), CHUNK)]
        calls: list[Call[Any]] = [
            self._commands.settle([each.settlement for each in chunk], self._queue.dead) for chunk in chunks
        ]
        limit = min(self._runs.free, CHUNK) if claim else 0
        fence = secrets.token_hex(8)
        if limit > 0:
            calls.append(self._claim(limit, fence))
        elif token:
            calls.append(self._commands.nudge())  # it is for somebody who has a free slot
        if not calls:
            return 0, self._cap_s
        until = time.monotonic() + self._settings.lease_us / 1e6
        sending = asyncio.ensure_future(send(self._link, calls, patience=_PATIENCE_S))
        cancelled = await self._outlast(sending)  # the jobs of a claim cut short would be nobody's
        try:
            results = self._results(sending, endings, token=token)
            refusal = self._settled(chunks, results)
            if limit > 0 and not isinstance(results[-1], Claimed):
                raise results[-1]
            answer = self._claimed(limit, fence, until, results[-1]) if limit > 0 else (0, self._cap_s)
            if refusal is not None:
                raise refusal
        finally:
            if cancelled is not None:
                raise cancelled
        return answer

    def _claim(self, limit: int, fence: str) -> Call[Claimed]:
        now = time.monotonic()
        seen = now - self._seen < _SEEN_S
        if not seen:
            self._seen = now
        return self._commands.claim(
            limit,
            self._settings.lease_us,
            fence,
            self._settings.max_deliveries,
            solo_ok=not self._runs.solo,
            worker="" if seen else self._settings.worker,
            dead=self._queue.dead,
        )

    def _results(self, sending: asyncio.Future[list[Any]], endings: list[Ending], *, token: bool) -> list[Any]:
        """What a round trip answered; when it failed, put back what it should have settled and handed on."""
        if sending.cancelled():  # the loop is being taken down
            failure: BaseException | None = LinkLost("cancelled", sent=True)
        else:
            failure = sending.exception()
        if failure is None:
            return sending.result()
        for each in endings:
            each.uncertain = each.uncertain or (isinstance(failure, LinkLost) and failure.sent)
        self._runs.endings.extendleft(reversed(endings))
        if token and self._sleeper is not None:
            self._sleeper.put_back()
        raise failure

    def _settled(self, chunks: list[list[Ending]], results: list[Any]) -> QueueUnavailable | None:
        """Take the answers to settlements; what the server refused waits for the next step."""
        refusal: QueueUnavailable | None = None
        for chunk, result in zip(chunks, results, strict=False):
            if isinstance(result, QueueUnavailable):
                refusal = result
                self._runs.endings.extend(chunk)
            else:
                self._runs.settled(chunk, result[1])
        return refusal

    def _claimed(self, limit: int, fence: str, until: float, claimed: Claimed) -> tuple[int, float]:
        self.last_claim = time.monotonic()
        self._queue.server_clock.heard(claimed.now_us)
        for delivery in claimed.deliveries:
            self._runs.start(delivery, fence, until)
        count = len(claimed.deliveries)
        free = self._runs.free
        if claimed.more or (count == limit and free > 0) or self._runs.endings:
            return count, 0.0
        if free <= 0:
            return count, self._cap_s
        if self._sleeper is not None:
            self._sleeper.arm()
        return count, min(claimed.next_s, self._cap_s)

    def _distrust(self) -> None:
        """The server became a replica: the next step looks anew at where its connection leads."""
        self._distrusted = True

    async def _leave_wake(self) -> None:
        """Stop waiting for tokens, and hand on the one that may have come meanwhile."""
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is None:
            return
        client_id = sleeper.client_id
        try:
            await sleeper.close()
            if client_id is not None:  # the server may not have seen the end of it yet: nothing may go there any more
                await self._link.send(("CLIENT", "KILL", "ID", client_id))
            await send(self._link, [self._commands.nudge()], patience=_PATIENCE_S)
        except QueueUnavailable as error:
            _LOG.info("could not nudge on leaving: %s", error)

    async def _settle_until(self, deadline: float) -> None:
        """Settle runs as they end, until none is left, the *deadline* (monotonic), or a stop at once."""
        while True:
            await self._flush(0)
            left = deadline - time.monotonic()
            if not self._runs.busy or self._at_once or left <= 0:
                return
            await self._wait(min(left, self._cap_s))

    async def _end(self) -> None:
        """Leave nothing behind, however often cancelled."""
        closing = asyncio.ensure_future(self._close())
        cancelled = await self._outlast(closing)
        if cancelled is not None:
            raise cancelled
        closing.result()

    async def _close(self) -> None:
        """Give back what still runs, settle everything, and let go of connections and threads."""
        self._runs.release_all()
        try:
            await self._leave_wake()
            await self._settle_until(math.inf)  # a handler may shield what it must finish
            heed = time.monotonic() + _HEED_S
            while self._runs.busy and (left := heed - time.monotonic()) > 0:
                await self._wait(left)
            self._runs.abandon()
            await self._flush(_LAST_WORDS_S)
        finally:
            await self._runs.close()
            await self._link.close()

    async def _flush(self, patience: float) -> None:
        """Settle what waits for it, for at most *patience* seconds if the server does not answer."""
        deadline = time.monotonic() + patience
        while self._runs.endings:
            try:
                await self._step(claim=False)
            except QueueUnavailable as error:
                if time.monotonic() > deadline:
                    _LOG.warning("%d runs are not settled, their leases will end: %s", len(self._runs.endings), error)
                    return
                await asyncio.sleep(_RECONNECT_S[0])

    async def _outlast(self, work: asyncio.Future[Any]) -> asyncio.CancelledError | None:
        """Wait until *work* is done even if cancelled meanwhile, which is a stop at once.

        Returns:
            The cancellation, for the caller to raise when it has taken in what was done.
        """
        cancelled = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                self.stop(at_once=True)
                cancelled = error
        return cancelled
