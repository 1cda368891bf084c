"""One run: bursts of e-mails, a strike in each, and what came of it."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx

from tests.chaos.checker import Verdict, check
from tests.chaos.events import Trigger, watching
from tests.chaos.harness import Arena, running
from tests.chaos.history import History, read_copies, read_journal
from tests.chaos.plan import Plan, Strike
from tests.chaos.programs import ChaosError
from tests.chaos.traffic import Client

PULLED_WITHIN = 60.0
"""Seconds in which the k-th event has to come."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one run.

    Attributes:
        killed: How many processes of each name were killed; "flush" counts FLUSHALLs.
        acknowledged: E-mails a 201 was answered for.
        unknown: Requests whose connection broke.
        copies: Messages at the sink.
        problem: Why the run could not go on as planned; None if it did.
        folder: Where its files are kept; None if nothing is wrong.
    """

    plan: Plan
    verdict: Verdict
    killed: dict[str, int]
    acknowledged: int
    unknown: int
    copies: int
    seconds: float
    problem: str | None
    folder: Path | None

    def __str__(self) -> str:
        verdict = self.verdict
        strikes = "; ".join(map(str, self.plan.strikes))
        return (
            f"{self.plan.seed:>6}  {strikes:<40} {self.acknowledged:3} acknowledged, {self.unknown} unknown, "
            f"{self.copies} at the sink, {verdict.attributed} attributed, {len(verdict.unattributed)} unattributed, "
            f"{len(verdict.lost)} lost, {self.seconds:.1f} s" + self.explain()
        )

    def explain(self) -> str:
        """What is wrong, in lines; empty when nothing is."""
        wrong = [] if self.problem is None else [self.problem]
        wrong += [f"{name}: {', '.join(items)}" for name, items in self.verdict.violations.items()]
        return "".join(f"\n        {line}" for line in [*wrong, f"files in {self.folder}"]) if wrong else ""


async def perform(plan: Plan, lease: timedelta | None = None) -> Report:
    """Carry out *plan* from an empty data directory, and judge.

    Args:
        plan: What to do.
        lease: The worker's; None for the usual one.
    """
    began = time.monotonic()
    async with running(plan, lease) as arena:
        problem, client = await _strike_all(arena, plan)
        copies = read_copies(arena.sink.log)
        verdict = check(History(client.acknowledged, read_journal(arena.data), copies, arena.kills))
        arena.keep = problem is not None or bool(verdict.violations)
    return Report(
        plan,
        verdict,
        arena.killed,
        acknowledged=len(client.acknowledged),
        unknown=client.unknown,
        copies=len(copies),
        seconds=time.monotonic() - began,
        problem=problem,
        folder=arena.folder if arena.keep else None,
    )


async def _strike_all(arena: Arena, plan: Plan) -> tuple[str | None, Client]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{arena.port}", timeout=30) as http:
        client = Client(http)
        try:
            for number, strike in enumerate(plan.strikes):
                await _strike(arena, client, strike, random.Random(f"burst {plan.seed}.{number}"))
            await client.compare()
        except ChaosError as error:
            return str(error), client
        return None, client


async def _strike(arena: Arena, client: Client, strike: Strike, rng: random.Random) -> None:
    """Schedule a burst, kill at the k-th event, restart, and let everything come to its end."""
    trigger = Trigger(strike.event, strike.k, arena.aim(strike))
    arena.sink.on_stored = lambda: trigger.saw("stored")
    arena.sink.on_held = trigger.pull
    if strike.event.startswith("held "):
        arena.sink.tell(f"hold {strike.event.removeprefix('held ')} {strike.k}")
    async with watching(trigger, arena.data, arena.valkey_socket):
        burst = asyncio.create_task(client.burst(strike.emails, rng, lambda: trigger.saw("answered")))
        try:
            await _pulled(trigger, burst)
            if strike.event.startswith("held "):
                arena.sink.tell("drop" if strike.event == "held read" else "go")
            await arena.restart(strike.victims)
            await burst
        finally:
            burst.cancel()
            await asyncio.gather(burst, return_exceptions=True)
    if strike.settle:
        await arena.settled()


async def _pulled(trigger: Trigger, burst: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(PULLED_WITHIN):
            await trigger.pulled.wait()
    except TimeoutError:
        if burst.done():
            burst.result()
        raise ChaosError(f"{trigger.event} {trigger.k} did not come") from None
    if trigger.error is not None:
        raise trigger.error
