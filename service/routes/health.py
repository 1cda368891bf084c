"""``/healthz`` and ``/readyz``: does the process live, and could it take an e-mail on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.mailer.target import Target, Tls
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import Alive, Readiness
from service.routes.state import state_of
from zqueue import Queue, ZQueueError

_PATIENCE = 1.0  # seconds for each thing that is looked at


class Healthz(HTTPEndpoint):
    """Liveness."""

    @operation(Scope.PUBLIC, "Does this process live", tag="Health", answers={200: Alive})
    async def get(self, _request: Request) -> Response:
        """Answer."""
        return reply({"status": "ok"})


class Readyz(HTTPEndpoint):
    """Readiness."""

    @operation(Scope.PUBLIC, "Would an e-mail be accepted now", tag="Health", answers={200: Readiness, 503: Readiness})
    async def get(self, request: Request) -> Response:
        """503 when an accept would not be durable; the states of Redis and the relay are told, and change nothing.

        With Redis or the relay away e-mails are still accepted, and sent once they are back.
        """
        state = state_of(request)
        redis, relay = await asyncio.gather(_redis(state["queue"]), _relay(state["relay"]))
        health = state["store"].health()
        store: dict[str, Any] = {"durable": health.durable, "free_bytes": health.free}
        if not health.durable:
            store |= {"reason": health.reason, "detail": health.detail}
        status = "ready" if health.durable else "unavailable"
        return reply({"status": status, "store": store, "redis": redis, "relay": relay}, 200 if health.durable else 503)


async def _redis(queue: Queue) -> dict[str, Any]:
    task = asyncio.create_task(queue.stats())
    # Left to itself when it is late: a call that is cut off half-way would cost its connection.
    task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
    if not done:
        return {"reachable": False, "error": f"no answer within {_PATIENCE:g} s"}
    try:
        stats = task.result()
    except ZQueueError as error:
        return {"reachable": False, "error": str(error)}
    return {"reachable": True, "scheduled": stats.scheduled, "leased": stats.leased, "dead": stats.dead}


async def _relay(target: Target) -> dict[str, Any]:
    found: dict[str, Any] = {"address": str(target)}
    try:
        async with asyncio.timeout(_PATIENCE):
            greeting = await _greeting(target)
    except TimeoutError:
        return found | {"reachable": False, "error": f"no answer within {_PATIENCE:g} s"}
    except OSError as error:
        return found | {"reachable": False, "error": error.strerror or str(error)}
    if not greeting.startswith(b"220"):
        return found | {"reachable": False, "error": "it greets with something else than 220"}
    return found | {"reachable": True}


async def _greeting(target: Target) -> bytes:
    """The relay's first line; where TLS comes first, being connected counts for one."""
    reader, writer = await asyncio.open_connection(target.host, target.port, limit=2048)
    try:
        if target.tls is Tls.IMPLICIT:
            return b"220"
        greeting = await reader.readline()
        writer.write(b"QUIT\r\n")
    except ValueError:  # a line longer than any greeting
        return b""
    else:
        return greeting
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
