"""``zqueue server``: an embedded Valkey in the foreground."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Final

import click

from zqueue.cli.failures import WrongState, refuse
from zqueue.cli.messages import tell
from zqueue.embedded import Server
from zqueue.errors import QueueUnavailable

_LOOK_S: Final = 1.0


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="zqueue-data",
    show_default=True,
    help="Where its data is kept.",
)
@click.option("--stop", is_flag=True, help="Stop the server of this folder, whoever started it.")
def server(folder: Path, stop: bool) -> None:
    """Run a Valkey for development in the foreground, and print its URL.

    What it was told is on disk within a second. Ctrl-C or SIGTERM stops it.
    """
    valkey = Server(folder)
    if stop:
        valkey.shut_down()
        tell(f"no server runs in {valkey.folder}")
        return
    if valkey.answers():
        raise WrongState(f"a server runs in {valkey.folder} already", f"use it: --url {valkey.url}")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    try:
        _keep_running(valkey, ended)
    except QueueUnavailable as error:
        refuse(error)
    finally:
        valkey.stop()
    tell("stopped")


def _keep_running(valkey: Server, ended: threading.Event) -> None:
    """Start it, and again should it die, until told to end."""
    valkey.ensure()
    click.echo(valkey.url)
    tell(f"it is running, with its data in {valkey.folder}; Ctrl-C stops it. To use it by default:\n")
    tell(f"  export ZQUEUE_URL={valkey.url}\n")
    while not ended.wait(_LOOK_S):
        valkey.ensure()
