"""HTTP with a bound on the head of a request, which uvicorn's faster parser would read for as long as it comes."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST = 64 * 1024
"""Bytes of request line and header fields, trailers included; half as many again may be read before it is noticed."""


class HeadTooLarge(ValueError):
    """The parser stops at this, and the request is answered with 400."""


class BoundedHeads(HttpToolsProtocol):
    """A connection that answers 400, and closes, where the head of a request is larger than `MOST`."""

    _reading_head = False
    _read = 0
    _kept = 0

    def data_received(self, data: bytes) -> None:
        """Called with what came."""
        super().data_received(data)
        if self._reading_head:  # still, and perhaps in a single field without an end
            self._read += len(data)
            if self._read > MOST and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Called before the head of a request."""
        super().on_message_begin()
        self._reading_head = True
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
