"""The poller: claims due jobs, settles those that ended, and sleeps exactly as long as there is nothing to do.

A *step* is one round trip: it settles the runs that ended since the last one, moves on the schedules that were due, and
claims into the free slots. Steps follow each other as long as there is work; otherwise the poller waits for whichever
comes first: its own timer set to the head's due time, a token from the sleeper, or a run that ends
(`docs/architecture.md`, "Waking without polling").
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any, Final

from zqueue.clock import instant_us
from zqueue.commands import CAP_S, CHUNK, Call
from zqueue.connect import LinkLost
from zqueue.connected import Connected
from zqueue.errors import QueueUnavailable
from zqueue.recurring import plan
from zqueue.replies import Claimed, Fire
from zqueue.runs import Ending, Runs, Settings
from zqueue.sending import send
from zqueue.shards import Shard
from zqueue.slots import Reservation
from zqueue.wake import Sleeper

_LOG: Final = logging.getLogger("zqueue")

_SEEN_S: Final = 1.0
"""How often a claim also says that this worker lives."""
_PATIENCE_S: Final = 1.0
"""How long a step is sent again to a server that refuses; then it is said, and whether to stop is looked at."""
_RECONNECT_S: Final = (0.05, 2.0)


class Poller:
    """One run of a worker on one shard, in one event loop.

    Attributes:
        last_claim: When the server last answered a claim, on the monotonic clock.
    """

    def __init__(self, queue: Connected, shard: Shard, settings: Settings, runs: Runs) -> None:
        self._queue = queue
        self._commands = shard.commands
        self._shard = shard
        self._settings = settings
        self._cap_s = min(CAP_S, settings.lease_us / 2e6)
        self._link = queue.link(shard)
        self._loop = asyncio.get_running_loop()
        self._runs = runs
        self._slots = runs.slots
        self._place = runs.places[shard.index]
        self._fires: list[Fire] = []
        self._sleeper: Sleeper | None = None
        self._distrusted = False
        self._away = False
        self._seen = 0.0
        self._stopping = False
        self._at_once = False
        self.last_claim: float | None = None

    def stop(self, *, at_once: bool) -> None:
        """Claim no more; with *at_once*, wait for no run either."""
        self._stopping = True
        self._at_once = self._at_once or at_once
        self._place.signal.set()

    async def poll(self, *, burst: bool) -> int:
        """Claim and settle until stopped; in a *burst*, until nothing is due and nothing of this shard runs.

        Returns:
            How many jobs were claimed.
        """
        if self._sleeper is None:
            wake = self._shard.keys.wake
            self._sleeper = Sleeper(self._queue.address, wake, self._place.signal.set, self._distrust)
        total = 0
        delay = _RECONNECT_S[0]
        while not self._stopping:
            try:
                await self._queue.check()
                claimed, pause = await self.step()
            except QueueUnavailable as error:
                _LOG.warning("queue %s: %s; trying again in %.2g s", self._queue.name, error, delay)
                self._away = True
                await self.wait(delay)
                delay = min(2 * delay, _RECONNECT_S[1])
                continue
            total += claimed or 0
            delay = _RECONNECT_S[0]
            if burst and claimed == 0 and pause and not self._place.busy and not self._place.endings:
                break
            if pause and not self._stopping:  # told while the queue was checked: the step has forgotten the signal
                await self.wait(pause)
        return total

    async def tick(self) -> int:
        """One claim, and one more for the jobs of each schedule that it found due; how many jobs there were."""
        await self._queue.check()
        total = 0
        while True:
            claimed, _pause = await self.step()
            total += claimed or 0
            if not self._fires:
                return total

    async def wait(self, seconds: float) -> None:
        """Sleep on the own timer, or until a token, the end of a run, or `stop`.

        A step forgets what was signalled before it: look at what the wait is for between a step and the wait.
        """
        timer = self._loop.call_later(seconds, self._place.signal.set)
        try:
            await self._place.signal.wait()
        finally:
            timer.cancel()
            self._place.signal.clear()

    async def step(self, *, claim: bool = True) -> tuple[int | None, float]:
        """Settle, fire and claim in one round trip.

        Returns:
            How many jobs were claimed (None: it did not ask), and how long to wait before the next step, in seconds.

        Raises:
            QueueUnavailable: The server could not be reached; what was to be settled waits for the next step.
        """
        self._place.signal.clear()
        if self._distrusted:
            self._distrusted = False
            await self._link.close()
        token = self._sleeper is not None and self._sleeper.take()
        waiting = self._place.endings
        endings = [waiting.popleft() for _ in range(min(len(waiting), 10 * CHUNK))]
        chunks = [endings[at : at + CHUNK] for at in range(0, len(endings), CHUNK)]
        calls: list[Call[Any]] = [
            self._commands.settle([each.settlement for each in chunk], self._queue.kept) for chunk in chunks
        ]
        calls += self._firing()
        # While a server is away no slot waits for its answer: those are for the jobs of other shards.
        reservation = self._slots.reserve(self._place.signal, CHUNK) if claim and not self._away else Reservation()
        fence = secrets.token_hex(8)
        if reservation.slots:
            calls.append(self._claim(reservation, fence))
        elif token or (claim and self._away):
            calls.append(self._commands.nudge())  # a token is for somebody who has a free slot
        if not calls:
            return None, self._cap_s
        if not reservation.slots:
            self._slots.step_aside(self._place.signal)
        until = time.monotonic() + self._settings.lease_us / 1e6
        sending = asyncio.ensure_future(send(self._link, calls, patience=_PATIENCE_S))
        cancelled = await self._outlast(sending)  # the jobs of a claim cut short would be nobody's
        claimed: Claimed | None = None
        try:
            results = self._results(sending, endings, token=token)
            refusal = self._settled(chunks, results)
            if reservation.slots:
                if not isinstance(results[-1], Claimed):
                    raise results[-1]
                claimed = self._take(results[-1], fence, until)
            if refusal is not None:
                raise refusal
        finally:
            if reservation.slots:
                self._slots.hand_back(reservation)
            if cancelled is not None:
                raise cancelled
        self._away = False
        return (None, 0.0) if claimed is None else self._next(claimed, reservation)

    def _firing(self) -> list[Call[Any]]:
        """The calls that move on the schedules which the last claim found due.

        They need no memory of success: a schedule that is still due is found by the next claim.
        """
        fires, self._fires = self._fires, []
        now_us = instant_us("now", self._queue.now())
        return [self._commands.fire(fire.name, fire.slot, *plan(fire, now_us)) for fire in fires]

    def _claim(self, reservation: Reservation, fence: str) -> Call[Claimed]:
        now = time.monotonic()
        seen = now - self._seen < _SEEN_S
        if not seen:
            self._seen = now
        return self._commands.claim(
            reservation.slots,
            self._settings.lease_us,
            fence,
            self._settings.max_deliveries,
            solo_ok=reservation.solo,
            worker="" if seen else self._settings.worker,
            kept=self._queue.kept,
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
        self._place.endings.extendleft(reversed(endings))
        if token and self._sleeper is not None:
            self._sleeper.put_back()
        raise failure

    def _settled(self, chunks: list[list[Ending]], results: list[Any]) -> QueueUnavailable | None:
        """Take the answers to settlements; what the server refused waits for the next step.

        Returns:
            A refusal, be it of a schedule's slot, which the next claim finds again: to be waited for, not repeated.
        """
        for chunk, result in zip(chunks, results, strict=False):
            if isinstance(result, QueueUnavailable):
                self._place.endings.extend(chunk)
            else:
                self._runs.settled(chunk, result[1])
        return next((each for each in results if isinstance(each, QueueUnavailable)), None)

    def _take(self, claimed: Claimed, fence: str, until: float) -> Claimed:
        """Start what was claimed."""
        self.last_claim = time.monotonic()
        self._queue.server_clock.heard(claimed.now_us)
        self._fires = claimed.fires
        for delivery in claimed.deliveries:
            self._runs.start(self._shard, delivery, fence, until)
        return claimed

    def _next(self, claimed: Claimed, reservation: Reservation) -> tuple[int, float]:
        """How many were claimed, and how long to wait."""
        count = len(claimed.deliveries)
        is_full = count == reservation.slots  # there may be more: claim again, or get in line for a slot
        if is_full or claimed.more or claimed.fires or self._place.endings or self._slots.free <= 0:
            return count, 0.0
        if self._sleeper is not None:
            self._sleeper.arm()
        return count, min(claimed.next_s, self._cap_s)

    def _distrust(self) -> None:
        """The server became a replica: the next step looks anew at where its connection leads."""
        self._distrusted = True

    async def leave_wake(self) -> None:
        """Stop waiting for tokens, and hand on the one that may have come meanwhile."""
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is None:
            return
        client_id = sleeper.client_id
        try:
            await sleeper.close()
            if client_id is not None:  # the server may not have seen the end of it yet: nothing may go there any more
                await self._link.send(("CLIENT", "KILL", "ID", client_id))
            await send(self._link, [self._commands.nudge(self._settings.worker)], patience=_PATIENCE_S)
        except QueueUnavailable as error:
            _LOG.info("could not nudge on leaving: %s", error)

    async def settle_until(self, deadline: float) -> None:
        """Settle this shard's runs as they end, until none is left, the *deadline* (monotonic), or a stop at once."""
        while True:
            await self.flush(0)
            left = deadline - time.monotonic()
            if not self._place.busy or self._at_once or left <= 0:
                return
            await self.wait(min(left, self._cap_s))

    async def flush(self, patience: float) -> None:
        """Settle what waits for it, for at most *patience* seconds if the server does not answer."""
        deadline = time.monotonic() + patience
        while self._place.endings:
            try:
                await self.step(claim=False)
            except QueueUnavailable as error:
                if time.monotonic() > deadline:
                    _LOG.warning("%d runs are not settled, their leases will end: %s", len(self._place.endings), error)
                    return
                await asyncio.sleep(_RECONNECT_S[0])

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    async def _outlast(self, work: asyncio.Future[Any]) -> asyncio.CancelledError | None:
        """See `outlast`; a cancellation is a stop at once."""
        cancelled = await outlast(work)
        if cancelled is not None:
            self.stop(at_once=True)
        return cancelled


async def outlast(work: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until *work* is done even if cancelled meanwhile.

    Returns:
        The cancellation, for the caller to raise when it has taken in what was done.
    """
    cancelled = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
