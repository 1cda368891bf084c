"""How long a relay is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for the relay, in seconds (RFC 5321, section 4.5.3.2).

    Attributes:
        connect: Until somebody listens, and for each handshake of TLS after STARTTLS.
        command: Greeting, EHLO, AUTH, MAIL and RCPT, each.
        reset: RSET, which tells whether an idle connection still stands; if not, a new one costs less than waiting.
        data: The 354 after DATA.
        block: For 64 KiB of the message to leave this process.
        dot: The reply to the final dot.
        before_dot: All from MAIL to the final dot. Others take an unfinished run for dead after 20 minutes; this and
            `dot` together stay below that.
        quit: The reply to QUIT.
    """

    connect: float = 30
    command: float = 300
    reset: float = 20
    data: float = 120
    block: float = 180
    dot: float = 600
    before_dot: float = 540
    quit: float = 5
