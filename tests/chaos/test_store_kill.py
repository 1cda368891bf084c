"""Killing writers of the store: what was answered is there."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from tests.unit.store_emails import opened

ROOT = Path(__file__).parents[2]
ROUNDS = 15
SEED = 20261124


async def test_no_acknowledged_write_is_lost_in_30_kills(tmp_path: Path) -> None:
    """Two writers at a time, killed in the middle of writes, 30 in all: every answer given holds afterwards."""
    victims = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.store_victims", tmp_path, str(ROUNDS), str(SEED), stdout=PIPE, cwd=ROOT
    )
    answers, _ = await victims.communicate()
    assert victims.returncode == 0
    acknowledged: dict[str, int] = {}
    for line in answers.decode().splitlines():
        name, rev = line.split()
        acknowledged[name] = max(int(rev), acknowledged.get(name, 0))
    async with opened(tmp_path) as store:
        kept = {name: found.rev for name in acknowledged if (found := store.get(name)) is not None}
    lost = {name: rev for name, rev in acknowledged.items() if kept.get(name, 0) < rev}
    torn = len(list((tmp_path / "corrupt").iterdir()))
    print(f"{2 * ROUNDS} kills, {torn} torn writes cut, {len(acknowledged)} e-mails acknowledged, {len(lost)} lost")
    assert lost == {}
    assert torn > 0
    assert len(acknowledged) > 2 * ROUNDS
