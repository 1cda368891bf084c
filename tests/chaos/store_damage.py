"""A store whose last write is cut at every byte, and one with a flipped byte anywhere before.

    python -m tests.chaos.store_damage [E-MAILS [FLIPS]]

Cut: it opens, has everything from before, and says what it cut. Flipped: it refuses and names the line; a repair keeps
every other record.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from service.email.ids import new_email_id
from service.email.record import Email
from service.store import compaction, lines
from service.store.errors import StoreDamaged
from service.store.filelog import FileLog
from service.store.index import Index
from service.store.repair import repair
from tests.unit.store_emails import LATER, NOW, begin, cancel, email, opened

_AT_ONCE = 1000
_CHANGED = 20


def fresh() -> Email:
    """A new e-mail under a real id, due at once."""
    return replace(email("x", scheduled_at=NOW), id=new_email_id())


async def fill(data: Path, count: int) -> None:
    """A store of *count* e-mails: most of them in a snapshot, the rest in the journal; its last write is one change."""
    async with opened(data) as store:
        accepted: list[str] = []
        for n in range(0, count, _AT_ONCE):
            emails = [fresh() for _ in range(min(_AT_ONCE, count - n))]
            accepted += [one.id for one in await store.accept(emails)]
    compaction.compact(data, now=lambda: NOW)
    async with opened(data) as store:
        for name in accepted[:_CHANGED]:
            await store.change(name, begin)
        await store.accept([fresh() for _ in range(_CHANGED)])
        await store.change(accepted[-1], cancel)


def revisions(data: Path) -> dict[str, tuple[int, str]]:
    """Every e-mail of the store with its revision and status, as a new process reads them."""
    log = FileLog.open(data, now=lambda: NOW)
    try:
        index = Index()
        for ref, line in log.load():
            index.apply(ref, line)
        return {row.id: (row.rev, row.status.value) for row in index.oldest_first(0)}
    finally:
        log.close()


def journal_of(data: Path) -> Path:
    """The segment that is written."""
    return max(path for path in data.glob("journal-*.jsonl") if path.stat().st_size)


def cut_everywhere(data: Path, step: int = 1) -> list[str]:
    """Cut the last write at every *step*-th byte; what went wrong."""
    journal, faults = journal_of(data), []
    whole = journal.read_bytes()
    start = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    journal.write_bytes(whole[:start])
    before = revisions(data)
    for size in range(start, len(whole), step):
        journal.write_bytes(whole[:size])
        found = revisions(data)
        kept = [path.read_bytes() for path in (data / "corrupt").glob("*")]
        if found != before:
            faults.append(f"cut at {size}: {len(before)} e-mails before, {len(found)} now, or another revision")
        if kept != ([whole[start:size]] if size > start else []):
            faults.append(f"cut at {size}: what was cut was not kept")
        shutil.rmtree(data / "corrupt", ignore_errors=True)
    journal.write_bytes(whole)
    return faults


def flip_anywhere(data: Path, flips: int, seed: int = 1) -> list[str]:
    """Flip *flips* bytes before the last write, one at a time; what went wrong."""
    rng, faults = random.Random(seed), []
    whole = revisions(data)
    for n in range(flips):
        path = journal_of(data) if n % 2 else next(data.glob("snapshot-*.jsonl"))
        original = path.read_bytes()
        end = original.rindex(b"\n", 0, len(original) - 1) + 1 if n % 2 else len(original)
        position = rng.randrange(end)
        mask = rng.choice((0x01, 0x20, 0xFF))
        with _as_it_was(data):
            damaged = bytearray(original)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            faults += [
                f"flip {mask:#x} at {path.name}:{position}: {one}" for one in _judge(data, path, position, whole)
            ]
    return faults


def _judge(data: Path, path: Path, position: int, whole: dict[str, tuple[int, str]]) -> Iterator[str]:
    raw = path.read_bytes()
    line = raw[:position].count(b"\n") + 1
    try:
        revisions(data)
    except StoreDamaged as error:
        if (error.path, error.line) != (path, line):
            yield f"it names {error.path.name}:{error.line}, not line {line}"
    else:
        yield "it opens"
    hit = _of_line(data, path, position)
    repair(data, now=lambda: LATER)
    left = revisions(data)
    others = {name for name in whole if name not in hit}
    changed = [name for name in others if left.get(name) != whole[name]]
    if changed:
        one = changed[0]
        yield f"the repair changed {len(changed)} others: {one} was {whole[one]}, is {left.get(one)}"
    for name in hit & left.keys():
        if left[name][1] not in ("held", whole[name][1]):
            yield f"{name} was {whole[name]} and is {left[name]}"


def _of_line(data: Path, path: Path, position: int) -> set[str]:
    """The e-mails that the flipped line, and the next one if their newline is hit, belonged to."""
    with (data / f"{path.name}.whole").open("rb") as file:
        raw = file.read()
    start = raw.rfind(b"\n", 0, position) + 1
    found = (lines.decode(one) for one in raw[start:].split(b"\n", 2)[:1])
    return {line["id"] for line in found if line is not None}


@contextmanager
def _as_it_was(data: Path) -> Iterator[None]:
    """Put back every file of the log afterwards; beside each lies what it was, as ``NAME.whole``, meanwhile."""
    names = [*data.glob("*.jsonl"), data / "MANIFEST.json"]
    for path in names:
        shutil.copyfile(path, data / f"{path.name}.whole")
    try:
        yield
    finally:
        for path in data.glob("*.jsonl"):
            path.unlink()
        for path in names:
            (data / f"{path.name}.whole").replace(path)
        shutil.rmtree(data / "corrupt", ignore_errors=True)


def main() -> int:
    """Run it and tell."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    flips = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    with tempfile.TemporaryDirectory(prefix="zqueue-damage") as folder:
        data = Path(folder) / "data"
        asyncio.run(fill(data, count))
        began = time.monotonic()
        faults = flip_anywhere(data, flips)
        print(f"{flips} bytes flipped in a store of {count:,} e-mails: {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        faults += cut_everywhere(data)
        print(f"the last write cut at every byte: {time.monotonic() - began:.0f} s")
    print("\n".join(faults) or "nothing lost, everything named")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
