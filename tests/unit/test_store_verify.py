"""Verifying tells all that is wrong with a store, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from service.email.record import Attachment
from service.store.errors import StoreDamaged
from service.store.verify import Verified, verify
from tests.unit.store_emails import NOW, email, opened
from tests.unit.store_logs import JOURNAL
from tests.unit.test_store_repair import damage, filled


def verified(directory: Path) -> Verified | None:
    """Verify the store in *directory*, at noon."""
    return verify(directory, now=lambda: NOW)


def every_file(directory: Path) -> dict[Path, bytes]:
    """All that is in *directory*."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_a_store_in_order_is_counted(tmp_path: Path) -> None:
    """E-mails, documents, and the files that e-mails name; in use or not, and without a store there is none."""
    assert verified(tmp_path) is None
    await filled(tmp_path)
    assert verified(tmp_path) == Verified(emails=4, documents=1, files=0, wrong=[], torn=0)
    async with opened(tmp_path):
        assert verified(tmp_path) == Verified(emails=4, documents=1, files=0, wrong=[], torn=0)


async def test_every_damage_is_told(tmp_path: Path) -> None:
    """Not only the first; a second look finds the same, for nothing was changed."""
    await filled(tmp_path)
    for line in (2, 4, 5):
        damage(tmp_path / JOURNAL, line)
    before = every_file(tmp_path)
    found = verified(tmp_path)
    assert found is not None
    assert [what.partition(JOURNAL)[2].partition(" ")[0] for what in found.wrong] == [":2:", ":4-5:", ":7:"]
    assert (verified(tmp_path), every_file(tmp_path)) == (found, before)


async def test_a_write_that_was_not_finished_is_no_damage(tmp_path: Path) -> None:
    """It is told where nobody can be writing it; of a store in use it may be in the making."""
    await filled(tmp_path)
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b'{"seq":8,"at"')
    before = every_file(tmp_path)
    assert verified(tmp_path) == Verified(emails=4, documents=1, files=0, wrong=[], torn=13)
    assert every_file(tmp_path) == before
    async with opened(tmp_path):
        with (tmp_path / JOURNAL).open("ab") as journal:
            journal.write(b'{"seq":8,"at"')
        assert verified(tmp_path) == Verified(emails=4, documents=1, files=0, wrong=[], torn=0)


async def test_files_of_emails_are_compared(tmp_path: Path) -> None:
    """One that is missing and one that was altered are named."""
    async with opened(tmp_path) as store:
        names = []
        for n, data in enumerate((b"gone", b"altered", b"fine")):
            names.append(store.put_blob(data))
            attachment = Attachment("a", "text/plain", len(data), names[-1])
            made = email(str(n))
            await store.accept([replace(made, content=replace(made.content, attachments=(attachment,)))])
    gone, altered = (tmp_path / "blobs" / name[:2] / name for name in names[:2])
    gone.unlink()
    altered.write_bytes(b"Altered")
    found = verified(tmp_path)
    assert found is not None
    assert sorted(found.wrong) == sorted(
        [
            f"{gone}: an e-mail names this file, and it is not there",
            f"{altered}:1: the file is not what was written",
        ]
    )


@pytest.mark.parametrize("content", [b"", b"nonsense"])
async def test_a_damaged_manifest_is_told(tmp_path: Path, content: bytes) -> None:
    """With what a repair would do about it; without anything else there is nothing to tell."""
    await filled(tmp_path)
    (tmp_path / "MANIFEST.json").write_bytes(content)
    found = verified(tmp_path)
    assert found is not None
    (wrong,) = found.wrong
    assert wrong.startswith(f"{tmp_path}/MANIFEST.json:1: to be made anew")
    (tmp_path / JOURNAL).unlink()
    with pytest.raises(StoreDamaged, match="there is no file of a log"):
        verified(tmp_path)
