"""What an API key may be allowed to do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """What a key must be allowed to do; ``admin`` is allowed everything."""

    PUBLIC = "public"
    """No key is asked for."""
    READ = "read"
    SEND = "send"
    ADMIN = "admin"


GRANTED = (Scope.SEND, Scope.READ, Scope.ADMIN)
"""Those that a key can have."""
