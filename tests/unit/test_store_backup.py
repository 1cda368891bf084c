"""Backup: a copy of a store that is being written, which opens elsewhere as the same store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from service.email.record import Attachment, Email
from service.store import compaction
from service.store.backup import BadTarget, backup
from service.store.errors import StoreDamaged
from service.store.listing import Filter
from service.store.store import Store
from tests.unit.store_emails import NOW, begin, cancel, email, opened


def with_file(store: Store, name: str, data: bytes) -> Email:
    """An e-mail with *data* attached."""
    made = email(name)
    attachment = Attachment("a.txt", "text/plain", len(data), store.put_blob(data))
    return replace(made, content=replace(made.content, attachments=(attachment,)))


def everything(store: Store) -> list[Email]:
    """All e-mails of *store*, newest first."""
    return store.page(Filter(), 10_000).data


async def test_a_copy_is_the_same_store(tmp_path: Path) -> None:
    """Same id, records, events, documents and files, before a compaction as after it; also files nothing names yet."""
    data = tmp_path / "data"
    async with opened(data) as store:
        await store.accept([with_file(store, "1", b"one"), email("2"), email("3")])
        await store.change("em_2", begin)
        await store.change("em_3", cancel)
        await store.write(lambda t: t.put("template", "t", {"text": "x"}, type="template.created"))
        fresh = store.put_blob(b"fresh")
        for name in ("before", "after"):
            copied = backup(data, tmp_path / name)
            assert (copied.seq, copied.files) == (store.seq, 2)
            async with opened(tmp_path / name) as copy:
                assert (copy.id, everything(copy)) == (store.id, everything(store))
                assert copy.events("em_2") == store.events("em_2")
                assert copy.documents("template") == store.documents("template")
                assert (copy.blob(store.put_blob(b"one")), copy.blob(fresh)) == (b"one", b"fresh")
                assert not copy.alive("p1")
            compaction.compact(data, now=lambda: NOW)
            await store.accept([email(f"{name}")])


async def test_a_copy_taken_under_load_has_every_email_of_its_moment(tmp_path: Path) -> None:
    """Everything acknowledged before the copy began is in it; nothing half; its files are there."""
    async with opened(tmp_path / "data") as store:
        acknowledged: list[Email] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                name = str(len(acknowledged))
                acknowledged.extend(await store.accept([with_file(store, name, name.encode()), email(f"{name}b")]))

        loading = asyncio.create_task(load())
        for n in range(5):
            before = list(acknowledged)
            await asyncio.to_thread(backup, tmp_path / "data", tmp_path / str(n))
            async with opened(tmp_path / str(n)) as copy:
                found = {one.id: one for one in everything(copy)}
                assert [found[one.id] for one in before] == before
                assert len(found) % 2 == 0
                for one in found.values():
                    for file in one.content.attachments:
                        assert len(copy.blob(file.sha256)) == file.size
        stop.set()
        await loading
        assert len(acknowledged) > 10


async def test_a_torn_write_is_not_copied(tmp_path: Path) -> None:
    """The copy ends with the last whole write, and opens without a complaint."""
    async with opened(tmp_path / "data") as store:
        await store.accept([email("1")])
        with (tmp_path / "data" / "journal-0-0000.jsonl").open("ab") as journal:
            journal.write(b'{"seq":2,"at":"2026')
        backup(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path / "copy") as copy:
        assert everything(copy) == [email("1")]
    assert not (tmp_path / "copy" / "corrupt").exists()


async def test_a_place_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    """Nothing is overwritten, and a store is not copied into itself."""
    async with opened(tmp_path / "data"):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").touch()
        (tmp_path / "file").touch()
        for place in ("full", "file", "data", "data/copy"):
            with pytest.raises(BadTarget):
                backup(tmp_path / "data", tmp_path / place)
        assert not (tmp_path / "data" / "copy").exists()


async def test_a_damaged_store_is_not_copied_as_if_it_were_whole(tmp_path: Path) -> None:
    """A missing or altered file stops the copy, and what there is of it does not open as a store."""
    data = tmp_path / "data"
    async with opened(data) as store:
        made = with_file(store, "1", b"one")
        await store.accept([made])
        await store.accept([email("2")])
    name = made.content.attachments[0].sha256
    blob = data / "blobs" / name[:2] / name
    blob.write_bytes(b"two")
    with pytest.raises(StoreDamaged, match="not what was written"):
        backup(data, tmp_path / "1")
    blob.unlink()
    with pytest.raises(StoreDamaged, match="an e-mail names this file, and it is not there"):
        backup(data, tmp_path / "2")
    journal = data / "journal-0-0000.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"Hello", b"hello", 1))
    with pytest.raises(StoreDamaged, match=r"jsonl:1: the line is damaged"):
        backup(data, tmp_path / "3")
    for place in ("1", "2"):
        with pytest.raises(StoreDamaged, match="the manifest is missing"):
            async with opened(tmp_path / place):
                pass


async def test_there_must_be_a_store(tmp_path: Path) -> None:
    """An empty folder is no store, and is not made one."""
    (tmp_path / "data").mkdir()
    with pytest.raises(StoreDamaged, match="there is no manifest"):
        backup(tmp_path / "data", tmp_path / "copy")
