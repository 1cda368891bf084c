"""A worker's slots: how many runs there is room for, shared out to its shards in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from zqueue.lease import Held


class Reservation(NamedTuple):
    """Slots kept for a claim in flight, and whether it may take a job on its last delivery."""

    slots: int = 0
    solo: bool = False


class Slots:
    """So many slots. Each shard is known here by the event that tells it to ask again.

    Attributes:
        busy: The jobs in them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._reserved: list[Reservation] = []
        self._in_turn: deque[asyncio.Event] = deque()
        self.busy: set[Held] = set()

    @property
    def free(self) -> int:
        """Those that are neither taken nor reserved."""
        return self._most - len(self.busy) - sum(each.slots for each in self._reserved)

    def reserve(self, signal: asyncio.Event, most: int) -> Reservation:
        """Slots for a claim: none while none is free, or while it is the turn of another shard, which waited longer."""
        turn = self._in_turn
        if self.free <= 0 or (turn and turn[0] is not signal):
            if signal not in turn:
                turn.append(signal)
            return Reservation()
        if turn:
            turn.popleft()
        solo = not any(held.last for held in self.busy) and not any(each.solo for each in self._reserved)
        reservation = Reservation(min(self.free, most), solo)
        self._reserved.append(reservation)
        self.call_next()
        return reservation

    def hand_back(self, reservation: Reservation) -> None:
        """The claim is over: what it did not fill is free."""
        self._reserved.remove(reservation)
        self.call_next()

    def step_aside(self, signal: asyncio.Event) -> None:
        """Give up the turn: the shard has something else to do first."""
        if signal in self._in_turn:
            self._in_turn.remove(signal)
            self.call_next()

    def call_next(self) -> None:
        """Tell the shard whose turn it is, if there is a slot for it."""
        if self._in_turn and self.free > 0:
            self._in_turn[0].set()
