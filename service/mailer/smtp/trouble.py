"""What is wrong with a relay, when it is not the message's fault."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Where a relay fails; what its operator, or ours, has to look at."""

    UNREACHABLE = "unreachable"
    """Nobody listens, or the connection is lost before anything was said."""
    REFUSING = "refusing"
    """It greets with a refusal, or takes neither EHLO nor HELO (a 5xx here is no verdict about any message)."""
    TLS = "tls"
    """It does not encrypt, or its certificate is not to be trusted."""
    LOGIN = "login"
    """It does not take our user name and password, or wants some where we have none."""
    BUSY = "busy"
    """It says 421: later."""
    DROPPING = "dropping"
    """It loses one connection after the other in the middle of a message."""


class RelayTrouble(Exception):
    """The relay cannot be used now, whatever the message; the text is one sentence without secrets."""

    def __init__(self, text: str, kind: Kind) -> None:
        super().__init__(text)
        self.kind = kind
