"""Blobs: what is kept under its SHA-256 is there again, whole or not at all."""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest

from service.store.blobs import Blobs
from service.store.errors import StoreDamaged, StoreUnavailable
from tests.unit.store_emails import opened
from tests.unit.store_logs import failing

DATA = b"%PDF-1.7 \x00\xff" * 1000
NAME = sha256(DATA).hexdigest()


async def test_a_blob_is_kept_under_its_hash(tmp_path: Path) -> None:
    """Put answers the SHA-256, under which other stores of the directory find the bytes and their number."""
    async with opened(tmp_path) as one, opened(tmp_path) as two:
        assert one.put_blob(DATA) == NAME
        assert (two.blob(NAME), two.blob_size(NAME)) == (DATA, len(DATA))
        assert two.put_blob(b"") == sha256(b"").hexdigest()
        assert one.blob(sha256(b"").hexdigest()) == b""
    (path,) = (tmp_path / "blobs" / NAME[:2]).iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == (NAME, 0o600)


@pytest.mark.parametrize("name", [NAME, "", "../LOCK", NAME.upper(), NAME + "0", "a\n"])
def test_what_was_never_kept_is_not_there(tmp_path: Path, name: str) -> None:
    """Another name, and one that is none, has no size and no bytes."""
    blobs = Blobs(tmp_path)
    assert blobs.size(name) is None
    with pytest.raises(KeyError):
        blobs.read(name)


def test_the_same_again_is_only_touched(tmp_path: Path) -> None:
    """Keeping what is there writes nothing, but makes it look used."""
    blobs = Blobs(tmp_path)
    path = tmp_path / "blobs" / NAME[:2] / NAME
    blobs.put(DATA)
    os.utime(path, (0, 0))
    inode = path.stat().st_ino
    assert blobs.put(DATA) == NAME
    assert (path.stat().st_ino, path.stat().st_mtime > 0) == (inode, True)


def test_what_a_compaction_takes_away_at_that_moment_is_kept_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there at the first look and is not at the second: the bytes are at hand."""
    blobs = Blobs(tmp_path)
    blobs.put(DATA)
    size = Blobs.size

    def and_gone(self: Blobs, name: str) -> int | None:
        found = size(self, name)
        (tmp_path / "blobs" / NAME[:2] / NAME).unlink()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Blobs, "size", and_gone)
        assert blobs.put(DATA) == NAME
    assert blobs.read(NAME) == DATA


def test_what_is_about_to_be_named_looks_used(tmp_path: Path) -> None:
    """A touch renews the time of change; what is not there cannot be touched."""
    blobs = Blobs(tmp_path)
    path = tmp_path / "blobs" / NAME[:2] / NAME
    blobs.put(DATA)
    os.utime(path, (0, 0))
    blobs.touch(NAME)
    assert path.stat().st_mtime > 0
    with pytest.raises(KeyError):
        blobs.touch("0" * 64)


def test_a_damaged_blob_is_found_and_repaired_by_the_next_put(tmp_path: Path) -> None:
    """Bytes that are not those of the name are never answered; a cut file is written again."""
    blobs = Blobs(tmp_path)
    path = tmp_path / "blobs" / NAME[:2] / NAME
    blobs.put(DATA)
    path.write_bytes(DATA[:-1])
    with pytest.raises(StoreDamaged, match=NAME):
        blobs.read(NAME)
    blobs.put(DATA)
    assert blobs.read(NAME) == DATA


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the caller is told, and not even a part is left."""
    blobs = Blobs(tmp_path)
    blobs.put(b"other")
    monkeypatch.setattr(os, "write", failing(errno.ENOSPC))
    with pytest.raises(StoreUnavailable) as caught:
        blobs.put(DATA)
    assert caught.value.reason == "no_space"
    assert blobs.size(NAME) is None
    assert list((tmp_path / "blobs" / NAME[:2]).iterdir()) == []
