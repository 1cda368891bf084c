"""Who did what: events of the store that belong to no document (`Transaction.note`)."""

from __future__ import annotations

import getpass
import socket
from typing import Any

from service.store.store import Store

NOBODY = "-"
"""In place of a key's id where none is asked for."""


async def note(store: Store, key_id: str, type_: str, told: dict[str, Any]) -> None:
    """Write down something that was done with a key, or without one (an empty id).

    Raises:
        StoreUnavailable: Nothing was written.
    """
    await store.write(lambda transaction: transaction.note(f"key:{key_id or NOBODY}", f"audit.{type_}", told))


def of_command_line() -> str:
    """Who gives a command, as far as this machine knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in many containers
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
