"""The client: schedules e-mails and remembers what it was answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.chaos.history import FINAL
from tests.chaos.programs import ChaosError

POSTERS = 4
"""Requests at the same time."""
SOON = 1.2
"""Seconds within which an e-mail is scheduled."""

_API_IS_BACK_WITHIN = 60.0
_PAUSE = 0.02


class Client:
    """Talks to one API.

    Attributes:
        acknowledged: What a 201 was answered for: id to Message-ID.
        unknown: Requests whose connection broke: they may have been heard.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.acknowledged: dict[str, str] = {}
        self.unknown = 0

    async def burst(self, emails: int, rng: random.Random, on_answer: Callable[[], None]) -> None:
        """Schedule e-mails for the next moments; *on_answer* is called within the receipt of each 201."""
        drafts = iter([(_draft(rng, number), rng.uniform(0, 0.06)) for number in range(emails)])

        async def post() -> None:
            for draft, gap in drafts:
                await self._post(draft, on_answer)
                await asyncio.sleep(gap)

        await asyncio.gather(*(post() for _ in range(POSTERS)))

    async def compare(self) -> None:
        """Every acknowledged e-mail can be read, and is final.

        Raises:
            ChaosError: One is not.
        """
        for email_id in self.acknowledged:
            response = await self._http.get(f"/v1/emails/{email_id}")
            if response.status_code != 200 or response.json()["status"] not in FINAL:
                raise ChaosError(f"GET {email_id} answered {response.status_code}: {response.text}")

    async def _post(self, draft: dict[str, Any], on_answer: Callable[[], None]) -> None:
        response = await self._answer(draft)
        if response is None:
            self.unknown += 1
            return
        if response.status_code != 201:
            raise ChaosError(f"POST answered {response.status_code}: {response.text}")
        record = response.json()
        self.acknowledged[record["id"]] = record["message_id"]
        on_answer()

    async def _answer(self, draft: dict[str, Any]) -> httpx.Response | None:
        """The answer of an API that may have to be started first; None when the connection broke."""
        deadline = time.monotonic() + _API_IS_BACK_WITHIN
        while True:
            scheduled_at = datetime.now(UTC) + draft["delay"]
            document = draft | {"scheduled_at": scheduled_at.isoformat()}
            del document["delay"]
            try:
                return await self._http.post("/v1/emails", json=document)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if time.monotonic() > deadline:
                    raise ChaosError("nobody listens where the API was") from None
                await asyncio.sleep(_PAUSE)
            except httpx.TransportError:
                return None


def _draft(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "from": "Chaos <chaos@example.org>",
        "to": [f"reader{n}@example.com" for n in range(rng.choice((1, 1, 1, 3)))],
        "subject": f"Number {number}",
        "text": f"{number}\n" + "x" * rng.choice((10, 200, 20_000)),
        "delay": timedelta(seconds=rng.uniform(0, SOON)),
    }
