"""``python -m tests.chaos``: kill the service many times and count what was lost.

    python -m tests.chaos --runs 50 --flushes 10 --seed 1

A line for each run, and a table at the end; the exit status is 1 when a promise was broken. ``--only 7`` repeats run 7
of the same seed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from tests.chaos.checker import VIOLATIONS
from tests.chaos.plan import FLUSHES, KILLS, Plan, draw
from tests.chaos.run import Report, perform


async def run_all(plans: Sequence[Plan], lease: timedelta | None, at_once: int) -> list[Report]:
    """Carry out *plans*, *at_once* at the same time, telling of each as it ends."""
    places = asyncio.Semaphore(at_once)

    async def one(plan: Plan) -> Report:
        async with places:
            report = await perform(plan, lease)
        print(report, flush=True)
        return report

    return await asyncio.gather(*(one(plan) for plan in plans))


def table(reports: Sequence[Report]) -> str:
    """All runs together."""
    killed: Counter[str] = Counter()
    for report in reports:
        killed.update(report.killed)
    flushes = killed.pop("flush", 0)
    rows: dict[str, object] = {
        "runs": len(reports),
        "kills": f"{killed.total()} ({', '.join(f'{name} {count}' for name, count in sorted(killed.items()))})",
        "FLUSHALL": flushes,
        "e-mails acknowledged": sum(report.acknowledged for report in reports),
        "requests without an answer": sum(report.unknown for report in reports),
        "sent though not acknowledged": sum(report.verdict.unacknowledged for report in reports),
        "messages at the sink": sum(report.copies for report in reports),
        "duplicates attributed": sum(report.verdict.attributed for report in reports),
    }
    rows |= {name: sum(len(getattr(report.verdict, name)) for report in reports) for name in VIOLATIONS}
    rows["runs that went astray"] = sum(report.problem is not None for report in reports)
    return "\n".join(f"  {name:<30} {value}" for name, value in rows.items())


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill the service; count what is lost.")
    parser.add_argument("--runs", type=int, default=50, help="runs with kill -9")
    parser.add_argument("--flushes", type=int, default=10, help="runs with FLUSHALL")
    parser.add_argument("--strikes", type=int, default=1, help="bursts with a kill each in one run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="the seed of one run, such as 1.7")
    parser.add_argument("--lease", type=float, help="the worker's, in seconds, instead of the usual one")
    parser.add_argument("--at-once", type=int, default=1, help="runs at the same time")
    options = parser.parse_args()
    plans = draw(f"{options.seed}", options.runs, KILLS, strikes=options.strikes)
    plans += draw(f"{options.seed}f", options.flushes, FLUSHES, strikes=options.strikes)
    if options.only:
        plans = [plan for plan in plans if plan.seed == options.only]
    lease = None if options.lease is None else timedelta(seconds=options.lease)
    reports = asyncio.run(run_all(plans, lease, options.at_once))
    print(table(reports))
    return int(any(report.problem or report.verdict.violations for report in reports))


if __name__ == "__main__":
    sys.exit(main())
