"""How a command fails: one class for each exit status, and which errors of the library are which.

A message says what did not work and why; `then`, on a line of its own, what to do next.
"""

from __future__ import annotations

from typing import IO, Any, ClassVar, NoReturn

import click

from zqueue.cli import exits
from zqueue.cli.messages import tell
from zqueue.errors import DuplicateJob, InvalidJob, QueueUnavailable, ZQueueError


class Failure(click.ClickException):
    """It failed.

    Args:
        message: What and why.
        then: The next command, or what to change.
    """

    exit_code: ClassVar[int] = exits.FAILED

    def __init__(self, message: str, then: str = "") -> None:
        super().__init__(message)
        self.then = then

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr."""
        tell(self.message, label="Error:")
        if self.then:
            tell(f"  {self.then}")


class Misused(Failure):
    """The command cannot be meant so."""

    exit_code: ClassVar[int] = exits.USAGE


class NotFound(Failure):
    """What it names is not there."""

    exit_code: ClassVar[int] = exits.NOT_FOUND


class Unreachable(Failure):
    """No server answers."""

    exit_code: ClassVar[int] = exits.UNREACHABLE


class WrongState(Failure):
    """What it names is there, in a state that does not allow it."""

    exit_code: ClassVar[int] = exits.WRONG_STATE


def refuse(error: ZQueueError) -> NoReturn:
    """End the command with what an error of the library means to it."""
    message = str(error)
    if isinstance(error, QueueUnavailable):
        raise Unreachable(message, "check --url (or ZQUEUE_URL); `zqueue server` starts one here") from error
    if isinstance(error, DuplicateJob):
        raise WrongState(message, f"look at it: zqueue show {error.job_id}") from error
    if isinstance(error, InvalidJob):
        raise Misused(message) from error
    raise Failure(message) from error
