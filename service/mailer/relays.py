"""The relays as their users see them: wait for a connection to the first one that works, use it, give it back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from service.mailer.relay import Health, Relay
from service.mailer.smtp import Connection, RelayTrouble


@dataclass(frozen=True, slots=True)
class _Seat:
    """The right to a connection of a relay; `probe`: to find out for all whether it works again."""

    relay: Relay
    group: str | None
    probe: bool


class Relays:
    """Several relays, the preferred one first.

    An e-mail goes to the first whose breaker is closed; when the next probe of one before that is due, the e-mail that
    comes then is the probe. While none works everybody waits, in order.
    """

    def __init__(self, relays: Sequence[Relay], *, changed: Callable[[], None] = lambda: None) -> None:
        """Connect to nothing yet.

        Args:
            relays: At least one.
            changed: Called when the state of one of them may have changed.
        """
        self._relays = tuple(relays)
        self._changed = changed
        self._waiting: OrderedDict[asyncio.Future[_Seat], str | None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def connection(self, group: str | None = None) -> AsyncIterator[Connection]:
        """A connection that is ready for a transaction, for the time of the block.

        Waits for a free one and for a relay that works, however long that takes: callers bound it.

        Args:
            group: What the e-mail has in common with others that may be slow together, such as its domain; None for
                nothing.
        """
        seat, connection = await self._ready(group)
        carried = connection.carried
        try:
            yield connection
        finally:
            seat.relay.give_back(connection, used=connection.carried > carried, probe=seat.probe)
            self._leave(seat)

    def health(self) -> list[Health]:
        """How each is doing now."""
        return [relay.health() for relay in self._relays]

    def trouble(self) -> str | None:
        """Why no mail flows, in one sentence; None while it does."""
        errors = [one.error for one in self.health() if not one.ok]
        return "; ".join(error or "" for error in errors) if len(errors) == len(self._relays) else None

    async def close(self) -> None:
        """Say goodbye on the idle connections; those in use are closed when they are given back."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(relay.close() for relay in self._relays))

    async def _ready(self, group: str | None) -> tuple[_Seat, Connection]:
        """A seat and its connection; who fails to connect waits on, before all others."""
        again = False
        while True:
            seat = await self._seat(group, first=again)
            try:
                return seat, await seat.relay.connect()
            except RelayTrouble as trouble:
                seat.relay.fail(str(trouble), trouble.kind, probe=seat.probe)
                self._leave(seat)
                again = True
            except BaseException:
                if seat.probe:
                    seat.relay.breaker.abandoned()
                self._leave(seat)
                raise

    async def _seat(self, group: str | None, *, first: bool) -> _Seat:
        waiter: asyncio.Future[_Seat] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = group
        self._waiting.move_to_end(waiter, last=not first)
        self._hand_out()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                seat = waiter.result()
                if seat.probe:
                    seat.relay.breaker.abandoned()
                self._leave(seat)
            raise
        finally:
            self._waiting.pop(waiter, None)

    def _leave(self, seat: _Seat) -> None:
        seat.relay.leave(seat.group)
        self._hand_out()
        self._changed()

    def _hand_out(self) -> None:
        """Give seats to those who wait, in order; who waits for a share of the group is passed by."""
        seated = []
        for waiter, group in self._waiting.items():
            if waiter.done():
                continue
            relay = self._next()
            if relay is None:
                break
            if relay.has_room(group):
                waiter.set_result(_Seat(relay, group, relay.take(group)))
                seated.append(waiter)
        for waiter in seated:
            del self._waiting[waiter]
        self._look_again()

    def _next(self) -> Relay | None:
        """The relay whose turn it is, with room; None while there is none."""
        for relay in self._relays:
            if relay.breaker.wait() > 0:
                continue
            if not relay.is_full:
                return relay
            if relay.breaker.is_closed:
                return None
        return None

    def _look_again(self) -> None:
        """Hand out again when the next probe is due, if somebody waits for that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [wait for wait in (relay.breaker.wait() for relay in self._relays) if 0 < wait < float("inf")]
        if self._waiting and waits:
            self._timer = asyncio.get_running_loop().call_later(min(waits), self._hand_out)
