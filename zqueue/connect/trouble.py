"""What goes wrong on a connection, and what it says about the commands that were sent."""

from __future__ import annotations

import re
from typing import Final

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as _ClientConnectionError

from zqueue.errors import QueueUnavailable

ServerGone = _ClientConnectionError
"""No connection, or none any more."""

ServerError = ResponseError
"""An error that the server answered: it is in the place of the reply."""

_REFUSALS: Final = (NoScriptError, ReadOnlyError, TryAgainError, ClusterDownError, AskError)  # MOVED is an AskError
_REFUSAL_WORDS: Final = re.compile(
    r"\b(READONLY|LOADING|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|NOREPLICAS) |-(MOVED|ASK) "
)
_ELSEWHERE: Final = (ReadOnlyError, ClusterDownError, AskError)
_ELSEWHERE_WORDS: Final = re.compile(r"\b(READONLY|CLUSTERDOWN) |-(MOVED|ASK) ")


class LinkLost(QueueUnavailable):
    """The connection could not be made, or broke.

    Attributes:
        trouble: What happened, in words.
        sent: False when it is certain that the server has not executed the commands.
        refused: True when a server is there but not ready (it loads its data, is a replica, or is about to be
            replaced by another): worth waiting for.
    """

    def __init__(self, trouble: str, *, sent: bool, refused: bool = False) -> None:
        super().__init__(f"{trouble}; the call {'may have taken' if sent else 'had no'} effect")
        self.trouble = trouble
        self.sent = sent
        self.refused = refused


class NotReady(ServerGone):
    """No server takes the commands now, and soon one will: a replica, or a master whose failover is to be expected."""


NOT_READY: Final = (NotReady, BusyLoadingError)
"""Nothing was executed, and waiting helps."""


def is_refusal(error: ServerError) -> bool:
    """Whether the server says that it executed nothing and may well do so later, or that another one will.

    Redis 6.2 wraps such an error in a generic one when it comes up in a script, so the words count too.
    """
    return isinstance(error, _REFUSALS) or bool(_REFUSAL_WORDS.search(str(error)))


def is_elsewhere(error: ServerError) -> bool:
    """Whether this server is not, or not any more, the one that takes the commands."""
    return isinstance(error, _ELSEWHERE) or bool(_ELSEWHERE_WORDS.search(str(error)))


def is_script_unknown(error: ServerError) -> bool:
    """Whether the server does not know the script: it restarted, or was told to forget."""
    return isinstance(error, NoScriptError)
