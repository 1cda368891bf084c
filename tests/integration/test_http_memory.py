"""Large requests: how many may be in memory, and what the others are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.routes.emails import reading
from tests.integration.api import LEAST, Api, problem, running
from zqueue import Queue

MIB = 1024 * 1024
JSON = {"content-type": "application/json"}


@pytest.fixture
async def api(tmp_path: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The API on an empty store, with memory for 19 MiB of large bodies."""
    monkeypatch.setattr(reading, "_BODIES", 0)
    async with running(tmp_path / "data", queue, max_message=str(4 * MIB)) as api:
        yield api


async def test_memory_for_bodies_is_bounded(api: Api) -> None:
    """While others hold all of it a large request gets 503 and a small one passes; afterwards there is room again."""
    body = json.dumps(LEAST | {"text": ("x" * 63 + "\n") * (3 * MIB // 64)}).encode()
    go_on = asyncio.Event()
    waiting = 0

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal waiting
        yield body[:-1]
        waiting += 1
        await go_on.wait()
        yield body[-1:]

    held = [asyncio.create_task(api.http.post("/v1/emails", content=slowly(), headers=JSON)) for _ in range(9)]
    while waiting < 9:  # noqa: ASYNC110 - a client tells nobody
        await asyncio.sleep(0)
    refused = await api.http.post("/v1/emails", content=body, headers=JSON)
    assert problem(refused) == (503, "crowded")
    assert refused.headers["retry-after"] == "1"
    await api.accept()
    go_on.set()
    assert [(await task).status_code for task in held] == [201] * 9
    assert (await api.http.post("/v1/emails", content=body, headers=JSON)).status_code == 201


async def test_too_many_at_once_are_not_all_refused(api: Api) -> None:
    """Of large requests that arrive in step, more than fit, some get through: those refused make room at once."""
    body = json.dumps(LEAST | {"text": ("x" * 63 + "\n") * (3 * MIB // 64)}).encode()
    pieces = [body[at : at + MIB // 64] for at in range(0, len(body), MIB // 64)]

    async def piecemeal() -> AsyncIterator[bytes]:
        for piece in pieces:
            await asyncio.sleep(0)  # the others' turn
            yield piece

    posts = (api.http.post("/v1/emails", content=piecemeal(), headers=JSON) for _ in range(20))
    statuses = [answer.status_code for answer in await asyncio.gather(*posts)]
    assert set(statuses) == {201, 503}
