"""``/healthz`` and ``/readyz``: does the process live, and could it take an e-mail on."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.email import jobs
from service.mailer import report
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import Alive, Readiness
from service.routes.state import state_of
from zqueue import JobState, Queue, ZQueueError

_PATIENCE = 1.0  # seconds for what is asked of the queue
_FIRST = 20  # jobs, in the order of their times: one that no worker takes stays among them
_FOREIGN = (
    "job {!r} belongs to another store, and no worker goes on while it is there: "
    "two services share this queue, or the data directory was exchanged"
)


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
        """503 when an accept would not be durable, or when the queue holds jobs of another store.

        The states of Redis and of the relays are told, as the workers know them, and change nothing: with Redis or all
        relays away e-mails are still accepted, and sent once they are back.
        """
        state = state_of(request)
        store, queue = state["store"], state["queue"]
        redis, foreign = await _redis(queue, store.id)
        workers, relays = report.read(store.told(), map(str, state["relays"]))
        health = store.health()
        shown: dict[str, Any] = {"durable": health.durable, "free_bytes": health.free}
        if not health.durable:
            shown |= {"reason": health.reason, "detail": health.detail}
        if foreign is not None:
            redis |= {"reason": "foreign_job", "detail": _FOREIGN.format(foreign)}
        ready = health.durable and foreign is None
        document = {"store": shown, "redis": redis, "workers": workers, "relays": relays}
        return reply({"status": "ready" if ready else "unavailable"} | document, 200 if ready else 503)


async def _redis(queue: Queue, store_id: str) -> tuple[dict[str, Any], str | None]:
    """The state of the queue, and the id of a job that does not belong to this store, if one is among the first."""
    task = asyncio.ensure_future(asyncio.gather(queue.stats(), queue.jobs(JobState.SCHEDULED, _FIRST)))
    # Left to itself when it is late: a call that is cut off half-way would cost its connection.
    task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
    if not done:
        return {"reachable": False, "error": f"no answer within {_PATIENCE:g} s"}, None
    try:
        stats, first = task.result()
    except ZQueueError as error:
        return {"reachable": False, "error": str(error)}, None
    foreign = next((job.id for job in first if jobs.store_of(job.payload) not in (None, store_id)), None)
    shown = {"reachable": True, "scheduled": stats.scheduled, "leased": stats.leased, "dead": stats.dead}
    return shown, foreign
