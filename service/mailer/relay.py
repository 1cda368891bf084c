"""A relay as its users see it: wait for a connection, use it, give it back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.mailer.breaker import Breaker
from service.mailer.smtp import Connection, RelayTrouble, Timeouts
from service.mailer.target import Target

MOST_MESSAGES = 100
"""Transactions on one connection before it is replaced."""
IDLE = 30.0
"""Seconds an unused connection stays open."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How a relay is doing.

    Attributes:
        ok: Whether mail flows.
        error: Its last trouble in one sentence, without secrets; None while it is ok.
        probe_in: Seconds to the next probe while it is not ok; None while it is, or a probe is out.
        connections: Open connections, in use or idle.
    """

    ok: bool
    error: str | None
    probe_in: float | None
    connections: int


class Relay:
    """One relay: its pooled connections behind its breaker."""

    def __init__(
        self,
        target: Target,
        *,
        connections: int = 8,
        ehlo: str | None = None,
        timeouts: Timeouts | None = None,
        breaker: Breaker | None = None,
        idle: float = IDLE,
    ) -> None:
        """Connect to nothing yet.

        Args:
            target: Where it is and how it is talked to.
            connections: Open at the same time, at most.
            ehlo: The name given in EHLO; None for this machine's.
            timeouts: None for the standard's.
            breaker: None for one with the usual times.
            idle: Seconds an unused connection stays open.
        """
        self.target = target
        self._ehlo = ehlo
        self._timeouts = timeouts or Timeouts()
        self._breaker = breaker or Breaker()
        self._idle_for = idle
        self._slots = asyncio.Semaphore(connections)
        self._idle: dict[Connection, asyncio.TimerHandle] = {}  # the last one given back is the next one used
        self._in_use = 0
        self._closed = False
        self._closing: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection that is ready for a transaction, for the time of the block.

        Waits for a free one and for the relay to work, however long that takes: callers bound it.
        """
        async with self._slots:
            connection, probe = await self._ready()
            carried = connection.carried
            self._in_use += 1
            try:
                yield connection
            finally:
                self._in_use -= 1
                self._learn(connection, probe=probe, used=connection.carried > carried)
                self._keep(connection)

    def health(self) -> Health:
        """How the relay is doing now."""
        wait = self._breaker.wait()
        return Health(
            ok=self._breaker.is_closed,
            error=self._breaker.error,
            probe_in=wait if not self._breaker.is_closed and wait != float("inf") else None,
            connections=self._in_use + len(self._idle),
        )

    async def close(self) -> None:
        """Say goodbye on the idle connections; those in use are closed when they are given back."""
        self._closed = True
        for connection in list(self._idle):
            self._retire(connection)
        while self._closing:
            await asyncio.wait(self._closing)

    async def _ready(self) -> tuple[Connection, bool]:
        """A connection, and whether it is the breaker's probe."""
        while True:
            probe = await self._admitted()
            try:
                return await self._connect(), probe
            except RelayTrouble as trouble:
                self._tell_failure(str(trouble), probe=probe)
            except BaseException:
                if probe:
                    self._breaker.abandoned()
                    self._wake()
                raise

    async def _admitted(self) -> bool:
        """Wait for the breaker; whether the caller is its probe."""
        while not self._breaker.enter():
            wait = self._breaker.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == float("inf") else wait):
                    await self._changed.wait()
        return not self._breaker.is_closed

    async def _connect(self) -> Connection:
        """An idle connection that still answers, else a new one."""
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            try:
                if await connection.reset():
                    return connection
            except BaseException:
                connection.abort()
                raise
        return await Connection.open(self.target, ehlo=self._ehlo, timeouts=self._timeouts)

    def _learn(self, connection: Connection, *, probe: bool, used: bool) -> None:
        """What a connection given back says about the relay; a drop within a transaction may be the message's fault."""
        if connection.trouble:
            self._tell_failure(f"{self.target}: {connection.trouble}", probe=probe)
        elif probe or (used and connection.is_open):
            if not self._breaker.is_closed:
                _log.info("relay %s works again", self.target)
            self._breaker.succeeded()
            self._wake()

    def _tell_failure(self, error: str, *, probe: bool) -> None:
        if self._breaker.is_closed or probe:
            _log.warning("relay %s", error)
        self._breaker.failed(error, probe=probe)
        self._wake()

    def _wake(self) -> None:
        """Let everybody who waits for the breaker look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _keep(self, connection: Connection) -> None:
        if not connection.is_open:
            connection.abort()
        elif self._closed or connection.carried >= MOST_MESSAGES:
            self._say_goodbye(connection)
        else:
            loop = asyncio.get_running_loop()
            self._idle[connection] = loop.call_later(self._idle_for, self._retire, connection)

    def _retire(self, connection: Connection) -> None:
        self._idle.pop(connection).cancel()
        self._say_goodbye(connection)

    def _say_goodbye(self, connection: Connection) -> None:
        """Close *connection* in the background."""
        task = asyncio.get_running_loop().create_task(connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
