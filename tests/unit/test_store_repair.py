"""Repair: everything that is left is kept, everything that was cut is named, and nothing is sent twice silently."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.email.ids import new_email_id
from service.email.record import Email, RecipientStatus, Status
from service.store import compaction, lines, manifest
from service.store.errors import StoreDamaged, StoreError, StoreUnavailable
from service.store.filelog import FileLog
from service.store.listing import Filter
from service.store.repair import Repaired, repair
from service.store.store import Store
from tests.unit.store_emails import LATER, NOW, begin, cancel, email, opened
from tests.unit.store_logs import JOURNAL

AFTER = LATER + timedelta(hours=1)
"""When the store is repaired: by then everything was due."""


def proper(due_in: int = 1) -> Email:
    """A new e-mail under a real id, due some hours after noon."""
    made = replace(email("x", scheduled_at=NOW + timedelta(hours=due_in)), id=new_email_id())
    return replace(made, content=replace(made.content, message_id=f"<{made.id}@example.com>"))


def repaired(directory: Path) -> Repaired:
    """Repair the store in *directory*, two hours after its e-mails were due."""
    return repair(directory, now=lambda: AFTER)


def damage(path: Path, line: int, at: int = -20, mask: int = 1) -> None:
    """Flip a bit in a line (from 1), *at* bytes from its start or its end."""
    every = path.read_bytes().splitlines(keepends=True)
    hit = bytearray(every[line - 1])
    hit[at] ^= mask
    path.write_bytes(b"".join([*every[: line - 1], bytes(hit), *every[line:]]))


def everything(store: Store) -> dict[str, Email]:
    """All e-mails of *store*."""
    return {one.id: one for one in store.page(Filter(), 10_000).data}


def files(directory: Path) -> dict[str, bytes]:
    """The manifest, the snapshots and the segments of *directory*."""
    return {path.name: path.read_bytes() for path in directory.glob("*.json*")}


async def opens(directory: Path) -> bool:
    """Does the store open?"""
    try:
        async with opened(directory):
            return True
    except StoreError:
        return False


async def filled(directory: Path) -> list[Email]:
    """A store whose seven lines are those of four e-mails, a template, and two changes; the e-mails as accepted."""
    made = [proper() for _ in range(4)]
    async with opened(directory) as store:
        await store.accept(made[:2])
        await store.accept([made[2]])
        await store.write(lambda t: t.put("template", "t", {"text": "x"}, type="template.created"))
        await store.accept([made[3]])
        await store.change(made[0].id, begin)
        await store.change(made[1].id, cancel)
    return made


async def test_a_store_in_order_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written where nothing is wrong, compacted or not."""
    await filled(tmp_path)
    for _ in range(2):
        before = files(tmp_path)
        assert repaired(tmp_path).is_nothing
        assert files(tmp_path) == before
        compaction.compact(tmp_path, now=lambda: NOW)
    assert not (tmp_path / "corrupt").exists()


