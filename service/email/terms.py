"""What requests are held to beyond what is true of every e-mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request is read against.

    Attributes:
        now: The queue's time, against which the requested times are checked.
        write_header: Writes one extra header as the message will have it, or raises ValueError if that cannot be done.
        default_from: The sender where the request names none.
        most_bytes: Octets of a message; its attachments alone may not have more.
        uploaded_size: Octets of an uploaded file by its SHA-256 (hex); None if there is none. Called in any thread.
        unsubscribe: Whether one-click unsubscribing can be offered, for which recipients must reach this service.
    """

    now: datetime
    write_header: Callable[[str, str], object]
    default_from: str | None = None
    most_bytes: int = 25 * 1024 * 1024
    uploaded_size: Callable[[str], int | None] = lambda _: None
    unsubscribe: bool = False
