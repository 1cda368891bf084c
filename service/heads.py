"""HTTP with bounds on the head of a request, which uvicorn would read for as long as it comes, or wait for for ever."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST = 64 * 1024
"""Bytes of request line and header fields, trailers included; half as many again may be read before it is noticed."""

PATIENCE_S = 30.0
"""Within this the head of a request has to be here, and after this without a byte of its body it is given up."""


class HeadTooLarge(ValueError):
    """The parser stops at this, and the request is answered with 400."""


class BoundedHeads(HttpToolsProtocol):
    """A connection that answers 400, and closes, where the head of a request is larger than `MOST`.

    It closes, too, where a client opens it and says nothing, or stops in the midst of a request.
    """

    _reading_head = False
    _read = 0
    _kept = 0
    _receiving = True  # the first request is waited for from the start
    _heard_at = 0.0
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called when a client connects."""
        super().connection_made(transport)
        self._heard_at = self.loop.time()
        self._watch = self.loop.call_later(PATIENCE_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when it is gone."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called with what came."""
        if not self._reading_head:  # a head that comes byte by byte has no more time than any
            self._heard_at = self.loop.time()
        super().data_received(data)
        if self.cycle is not None and self.cycle.response_complete:
            self._receiving = True  # blank lines, perhaps, which begin no request; or the rest of one that was refused
        if self._receiving and self._watch is None:
            self._watch = self.loop.call_later(PATIENCE_S, self._look)
        if self._reading_head:  # still, and perhaps in a single field without an end
            self._read += len(data)
            if self._read > MOST and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Called before the head of a request."""
        super().on_message_begin()
        self._receiving = self._reading_head = True
        self._read = self._kept = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called with each field, those after a chunked body too."""
        self._kept += len(name) + len(value)
        if self._kept > MOST:
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called after the head."""
        self._reading_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called after the body."""
        self._receiving = False
        super().on_message_complete()

    def _look(self) -> None:
        """Close the connection if the rest of a request is late."""
        self._watch = None
        if not self._receiving or self.transport.is_closing():
            return
        left = PATIENCE_S if self.flow.read_paused else self._heard_at + PATIENCE_S - self.loop.time()
        if left <= 0:
            self.transport.close()
        else:
            self._watch = self.loop.call_later(left, self._look)
