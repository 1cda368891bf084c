"""Verifying: every line of the store is read, and every file that an e-mail names; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from service.store import manifest, procs, repair
from service.store.blobs import Blobs
from service.store.errors import StoreDamaged
from service.store.segments import Files

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """What is there.

    Attributes:
        emails: E-mails.
        documents: Documents.
        files: Files that e-mails name.
        wrong: Everything that is not as it was written: file, line and what is wrong with it.
        torn: Bytes of a write at the end that was not finished, which the next start cuts; 0 for none.
    """

    emails: int
    documents: int
    files: int
    wrong: list[str]
    torn: int


def verify(directory: Path, *, now: Callable[[], datetime], progress: Progress = lambda *_: None) -> Verified | None:
    """Read the store in *directory*, which may be in use; None if there is none.

    Raises:
        StoreDamaged: There is so little of it that nothing more can be said.
    """
    if not (directory / manifest.NAME).exists() and not any(directory.glob("*.jsonl")):
        return None
    files = Files(directory)
    try:
        found = repair.scan(directory, files, now(), progress)
    finally:
        files.close()
    salvage = found.salvage
    wrong = [f"{directory / manifest.NAME}:1: to be {found.manifest}"] if found.manifest else []
    # What looks torn may also be a write in the making.
    torn = [flaw for flaw in salvage.flaws if flaw.is_torn]
    wrong += [f"{directory / flaw.where}: {flaw.what}" for flaw in salvage.flaws if not flaw.is_torn]
    wrong += _bad_files(directory, sorted(salvage.named), progress)
    cut = 0 if procs.living(directory) else sum(flaw.end - flaw.start for flaw in torn)
    emails = len(salvage.index)
    return Verified(emails, salvage.index.records - emails, len(salvage.named), wrong, cut)


def _bad_files(directory: Path, names: list[str], progress: Progress) -> list[str]:
    blobs = Blobs(directory)
    bad = []
    for count, name in enumerate(names, 1):
        progress("reading files", count, len(names))
        try:
            blobs.read(name)
        except KeyError:
            bad.append(f"{directory / 'blobs' / name[:2] / name}: an e-mail names this file, and it is not there")
        except StoreDamaged as error:
            bad.append(str(error))
    return bad