async def test_only_the_damaged_record_is_lost(tmp_path: Path) -> None:
    """Each line damaged in turn: it is named, the file as it was is kept, and all that other lines say stays."""
    made = await filled(tmp_path / "0")
    whole = (tmp_path / "0" / JOURNAL).read_bytes()
    async with opened(tmp_path / "0") as store:
        as_it_was = everything(store)
        seq = store.seq
    about = [made[0].id, made[1].id, made[2].id, "template:t", made[3].id, made[0].id]
    for number, subject in enumerate(about, 1):
        data = tmp_path / str(number)
        (tmp_path / "0").rename(data)
        damage(data / JOURNAL, number)
        damaged = (data / JOURNAL).read_bytes()
        assert not await opens(data)
        done = repaired(data)
        cut = [(flaw.file, flaw.line, flaw.heads[0].id) for flaw in done.flaws if flaw.heads]
        assert cut == [(JOURNAL, number, subject)]
        assert [copy.read_bytes() for copy in done.copies] == [damaged]
        async with opened(data) as store:
            found = everything(store)
            others = {key: one for key, one in as_it_was.items() if key != subject}
            assert {key: one for key, one in found.items() if key != subject} == others
            assert store.has("template", "t") == (subject != "template:t")
            assert store.seq == seq + len(done.held)
            await store.accept([proper()])
        assert repaired(data).is_nothing
        (data / JOURNAL).write_bytes(whole)
        data.rename(tmp_path / "0")


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
async def test_a_flipped_byte_anywhere_costs_one_record(tmp_path: Path, mask: int) -> None:
    """Wherever it is, newlines included, the repaired store opens and lacks what one line said at most."""
    made = await filled(tmp_path)
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    last_write = whole.rindex(b"\n", 0, -1) + 1
    rng = random.Random(mask)
    places = {whole.index(b"\n"), last_write - 1, 0, 8, *rng.sample(range(last_write), 60)}
    for place in sorted(places):
        damaged = bytearray(whole)
        damaged[place] ^= mask
        journal.write_bytes(damaged)
        done = repaired(tmp_path)
        assert done.flaws, place
        assert {flaw.line for flaw in done.flaws if "the content of" not in flaw.what} <= {
            whole.count(b"\n", 0, place) + n for n in (1, 2)
        }, place
        log = FileLog.open(tmp_path, now=lambda: NOW)
        left = {line["id"] + str(line["rev"]) for _, line in log.load()} - {"0"}
        log.close()
        gone = {line["id"] + str(line["rev"]) for raw in whole.splitlines() if (line := lines.decode(raw))} - left
        orphaned = {made[0].id + "2"} if made[0].id + "1" in gone else set()
        orphaned |= {made[1].id + "2"} if made[1].id + "1" in gone else set()
        assert len(gone - orphaned) <= 1, place


async def test_whose_newest_line_is_lost_is_held(tmp_path: Path) -> None:
    """It may have been sent; the others go on as they were."""
    made = await filled(tmp_path)
    damage(tmp_path / JOURNAL, 6)
    done = repaired(tmp_path)
    assert (done.held, done.changed) == ([made[0].id], 0)
    async with opened(tmp_path) as store:
        found = everything(store)
        held = found[made[0].id].state
        assert (held.status, held.reason, held.recipients[0].status) == (
            Status.HELD, "unknown", RecipientStatus.UNKNOWN,
        )  # fmt: skip
        assert [event.type for event in store.events(made[0].id)] == ["email.scheduled", "email.held"]
        assert found[made[2].id] == made[2]
        assert store.due_before(AFTER, 10)[0].id != made[0].id


async def test_an_unreadable_line_holds_what_was_due_by_then(tmp_path: Path) -> None:
    """Of a line that may be anybody's: e-mails without a younger line that were due; others are counted."""
    soon, later, young = proper(-1), proper(5), proper(-1)
    async with opened(tmp_path) as store:
        await store.accept([soon])
        await store.accept([later])
        await store.change(soon.id, begin)
        await store.accept([young])
    damage(tmp_path / JOURNAL, 3, at=0)
    journal = tmp_path / JOURNAL
    illegible = f'"id":"{soon.id}","rev":2'.encode()
    assert illegible in journal.read_bytes()
    journal.write_bytes(journal.read_bytes().replace(illegible, b"\0" * len(illegible)))
    done = repaired(tmp_path)
    assert (done.held, done.changed) == ([soon.id], 1)
    async with opened(tmp_path) as store:
        assert everything(store)[young.id] == young


@pytest.mark.parametrize("mask", [0x01, 0xFF])
@pytest.mark.parametrize("slip", ["id", "frame"])
async def test_a_slip_in_the_head_of_a_line_holds_one_email_only(tmp_path: Path, slip: str, mask: int) -> None:
    """An id with a damaged letter, or one beside which something is damaged, is still told from all others."""
    made = [proper(-1) for _ in range(3)]
    async with opened(tmp_path) as store:
        for one in made:
            await store.accept([one])
        await store.change(made[0].id, begin)
        await store.accept([proper(-1)])
    line = (tmp_path / JOURNAL).read_bytes().splitlines()[3]
    damage(tmp_path / JOURNAL, 4, at=line.index(made[0].id.encode()) + (9 if slip == "id" else -3), mask=mask)
    assert repaired(tmp_path).held == [made[0].id]


