"""Repair: a damaged log made readable again, with everything that is left of it.

A damaged file is copied to ``corrupt/`` and written anew with all lines that are whole; those that are not are cut, and
their numbers kept by lines that say nothing (see `salvage`). A manifest that is damaged or names what is gone is made
anew from the files that there are. An e-mail of which a lost line may have said that it was sent is never sent again
silently: it is held (see `doubt`, which has the rule). The lines that hold such e-mails are part of the first file that
is written, so a repair that dies on the way never leaves a log that opens without them; it is simply done again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from service.email.times import to_z
from service.store import disk, doubt, lines, manifest, origin, procs
from service.store.errors import StoreUnavailable
from service.store.lock import WriteLock
from service.store.manifest import Manifest
from service.store.salvage import Flaw, Salvage
from service.store.segments import Files

Progress = Callable[[str, int, int], None]

_BLOCK = 1024 * 1024
_PATIENCE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did.

    Attributes:
        manifest: What was done about the manifest; None where it was in order.
        flaws: Every place that was not in order.
        copies: Where the files as they were are now.
        held: The e-mails that are held now.
        changed: How many others may have been cancelled or changed by a line that is lost.
        lines: How many lines are left.
    """

    manifest: str | None
    flaws: list[Flaw]
    copies: list[Path]
    held: list[str]
    changed: int
    lines: int

    @property
    def is_nothing(self) -> bool:
        """Was everything in order?"""
        return self.manifest is None and not self.flaws


@dataclass(frozen=True, slots=True)
class Scan:
    """What is not in order.

    Attributes:
        start: Where reading begins.
        manifest: What is to be done about the manifest; None where it is in order.
        salvage: All that is left.
    """

    start: Manifest
    manifest: str | None
    salvage: Salvage


def scan(directory: Path, files: Files, now: datetime, progress: Progress) -> Scan:
    """Read every line of the log in *directory*, and change nothing.

    Raises:
        StoreDamaged: There is no log, or one that cannot be repaired.
    """
    start, why = origin.find(directory, files)
    salvage = Salvage(files, start, to_z(now), progress)
    salvage.run()
    return Scan(start, why, salvage)


def repair(directory: Path, *, now: Callable[[], datetime], progress: Progress = lambda *_: None) -> Repaired:
    """Repair the log in *directory*, which no process may have open.

    Raises:
        StoreDamaged: There is no log, or one that cannot be repaired; nothing was changed.
        StoreUnavailable: A process has it open, or it cannot be written.
    """
    if not directory.is_dir():
        raise StoreUnavailable("not_writable", f"{directory} is not a folder")
    files = Files(directory)
    try:
        lock = WriteLock(directory)
        try:
            with lock.guarded(_PATIENCE):
                if living := procs.living(directory):
                    message = f"it is in use by process {', '.join(living)}; stop everything that has it open first"
                    raise StoreUnavailable("in_use", message)
                return _repair(directory, files, now(), progress)
        finally:
            lock.close()
    except OSError as error:
        raise disk.unavailable(directory, error) from error
    finally:
        files.close()


def _repair(directory: Path, files: Files, now: datetime, progress: Progress) -> Repaired:
    found = scan(directory, files, now, progress)
    salvage, at = found.salvage, to_z(now)
    in_doubt = doubt.judge(salvage, at)
    drafts = [doubt.held(salvage, email_id, at) for email_id in in_doubt.ids]
    more = lines.encode(salvage.seq + 1, drafts) if drafts else b""
    by_file: dict[str, list[Flaw]] = {}
    for flaw in salvage.flaws:
        by_file.setdefault(flaw.file, []).append(flaw)
    damaged = [*by_file, *([manifest.NAME] if found.manifest and (directory / manifest.NAME).exists() else [])]
    copies = [_keep_copy(directory, name) for name in damaged]
    last = salvage.last
    if more or last in by_file or not (directory / last).exists():
        _rewrite(directory, last, by_file.pop(last, []), more)
    for name, flaws in by_file.items():
        _rewrite(directory, name, flaws, b"")
    if found.manifest:
        manifest.write(directory, found.start)
    return Repaired(found.manifest, salvage.flaws, copies, in_doubt.ids, in_doubt.changed, salvage.lines)


def _keep_copy(directory: Path, name: str) -> Path:
    folder = directory / "corrupt"
    disk.make_folder(folder)
    count = 1
    while (copy := folder / f"{name}.{count}").exists():
        count += 1
    _write(copy, _blocks(directory / name, 0, (directory / name).stat().st_size))
    return copy


def _rewrite(directory: Path, name: str, flaws: list[Flaw], more: bytes) -> None:
    """Give the file *name* all that is good of it, the patches of its *flaws*, and *more* at its end; in one step."""
    path = directory / name
    temporary = path.with_name(f"{name}.tmp")

    def content() -> Iterator[bytes]:
        at = 0
        for flaw in sorted(flaws, key=lambda flaw: flaw.start):
            yield from _blocks(path, at, flaw.start)
            yield flaw.patch
            at = flaw.end
        if path.exists():
            yield from _blocks(path, at, path.stat().st_size)
        yield more

    _write(temporary, content())
    temporary.replace(path)
    disk.sync_folder(directory)


def _blocks(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (block := file.read(min(_BLOCK, stop - start))):
            start += len(block)
            yield block


def _write(path: Path, blocks: Iterator[bytes]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, disk.FILE_MODE)
    try:
        for block in blocks:
            disk.write_all(fd, block)
        os.fsync(fd)
    finally:
        os.close(fd)
    disk.sync_folder(path.parent)
