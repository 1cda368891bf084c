"""``api``, ``worker`` and ``inbox``: the programs that `up` runs, each alone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from service import exits, listening
from service.cli.refusing import refuse
from service.settings import Settings
from zqueue import EmbeddedServer

_log = logging.getLogger(__name__)


def register(commands: Any) -> None:
    """Add the commands to *commands*, the subparsers of the program."""
    api = commands.add_parser("api", help="the HTTP API alone")
    api.set_defaults(run=_api)
    worker = commands.add_parser("worker", help="the worker alone: sends what is due")
    worker.set_defaults(run=_worker)
    inbox = commands.add_parser("inbox", help="the catch-all inbox alone, for development")
    inbox.set_defaults(run=_inbox)
    for parser in (api, worker, inbox):
        parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    for parser in (api, inbox):
        parser.add_argument("--fd", type=int, default=None, help=argparse.SUPPRESS)


def _api(settings: Settings, options: argparse.Namespace) -> int:
    import uvicorn

    from service.app import create_app, opened
    from service.heads import BoundedHeads

    class Server(uvicorn.Server):
        """A server that leaves signals to its program."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    # Given as a number it would be taken for a Unix socket, and each answer would wait for the client's delayed ACK.
    serving_on = listening.for_api(settings) if options.fd is None else socket.socket(fileno=options.fd)

    async def serve(stop: asyncio.Event) -> None:
        async with opened(settings) as state:
            config = uvicorn.Config(
                create_app(state),
                http=BoundedHeads,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                timeout_graceful_shutdown=10,
            )
            server = Server(config)
            serving = asyncio.create_task(server.serve(sockets=[serving_on]))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            state["feed"].close()  # streams would go on, and the server wait for them
            server.should_exit = True
            stopping.cancel()
            await serving

    return _run(serve, options)


def _worker(settings: Settings, options: argparse.Namespace) -> int:
    from service import worker
    from service.dispatch import ForeignJob

    try:
        status = _run(lambda stop: worker.run(settings, stop), options)
    except ForeignJob as error:
        return refuse(exits.UNAVAILABLE, f"{error}; give each data directory a Redis database of its own")
    if options.supervised and settings.redis_url is None and _parent_ended():
        # The supervisor was killed before it could do this.
        EmbeddedServer(settings.data_dir / "valkey").shut_down()
    return status


def _inbox(settings: Settings, options: argparse.Namespace) -> int:
    from service import inbox

    serving_on = socket.socket(fileno=options.fd) if options.fd is not None else None
    return _run(lambda stop: inbox.run(settings, stop, serving_on=serving_on), options)


def _run(program: Callable[[asyncio.Event], Coroutine[Any, Any, None]], options: argparse.Namespace) -> int:
    """Run a program until SIGTERM, SIGINT or the end of its supervisor; a second signal ends it at once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        running = loop.create_task(program(stop))

        def signalled() -> None:
            if stop.is_set():
                running.cancel()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, signalled)
        if options.supervised:
            _when_parent_ends(lambda: loop.call_soon_threadsafe(stop.set))
        try:
            await running
        except asyncio.CancelledError:
            _log.warning("stopped at once")

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    return exits.OK


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # not there on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


def _when_parent_ends(then: Callable[[], object]) -> None:
    """Call *then* when the supervisor, which holds the other end of standard input, is gone."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # not through sys.stdin: its lock would be held at the end
            pass
        then()

    threading.Thread(target=wait, name="watches the supervisor", daemon=True).start()


def _parent_ended() -> bool:
    """Whether the supervisor is gone: nothing is ever written to standard input, so only its end can be read."""
    return bool(select.select([sys.stdin.fileno()], [], [], 0)[0])