async def test_a_gap_in_its_revisions_holds_an_email(tmp_path: Path) -> None:
    """A lost edit is known by the revision after it: what would be sent may not be what was wanted."""
    one, other = proper(9), proper(9)
    async with opened(tmp_path) as store:
        await store.accept([one, other])
        for _ in range(2):
            await store.write(lambda t: t.put("template", "t", {}, type="template.created"))
    journal = tmp_path / JOURNAL
    every = journal.read_bytes().splitlines(keepends=True)
    held = lines.decode(every[0][:-1])
    assert held is not None
    held_line = {key: held[key] for key in ("at", "id", "type", "data")}
    third = lines.seal({"seq": 5, **held_line, "rev": 3} | {"data": {"state": held["data"]["state"]}}, end=True)
    journal.write_bytes(b"".join([*every[:2], b"garbage\n", every[3], third]))
    done = repaired(tmp_path)
    assert (done.held, done.changed) == ([one.id], 0)


async def test_a_damaged_last_write_may_have_sent(tmp_path: Path) -> None:
    """A torn one was never acknowledged and holds nobody; one with its newline may have been."""
    async with opened(tmp_path) as store:
        made = proper()
        await store.accept([made])
        await store.change(made.id, begin)
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole[:-9])
    done = repaired(tmp_path)
    assert ([flaw.what for flaw in done.flaws], done.held) == (["the last write was not finished"], [])
    (tmp_path / JOURNAL).write_bytes(whole)
    damage(tmp_path / JOURNAL, 2)
    done = repaired(tmp_path)
    assert ([flaw.what for flaw in done.flaws], done.held) == (["the last write is damaged"], [made.id])


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("how", ["damaged", "missing"])
async def test_the_manifest_is_made_anew(tmp_path: Path, compacted: bool, how: str) -> None:
    """From the files there are; the id is read from what is left of it, or a new one made and that said."""
    made = await filled(tmp_path)
    async with opened(tmp_path) as store:
        as_it_was, identity = everything(store), store.id
    if compacted:
        compaction.compact(tmp_path, now=lambda: NOW)
        async with opened(tmp_path) as store:
            await store.accept([extra := proper()])
        as_it_was[extra.id] = extra
    path = tmp_path / manifest.NAME
    if how == "damaged":
        damage(path, 1, at=-5)
    else:
        path.unlink()
    assert not await opens(tmp_path)
    done = repaired(tmp_path)
    assert (done.flaws, done.held, len(done.copies)) == ([], [], how == "damaged")
    assert done.manifest is not None
    assert ("empty its Redis database" in done.manifest) == (how == "missing")
    async with opened(tmp_path) as store:
        assert everything(store) == as_it_was
        assert (store.id == identity) == (how == "damaged")
        assert made[0].id in as_it_was


async def compacted_with_more(directory: Path) -> tuple[list[Email], dict[str, Email]]:
    """A compacted store with a journal after it; the e-mails as accepted, and as they are."""
    made = await filled(directory)
    compaction.compact(directory, now=lambda: NOW)
    async with opened(directory) as store:
        await store.change(made[2].id, cancel)
        made.append(proper())
        await store.accept(made[4:])
        return made, everything(store)


@pytest.mark.parametrize("line", range(1, 7))
async def test_a_damaged_snapshot_lacks_one_record(tmp_path: Path, line: int) -> None:
    """Each of its lines: what it said is gone, with all that the journal says of it; the rest stays."""
    made, as_it_was = await compacted_with_more(tmp_path)
    subjects = [made[0].id, made[1].id, made[2].id, "template:t", made[3].id, ""]
    damage(tmp_path / "snapshot-1.jsonl", line)
    assert not await opens(tmp_path)
    done = repaired(tmp_path)
    assert (done.flaws[0].file, done.flaws[0].line, done.held) == ("snapshot-1.jsonl", line, [])
    async with opened(tmp_path) as store:
        assert everything(store) == {key: one for key, one in as_it_was.items() if key != subjects[line - 1]}
        assert store.has("template", "t") == (line != 4)
        await store.accept([proper()])
    assert repaired(tmp_path).is_nothing
    assert compaction.compact(tmp_path, now=lambda: NOW) is not None


