"""The API in process, with its real store and a real queue, for tests that speak HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from service.app import create_app, opened
from service.routes.state import AppState
from service.settings import Settings
from service.store.errors import StoreError
from service.store.store import Store
from zqueue import Queue

LEAST: dict[str, Any] = {"from": "a@example.com", "to": "b@example.com", "subject": "Hello", "text": "Hi"}
"""An e-mail that is accepted."""


@dataclass(frozen=True, slots=True)
class Api:
    """A running API and the things behind it."""

    http: httpx.AsyncClient
    state: AppState

    async def accept(self, **fields: Any) -> dict[str, Any]:
        """Schedule an e-mail like `LEAST` but for *fields*; the record."""
        response = await self.http.post("/v1/emails", json=LEAST | fields)
        assert response.status_code == 201, response.text
        record: dict[str, Any] = response.json()
        return record


def ignore(_error: StoreError) -> None:
    """In place of ending the process."""


@contextlib.asynccontextmanager
async def running(
    data_dir: Path, queue: Queue | None = None, *, store: Store | None = None, **settings: Any
) -> AsyncIterator[Api]:
    """The API over *data_dir*, spoken to as http://localhost."""
    checked = Settings(_env_file=None, data_dir=data_dir, **settings)
    async with opened(checked, store=store, queue=queue, on_dead=ignore) as state:
        app = create_app(state)

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield Api(http, state)


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem, which must be whole."""
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert {"type", "title", "status", "code", "detail"} <= document.keys()
    return response.status_code, document["code"]
