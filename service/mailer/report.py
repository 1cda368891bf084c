"""How the relays are doing, told to the processes that do not talk to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from service.email.times import to_z
from service.mailer.relay import Health

Tell = Callable[[dict[str, Any]], None]

_RELAYS = "relays"


class Reporter:
    """Tells of the relays whenever the state of one of them changes."""

    def __init__(self, tell: Tell, *, now: Callable[[], datetime]) -> None:
        """Tell nothing yet.

        Args:
            tell: Lets the other processes know.
            now: The present time.
        """
        self._tell = tell
        self._now = now
        self._last: list[tuple[str, str | None]] | None = None
        self._since: dict[str, tuple[str, str]] = {}

    def look(self, relays: Iterable[Health]) -> None:
        """Tell what has changed; cheap where nothing has."""
        found = list(relays)
        last = [(one.state, one.error) for one in found]
        if last != self._last:
            self._last = last
            self._tell({_RELAYS: [self._shown(one) for one in found]})

    def _shown(self, one: Health) -> dict[str, Any]:
        if self._since.get(one.address, ("", ""))[0] != one.state:
            self._since[one.address] = one.state, to_z(self._now())
        shown: dict[str, Any] = {"address": one.address, "state": one.state, "since": self._since[one.address][1]}
        return shown if one.error is None else shown | {"error": one.error}


def read(told: Iterable[dict[str, Any]], addresses: Iterable[str]) -> tuple[int, list[dict[str, Any]]]:
    """How many workers there are, and how the relays at *addresses* are doing.

    Where workers differ, the one in trouble is believed. Of a relay that none of them uses nothing is known.

    Args:
        told: What the living processes have told.
        addresses: ``host:port`` of each relay.
    """
    workers = [one[_RELAYS] for one in told if _RELAYS in one]
    known: dict[str, dict[str, Any]] = {}
    for relay in (relay for relays in workers for relay in relays):
        if known.get(relay["address"], {"state": "ok"})["state"] == "ok":
            known[relay["address"]] = relay
    return len(workers), [known.get(address, {"address": address, "state": "unknown"}) for address in addresses]