async def two_segments(directory: Path) -> dict[str, Email]:
    """A store of two segments, as a compaction leaves them that died after it had sealed the first."""
    await filled(directory)
    log = FileLog.open(directory, now=lambda: NOW)
    list(log.load())
    log.seal()
    log.close()
    async with opened(directory) as store:
        await store.accept([proper(), proper()])
        return everything(store)


def cut_last_line(directory: Path) -> None:
    """Take the line away that leads to the second segment."""
    path = directory / JOURNAL
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: damage(folder / JOURNAL, 8),
        lambda folder: damage(folder / JOURNAL, 8, at=-1, mask=0xFF),
        cut_last_line,
    ],
)
async def test_the_way_to_the_next_segment_is_found(tmp_path: Path, harm: Callable[[Path], Any]) -> None:
    """The line that leads to it may be damaged or gone."""
    as_it_was = await two_segments(tmp_path)
    harm(tmp_path)
    assert not await opens(tmp_path)
    assert repaired(tmp_path).held == []
    async with opened(tmp_path) as store:
        assert everything(store) == as_it_was
    assert repaired(tmp_path).is_nothing


async def test_a_missing_segment_leaves_the_others(tmp_path: Path) -> None:
    """The last one, or the first: what the others say stays."""
    as_it_was = await two_segments(tmp_path / "1")
    (tmp_path / "1" / "journal-1-0000.jsonl").unlink()
    repaired(tmp_path / "1")
    async with opened(tmp_path / "1") as store:
        assert list(everything(store)) == list(as_it_was)[2:]
        await store.accept([proper()])
    as_it_was = await two_segments(tmp_path / "2")
    (tmp_path / "2" / JOURNAL).unlink()
    done = repaired(tmp_path / "2")
    assert "names what is gone" in (done.manifest or "") or "named what is gone" in (done.manifest or "")
    async with opened(tmp_path / "2") as store:
        assert list(everything(store)) == list(as_it_was)[:2]


async def test_a_store_in_use_is_not_repaired(tmp_path: Path) -> None:
    """Not while any process has it open, and without a change."""
    await filled(tmp_path)
    async with opened(tmp_path):
        damage(tmp_path / JOURNAL, 2)
        with pytest.raises(StoreUnavailable, match="it is in use by process") as caught:
            repaired(tmp_path)
    assert caught.value.reason == "in_use"
    assert not (tmp_path / "corrupt").exists()
    assert len(repaired(tmp_path).flaws) == 2


async def test_there_must_be_something_to_repair(tmp_path: Path) -> None:
    """No store is made where there is none."""
    with pytest.raises(StoreDamaged, match="there is no file of a log"):
        repaired(tmp_path)
    with pytest.raises(StoreUnavailable, match="is not a folder"):
        repaired(tmp_path / "nowhere")


async def test_a_repair_that_dies_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two files the store does not open, and what is to be held is held in the end."""
    made, _ = await compacted_with_more(tmp_path)
    damage(tmp_path / "snapshot-1.jsonl", 2)
    async with opened(tmp_path / "other"):
        pass
    damage(tmp_path / "journal-1-0000.jsonl", 2)
    real, left = Path.replace, iter([True])

    def dying(path: Path, to: Path) -> Path:
        if path.name.startswith("snapshot"):
            raise KeyboardInterrupt
        return real(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            repaired(tmp_path)
    assert next(left)
    assert not await opens(tmp_path)
    repaired(tmp_path)
    async with opened(tmp_path) as store:
        assert everything(store)[made[2].id].state.status is Status.HELD
