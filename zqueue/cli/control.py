"""Commands that steer a queue: ``pause``, ``resume``, ``limit`` and ``unrecur``."""

from __future__ import annotations

from datetime import timedelta

import click

from zqueue.cli.asking import Asked, about_a_queue
from zqueue.cli.failures import NotFound
from zqueue.cli.reading import read_length
from zqueue.queue import Queue


@click.command()
@about_a_queue
def pause(asked: Asked) -> None:
    """Let no more jobs start; those that run end."""
    asked.run(Queue.pause)
    asked.printer.done(
        {"queue": asked.queue, "paused": True}, f"queue {asked.queue!r} is paused; zqueue resume goes on"
    )


@click.command()
@about_a_queue
def resume(asked: Asked) -> None:
    """Let jobs start again."""
    asked.run(Queue.resume)
    asked.printer.done({"queue": asked.queue, "paused": False}, f"queue {asked.queue!r} is not paused")


@click.command()
@click.argument("group", required=False)
@click.option("--whole-queue", is_flag=True, help="Limit all jobs together, instead of a group.")
@click.option("--rate", metavar="N", type=click.FloatRange(0, min_open=True), help="Starts in each --per.")
@click.option("--per", type=read_length, metavar="DURATION", default="1s", show_default=True, help="With --rate.")
@click.option(
    "--burst",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Starts at once after a quiet time.",
)
@click.option("--concurrency", metavar="N", type=click.IntRange(1), help="Most running at the same time.")
@click.option("--lift", is_flag=True, help="Take the limit away.")
@about_a_queue
def limit(
    asked: Asked,
    group: str | None,
    whole_queue: bool,
    rate: float | None,
    per: timedelta,
    burst: int,
    concurrency: int | None,
    lift: bool,
) -> None:
    """Limit how fast, or how many, jobs of a GROUP run.

    What was set before is replaced: a rate that is not given again is lifted.
    """
    if whole_queue == (group is not None):
        raise click.UsageError("give a group, or --whole-queue")
    if lift == (rate is not None or concurrency is not None):
        raise click.UsageError("give --rate, --concurrency or both, or --lift alone")

    async def work(queue: Queue) -> None:
        await queue.set_limit(group, rate=rate, per=per, burst=burst, concurrency=concurrency)

    asked.run(work)
    whose = "the whole queue" if group is None else f"group {group!r}"
    shape = {"group": group, "rate": rate, "per_s": per, "burst": burst, "concurrency": concurrency}
    asked.printer.done(shape, f"{whose} is {'no longer' if lift else 'now'} limited")


@click.command()
@click.argument("name")
@about_a_queue
def unrecur(asked: Asked, name: str) -> None:
    """Take a schedule away; jobs it has made stay."""

    async def work(queue: Queue) -> None:
        if not await queue.unrecur(name):
            raise NotFound(f"queue {queue.name!r} has no schedule {name!r}", "zqueue recurring lists what there is")

    asked.run(work)
    asked.printer.done({"name": name, "outcome": "removed"}, f"schedule {name!r} is gone")
