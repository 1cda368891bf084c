"""The sleeper: one blocked BLPOP on the queue's wake list, so that an idle worker need not poll.

The rules (`docs/architecture.md`, "Waking without polling"): at most one BLPOP is outstanding; it is never cancelled in
order to issue it anew; it is issued again only after a claim that left free slots. A lost connection counts as a token,
since the server may have handed one to the dead socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from zqueue.commands import CAP_S
from zqueue.connect import Address, Link, ServerError
from zqueue.errors import QueueUnavailable

_LOG: Final = logging.getLogger("zqueue")
_GRACE_S: Final = 3.0
"""The server ends a block up to 100 ms late, more when it is busy; past this the connection counts as lost."""
_RECONNECT_S: Final = (0.1, 2.0)


class Sleeper:
    """Waits for tokens for one worker.

    Args:
        on_token: Called when there is a token to `take`.
        on_demoted: Called when the server broke the block because it became a replica.
    """

    def __init__(
        self, address: Address, wake: bytes, on_token: Callable[[], None], on_demoted: Callable[[], None]
    ) -> None:
        self._link = Link(address, timeout=CAP_S + _GRACE_S, key=wake)
        self._wake = wake
        self._on_token = on_token
        self._on_demoted = on_demoted
        self._armed = asyncio.Event()
        self._token = False
        self._task = asyncio.create_task(self._sleep(), name="zqueue sleeper")

    def arm(self) -> None:
        """Say that a claim left free slots: the BLPOP may be issued again, once the present one has ended."""
        self._armed.set()

    def take(self) -> bool:
        """Whether a token came since the last call; whoever takes it has to claim, or to nudge."""
        taken, self._token = self._token, False
        return taken

    def put_back(self) -> None:
        """A token taken could not be passed on: it is there to `take` again."""
        self._token = True

    @property
    def client_id(self) -> int | None:
        """The server's id of the blocked connection."""
        return self._link.client_id

    async def close(self) -> None:
        """End the wait and the connection. A token may have been on its way: nudge afterwards."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _sleep(self) -> None:
        try:
            await self._take_tokens()
        finally:
            await self._link.close()

    async def _take_tokens(self) -> None:
        pause = _RECONNECT_S[0]
        while True:
            await self._armed.wait()
            self._armed.clear()
            try:
                (reply,) = await self._link.send(("BLPOP", self._wake, int(CAP_S)))
            except QueueUnavailable as lost:  # LinkLost, or an embedded server that does not start
                _LOG.info("the sleeper lost its connection: %s", lost)
                self._give()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RECONNECT_S[1])
                continue
            pause = _RECONNECT_S[0]
            if isinstance(reply, ServerError):
                _LOG.info("the sleeper's block was ended: %s", reply)
                await self._link.close()
                self._on_demoted()
                self._give()
                await asyncio.sleep(pause)
            elif reply is not None:
                self._give()

    def _give(self) -> None:
        self._armed.clear()  # not before the claim that this token asks for
        self._token = True
        self._on_token()
