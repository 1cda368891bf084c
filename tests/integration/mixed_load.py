"""Two API and two worker processes on one data directory, and clients that do everything at once.

``python -m tests.integration.mixed_load --seconds 60 [--compact]``
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from service.email.document import public
from service.email.record import Email
from service.store.listing import Filter
from service.store.store import Store
from tests.chaos.programs import ROOT, Program
from tests.conftest import wait_until
from tests.integration import legal
from tests.smtpd import Script, SmtpServer, reply
from zqueue.embedded import Server

CLIENTS = 6
FEWEST = 20
"""Things that each of them does, however slow the machine is."""
READERS = ("fine", "fine", "fine", "refused", "later")
SINK: Script = {
    "rcpt:refused@example.com": reply(550, "5.1.1 no such user"),
    "rcpt:later@example.com": reply(451, "4.3.0 later"),
}
_FAR = timedelta(days=400)
_STARTED_WITHIN = 60.0
_SETTLED_WITHIN = 120.0


@dataclass
class Result:
    """What came of a run.

    Attributes:
        did: How often each thing was done, by what was answered.
        told: Revisions that clients were told of: e-mail, revision, status.
        wrong: Everything that should not be.
        types: How often each kind of line was written.
    """

    did: Counter[str] = field(default_factory=Counter)
    told: set[tuple[str, int, str]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)


async def run(folder: Path, seconds: float, *, seed: int = 1, compact: bool = False) -> Result:
    """Run the load in *folder*, an empty one, for *seconds*, and see what it left."""
    result = Result()
    async with SmtpServer(SINK) as sink, _programs(folder, sink.port) as urls:
        until = time.monotonic() + seconds
        async with contextlib.AsyncExitStack() as stack:
            apis = [await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30)) for url in urls]
            clients = [_Client(apis, random.Random(seed + n), result) for n in range(CLIENTS)]
            compacting = asyncio.create_task(_compact(folder, until)) if compact else None
            await asyncio.gather(*(client.work(until) for client in clients))
            if compacting is not None:
                await compacting
            store = await Store.open(folder / "data", now=lambda: datetime.now(UTC))
            stack.push_async_callback(store.close)
            await wait_until(lambda: _is_settled(store), _SETTLED_WITHIN, "an end of everything that is due")
            await _compare(result, apis, store)
    journal = legal.read(folder / "data")
    result.types.update(line["type"] for line in journal)
    result.wrong += legal.faults(journal)
    written = {(line["id"], line["rev"], line["data"]["state"]["status"]) for line in journal if _is_email(line)}
    result.wrong += [f"told, but not written: {one}" for one in sorted(result.told - written)]
    writers = {line["data"]["state"]["by"] for line in journal if line["type"] == "email.sending"}
    if len(writers) != 2:
        result.wrong.append(f"{len(writers)} workers sent something")
    return result


def _is_email(line: legal.Line) -> bool:
    return "state" in line["data"]


def _is_settled(store: Store) -> bool:
    """Is everything over that is not due in a year?"""
    return not store.due_before(datetime.now(UTC) + _FAR / 2, 1)


async def _compare(result: Result, apis: list[httpx.AsyncClient], store: Store) -> None:
    """Do both API processes, and one that reads the store anew, say the same of every e-mail?"""
    said = [await _every(api) for api in apis]
    emails, after = [], None
    while (page := store.page(Filter(), 100, after=after)).data:
        emails += page.data
        after = page.last
    anew = [public(email) for email in emails]
    for n, one in enumerate(said, 1):
        if one != anew:
            differing = [email["id"] for email, other in zip(one, anew, strict=False) if email != other]
            result.wrong.append(f"API {n} says something else of {len(one)} e-mails: {differing[:5]}")
    for email in random.Random(1).sample(emails, min(50, len(emails))):
        await _compare_events(result, apis, store, email)


async def _compare_events(result: Result, apis: list[httpx.AsyncClient], store: Store, email: Email) -> None:
    revs = [event.rev for event in store.events(email.id)]
    if revs != list(range(1, email.rev + 1)):
        result.wrong.append(f"{email.id} has events of the revisions {revs}")
    answers = [(await api.get(f"/v1/emails/{email.id}/events")).json()["data"] for api in apis]
    if answers[0] != answers[1] or len(answers[0]) != len(revs):
        result.wrong.append(f"the APIs tell different histories of {email.id}")


async def _every(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = (await api.get("/v1/emails", params={"limit": 100, **after})).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = {"after": page["after"]}


class _Client:
    """Does one thing after the other, through either API."""

    def __init__(self, apis: list[httpx.AsyncClient], rng: random.Random, result: Result) -> None:
        self._apis = apis
        self._rng = rng
        self._result = result
        self._known: list[str] = []

    async def work(self, until: float) -> None:
        """Go on until then, by the monotonic clock, and until enough is done."""
        things = [self._accept] * 4 + [self._batch, self._cancel, self._move, self._edit, self._retry, self._read]
        done = 0
        while time.monotonic() < until or done < FEWEST:
            done += 1
            thing = self._rng.choice(things)
            if self._known or thing == self._accept:
                await thing()

    def _email(self) -> dict[str, Any]:
        kind = self._rng.choice(READERS)
        delay = _FAR if self._rng.random() < 0.1 else timedelta(seconds=self._rng.uniform(0, 2))
        return {
            "from": "me@example.com",
            "to": [f"{kind}@example.com"],
            "subject": f"For {kind}",
            "text": "x" * self._rng.choice((10, 5_000)),
            "scheduled_at": (datetime.now(UTC) + delay).isoformat(),
        }

    async def _accept(self) -> None:
        self._known += self._heard("accept", await self._ask("POST", "", self._email()), 201)

    async def _batch(self) -> None:
        answer = await self._ask("POST", "/batch", {"emails": [self._email() for _ in range(10)]})
        self._heard("batch", answer, 201)
        if answer.status_code == 201:
            self._known += [one["id"] for one in answer.json()["data"]]

    async def _cancel(self) -> None:
        self._heard("cancel", await self._ask("POST", f"/{self._one()}/cancel"), 200, 409)

    async def _move(self) -> None:
        moved = (datetime.now(UTC) + timedelta(seconds=self._rng.uniform(0, 2))).isoformat()
        self._heard("move", await self._ask("PATCH", f"/{self._one()}", {"scheduled_at": moved}), 200, 409)

    async def _edit(self) -> None:
        self._heard("edit", await self._ask("PATCH", f"/{self._one()}", {"subject": "Edited"}), 200, 409)

    async def _retry(self) -> None:
        self._heard("retry", await self._ask("POST", f"/{self._one(200)}/retry"), 200, 409)

    async def _read(self) -> None:
        self._heard("read", await self._ask("GET", f"/{self._one()}"), 200)

    def _one(self, among: int = 20) -> str:
        """One of the last few e-mails, so that clients and workers meet at it."""
        return self._rng.choice(self._known[-among:])

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return await self._rng.choice(self._apis).request(method, f"/v1/emails{path}", json=body)

    def _heard(self, what: str, answer: httpx.Response, *allowed: int) -> list[str]:
        """Remember an answer; the id of the e-mail that it holds."""
        self._result.did[f"{what} {answer.status_code}"] += 1
        if answer.status_code not in allowed:
            self._result.wrong.append(f"{what} was answered {answer.status_code}: {answer.text[:200]}")
        if answer.status_code >= 300 or "id" not in (document := answer.json()):
            return []
        self._result.told.add((document["id"], document["rev"], document["status"]))
        return [document["id"]]


@contextlib.asynccontextmanager
async def _programs(folder: Path, sink: int) -> AsyncIterator[list[str]]:
    """The processes, ready; where the two APIs are."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SERVICE_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "SERVICE_DATA_DIR": str(folder / "data"),
        "SERVICE_SMTP_URL": f"smtp://127.0.0.1:{sink}?tls=none",
        "SERVICE_RETRY_DELAYS": "0.2",
        "SERVICE_MAX_RETRIES": "2",
        "SERVICE_LOG_LEVEL": "warning",
    }
    ports = [_free_port(), _free_port()]
    programs = []
    for n, port in enumerate(ports):
        api = {**environment, "SERVICE_PORT": str(port)}
        programs.append(Program(f"api{n}", ["service", "api", "--supervised"], folder, api))
        programs.append(Program(f"worker{n}", ["service", "worker", "--supervised"], folder, environment))
    try:
        for program in programs:
            await program.start()

        def ready() -> bool:
            for program in programs:
                program.check()
            pids = {path.read_text().partition("\n")[0] for path in (folder / "data" / "procs").glob("*")}
            return {str(program.pid) for program in programs} <= pids and all(map(_listens, ports))

        await wait_until(ready, _STARTED_WITHIN, "four processes that are ready")
        yield [f"http://127.0.0.1:{port}" for port in ports]
        for program in programs:
            program.check()
    finally:
        await asyncio.gather(*(program.stop() for program in programs))
        await asyncio.to_thread(Server(folder / "data" / "valkey").shut_down)


async def _compact(folder: Path, until: float) -> None:
    """Compact the store again and again."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SERVICE_DATA_DIR": str(folder / "data")}
    while time.monotonic() < until:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", "compact"),
            cwd=folder,
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Run it and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compact", action="store_true", help="compact the store again and again meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zq-mixed-") as folder:
        result = asyncio.run(run(Path(folder), options.seconds, seed=options.seed, compact=options.compact))
    for title, counts in (("done", result.did), ("lines", result.types)):
        print(title, ", ".join(f"{name}: {count:,}" for name, count in sorted(counts.items())))
    print(f"revisions told: {len(result.told):,}; wrong: {len(result.wrong)}")
    for what in result.wrong[:20]:
        print("  ", what)
    sys.exit(bool(result.wrong))


if __name__ == "__main__":
    main()
