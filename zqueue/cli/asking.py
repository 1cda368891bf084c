"""Which queue a command is about, and how it is asked: one short event loop, and errors that become exit statuses."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import click

from zqueue.cli.failures import refuse
from zqueue.cli.printing import Printer
from zqueue.errors import ZQueueError
from zqueue.queue import Queue

R = TypeVar("R")


class Asked(NamedTuple):
    """What the options that all commands share say."""

    url: str
    queue: str
    shards: int
    printer: Printer

    def run(self, work: Callable[[Queue], Awaitable[R]]) -> R:
        """What *work* gives when it is let at the queue; an error of the library ends the command."""

        async def main() -> R:
            async with Queue(self.queue, self.url, shards=self.shards) as queue:
                return await work(queue)

        try:
            return asyncio.run(main())
        except ZQueueError as error:
            refuse(error)


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
        default=1,
        envvar="ZQUEUE_SHARDS",
        show_envvar=True,
        help="As the queue has.",
    )
    @click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
    @functools.wraps(command)
    def asked(*, url: str, queue: str, shards: int, as_json: bool, **rest: Any) -> Any:
        return command(Asked(url, queue, shards, Printer(as_json=as_json)), **rest)

    return asked
