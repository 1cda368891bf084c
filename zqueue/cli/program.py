"""The program: all commands, in the order in which help lists them."""

from __future__ import annotations

import click

from zqueue.cli import acting, bulk, control, exits, server, sight, worker

_STATUSES = "\n".join(f"  {status}  {meaning}" for status, meaning in exits.MEANINGS.items())
_COMMANDS = (
    *(server.server, worker.worker),
    *(sight.stats, sight.jobs, sight.show, sight.recurring),
    *(acting.enqueue, acting.cancel, acting.requeue, acting.reschedule),
    *(control.pause, control.resume, control.limit, control.unrecur, bulk.purge),
)


class _InOrder(click.Group):
    """Lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    commands=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"\b\nData goes to stdout, messages to stderr. Exit status:\n{_STATUSES}",
)
@click.version_option(package_name="zqueue")
def program() -> None:
    """Look after the queues of zqueue: run workers, see what waits, and step in."""
