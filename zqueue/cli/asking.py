"""Which queue a command is about, and how it is asked: one short event loop, and errors that become exit statuses."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import click

from zqueue.cli.failures import NotFound, refuse
from zqueue.cli.printing import Printer
from zqueue.commands import Call
from zqueue.connect import Address, Link
from zqueue.errors import ZQueueError
from zqueue.keys import Keys
from zqueue.queue import Queue
from zqueue.replies import read_text
from zqueue.sending import ask

R = TypeVar("R")


class Asked(NamedTuple):
    """What the options that all commands share say.

    Attributes:
        shards: How many the queue has; None to find out.
    """

    url: str
    queue: str
    shards: int | None
    printer: Printer

    def run(self, work: Callable[[Queue], Awaitable[R]], *, make: bool = False) -> R:
        """What *work* gives when it is let at the queue; an error of the library ends the command.

        Args:
            make: Whether a queue that nobody has used yet is made. For other commands it is not there: a misspelt name
                would leave keys behind, and fix how many shards a queue of it has.
        """

        async def main() -> R:
            shards = self.shards or await _shards_of(self.queue, self.url)
            if shards is None and not make:
                raise NotFound(
                    f"there is no queue {self.queue!r} on {Address(self.url).shown}: nobody has used it yet",
                    "check --queue and --url; --shards N makes it",
                )
            async with Queue(self.queue, self.url, shards=shards or 1, eviction="warn") as queue:
                return await work(queue)

        try:
            return asyncio.run(main())
        except ZQueueError as error:
            refuse(error)


async def _shards_of(name: str, url: str) -> int | None:
    """How many shards a queue has; None when there is no such queue."""
    keys = Keys(name)
    link = Link(Address(url), key=keys.format)
    try:
        found = await ask(link, Call(("HGET", keys.format, "shards"), read_text, repeatable=True))
    finally:
        await link.close()
    return int(found) if found.isdigit() else None


def about_a_queue(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which queue it is about, and how to print; it gets an `Asked`."""

    @click.option(
        "--url", metavar="URL", required=True, envvar="ZQUEUE_URL", show_envvar=True, help="Where the server is."
    )
    @click.option(
        "--queue",
        "-q",
        metavar="NAME",
        required=True,
        envvar="ZQUEUE_QUEUE",
        show_envvar=True,
        help="The queue's name.",
    )
    @click.option(
        "--shards",
        metavar="N",
        type=click.IntRange(1),
        envvar="ZQUEUE_SHARDS",
        show_envvar=True,
        help="How many a new queue has.",
    )
    @click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
    @functools.wraps(command)
    def asked(*, url: str, queue: str, shards: int | None, as_json: bool, **rest: Any) -> Any:
        return command(Asked(url, queue, shards, Printer(as_json=as_json)), **rest)

    return asked
