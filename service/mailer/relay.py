"""One relay: its pooled connections, how many of them are taken and by whom, and its breaker."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from service.mailer.breaker import Breaker
from service.mailer.smtp import Connection, Kind, Timeouts
from service.mailer.target import Target

MOST_MESSAGES = 100
"""Transactions on one connection before it is replaced."""
IDLE = 30.0
"""Seconds an unused connection stays open."""
MOST_LOST = 5
"""Connections lost in the middle of a message, one after the other, that are no longer put down to the messages."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How a relay is doing.

    Attributes:
        address: ``host:port``.
        state: ``ok`` while mail flows, else the `Kind` of its trouble.
        error: Its last trouble in one sentence, without secrets; None while it is ok.
        probe_in: Seconds to the next probe while it is not ok; None while it is, or a probe is out.
        connections: Open connections, in use or idle.
    """

    address: str
    state: str
    error: str | None
    probe_in: float | None
    connections: int

    @property
    def ok(self) -> bool:
        """Whether mail flows."""
        return self.state == "ok"


class Relay:
    """One relay. `service.mailer.relays` decides who gets its connections.

    A group of e-mails takes another of its connections only while it has no more than are free, so that domains that
    answer slowly leave some to the others: of eight connections one gets five, and a second one two.
    """

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
        self.breaker = breaker or Breaker()
        self._kind = Kind.UNREACHABLE
        self._ehlo = ehlo
        self._timeouts = timeouts or Timeouts()
        self._idle_for = idle
        self._most = connections
        self._taken: Counter[str | None] = Counter()
        self._lost = 0
        self._idle: dict[Connection, asyncio.TimerHandle] = {}  # the last one given back is the next one used
        self._in_use = 0
        self._closed = False
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def is_full(self) -> bool:
        """Whether all of its connections are taken."""
        return self._taken.total() >= self._most

    def has_room(self, group: str | None) -> bool:
        """Whether e-mails of *group* may take another connection; those of None may while there is one."""
        free = self._most - self._taken.total()
        return free > 0 and (group is None or self._taken[group] <= free)

    def take(self, group: str | None) -> bool:
        """Take the place of a connection, where there is room and the breaker lets one through.

        Returns:
            Whether the caller is the breaker's probe.
        """
        self.breaker.enter()
        self._taken[group] += 1
        return not self.breaker.is_closed

    def leave(self, group: str | None) -> None:
        """Give the place back."""
        self._taken -= Counter({group: 1})

    async def connect(self) -> Connection:
        """An idle connection that still answers, else a new one.

        Raises:
            RelayTrouble: There is none to be had.
        """
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            try:
                if await connection.reset():
                    break
            except BaseException:
                connection.abort()
                raise
        else:
            connection = await Connection.open(self.target, ehlo=self._ehlo, timeouts=self._timeouts)
        self._in_use += 1
        return connection

    def give_back(self, connection: Connection, *, used: bool, probe: bool) -> None:
        """Keep *connection* for the next message, or close it, and learn from how it went.

        A connection that is lost within a transaction may be the message's fault; many in a row are not.
        """
        self._in_use -= 1
        lost = used and not connection.is_open
        if used:
            self._lost = self._lost + 1 if lost else 0
        if connection.trouble is not None:
            text, kind = connection.trouble
            self.fail(f"{self.target}: {text}", kind, probe=probe)
        elif lost and (probe or self._lost >= MOST_LOST):
            words = f"{self.target}: connections are lost in the middle of messages, {self._lost} in a row"
            self.fail(words, Kind.DROPPING, probe=probe)
        elif used and not lost:
            if not self.breaker.is_closed:
                _log.info("relay %s works again", self.target)
            self.breaker.succeeded()
        elif probe:
            self.breaker.abandoned()
        self._keep(connection)

    def fail(self, text: str, kind: Kind, *, probe: bool) -> None:
        """Leave this relay alone for a while, because of what *text* says."""
        if self.breaker.is_closed or probe:
            _log.warning("relay %s (%s)", text, kind)
        self._kind = kind
        self.breaker.failed(text, probe=probe)

    def health(self) -> Health:
        """How the relay is doing now."""
        wait = self.breaker.wait()
        return Health(
            address=str(self.target),
            state="ok" if self.breaker.is_closed else str(self._kind),
            error=self.breaker.error,
            probe_in=wait if not self.breaker.is_closed and wait != float("inf") else None,
            connections=self._in_use + len(self._idle),
        )

    async def close(self) -> None:
        """Say goodbye on the idle connections; those in use are closed when they are given back."""
        self._closed = True
        for connection in list(self._idle):
            self._retire(connection)
        while self._closing:
            await asyncio.wait(self._closing)

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
