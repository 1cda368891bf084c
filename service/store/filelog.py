"""The log as files of one directory of one machine, for any number of processes.

    DATA/LOCK  MANIFEST.json  snapshot-G.jsonl  journal-G-NNNN.jsonl  blobs/ab/SHA256  procs/BY  corrupt/

Writers append whole writes to the last segment, one at a time under the lock, and make them durable before they let
go of it. Readers need no lock: they go by what is whole. `docs/architecture.md` has the rules and the reasons.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from service.email.times import to_z
from service.store import disk, lines, manifest, recovery, snapshots
from service.store.blobs import Blobs
from service.store.cursor import SEALED, Cursor, read_snapshot
from service.store.errors import StoreDamaged, StoreError, StoreUnavailable
from service.store.lock import WriteLock
from service.store.log import COMPACTED, LEAVING, Draft, Entry, Line, Ref
from service.store.manifest import Manifest
from service.store.procs import Procs
from service.store.roles import Roles
from service.store.segments import Files, segment_key, segment_name
from service.store.snapshots import snapshot_name

_SUSPECT = "SUSPECT"
"""Names the segment whose fdatasync failed. It need not survive a power failure, after which the disk's word counts."""

_WAIT_STEP = 0.02  # seconds


class FileLog:
    """See `service.store.log.Log`, which this keeps."""

    def __init__(
        self,
        directory: Path,
        identity: str,
        lock: WriteLock,
        procs: Procs,
        *,
        now: Callable[[], datetime],
        lock_timeout: timedelta,
    ) -> None:
        self.id = identity
        self.blobs = Blobs(directory)
        self._directory = directory
        self._lock = lock
        self._procs = procs
        self._roles = Roles(directory)
        self._now = now
        self._lock_timeout = lock_timeout
        self._files = Files(directory)
        self._reader: Cursor | None = None
        self._partial: tuple[int, int] | None = None
        self._tail: Cursor
        self._unsynced = True
        self._dead: StoreError | None = None

    @classmethod
    def open(
        cls, directory: Path, *, now: Callable[[], datetime], lock_timeout: timedelta = timedelta(seconds=5)
    ) -> FileLog:
        """Open the log in *directory*, making both when there is neither. Nothing but `load` works on it yet.

        Args:
            directory: The data directory, on a local disk.
            now: The clock for the lines that the log writes by itself.
            lock_timeout: How long opening and loading wait for other processes.

        Raises:
            StoreDamaged: The manifest is damaged or missing.
            StoreUnavailable: The directory cannot be written, is locked, or lies on a network file system.
        """
        try:
            disk.make_folder(directory)
            disk.refuse_network(directory)
            lock = WriteLock(directory)
            try:
                with lock.guarded(lock_timeout):
                    identity = (manifest.read(directory) or _make(directory)).id
                    procs = Procs(directory)
            except BaseException:
                lock.close()
                raise
        except OSError as error:
            raise disk.unavailable(directory, error) from error
        return cls(directory, identity, lock, procs, now=now, lock_timeout=lock_timeout)

    @property
    def by(self) -> str:
        """See `Log.by`."""
        return self._procs.by

    def load(self) -> Iterator[Entry]:
        """Every line there is, then bring the end of the journal in order; call it once, before anything else.

        Raises:
            StoreDamaged: Something other than the last write is not readable.
            StoreUnavailable: See `open`.
        """
        # Without the lock, for it takes long and others must write; under it only what came since, and the judging.
        yield from self.read(0)
        assert self._reader is not None
        with self._lock.guarded(self._lock_timeout):
            self._tail = self._reader.copy()
            try:
                self._settle()
                recovery.check_last(self._files, self._tail)
                self._leave_suspect()
            except OSError as error:
                raise disk.unavailable(self._files.path(self._tail.file), error) from error
        yield from self._reader.advance()

    def read(self, after: int) -> Iterator[Entry]:
        """See `Log.read`."""
        reader = self._reader
        if reader is not None and reader.seq == after:
            file = reader.file
            size = self._files.size(file)
            yield from reader.advance()
            self._partial = (file, size) if (reader.file, reader.offset < size) == (file, True) else None
        else:
            yield from (entry for entry in self._from_start(after) if entry[1]["seq"] > after)

    def fetch(self, ref: Ref) -> Line:
        """See `Log.fetch`."""
        return self._files.fetch(ref)

    def transact(self, decide: Callable[[], Sequence[Draft]]) -> None:
        """See `Log.transact`. After a failure that leaves the disk in doubt, this and every later call raises."""
        if self._dead is not None:
            raise self._dead.with_traceback(None)
        try:
            with self._lock:
                self._settle()
                drafts = decide()
                if drafts:
                    self._append(drafts)
                elif self._unsynced:
                    self._sync()
        except OSError as error:
            raise disk.unavailable(self._files.path(self._tail.file), error) from error

    def seal(self, leaving: str | None = None) -> int:
        """See `Log.seal`; *leaving* is told everybody, see `LEAVING`."""
        try:
            with self._lock:
                self._settle()
                self._roll(new_generation=True, told={} if leaving is None else {LEAVING: leaving})
        except OSError as error:
            raise disk.unavailable(self._files.path(self._tail.file), error) from error
        return self._tail.seq

    def compact(self, seq: int, merged: Iterable[tuple[int, Draft]]) -> int:
        """See `Log.compact`. The files that are not read any more are removed by `sweep`, later."""
        assert self._tail.seq == seq, "call seal first, and nothing between"
        journal = self._files.name(self._tail.file)
        generation = segment_key(journal)
        assert generation is not None
        snapshot, at = snapshot_name(generation[0]), to_z(self._now())
        try:
            count = snapshots.write(self._directory / snapshot, seq, at, merged)
            self._follow()  # through what others wrote meanwhile, for which nobody need wait
            with self._lock:
                previous, start = manifest.read(self._directory), Manifest(self.id, snapshot, seq, journal)
                if previous is not None:
                    snapshots.retire(self._directory, start, previous)
                manifest.write(self._directory, start)
                self._settle()
                self._append([Draft(at, "", 0, COMPACTED, {"seq": seq, "lines": count})])
        except OSError as error:
            raise disk.unavailable(self._directory / snapshot, error) from error
        return count

    def sweep(self) -> list[Path]:
        """Remove the files that compactions have replaced an hour ago."""
        start = manifest.read(self._directory)
        return [] if start is None else snapshots.sweep(self._directory, start)

    def wait(self, after: int, timeout: float) -> bool:
        """See `Log.wait`."""
        deadline = time.monotonic() + timeout
        while (reader := self._reader) is None or (reader.seq <= after and not self._has_grown(reader)):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_WAIT_STEP)
        return True

    def alive(self, by: str) -> bool:
        """See `Log.alive`."""
        return self._procs.alive(by)

    def tell(self, told: dict[str, Any]) -> None:
        """See `Log.tell`."""
        self._procs.tell(told)

    def told(self) -> list[dict[str, Any]]:
        """See `Log.told`."""
        return self._procs.told()

    def lead(self, role: str) -> bool:
        """See `Log`."""
        return self._roles.take(role)

    def free(self) -> int:
        """See `Log.free`."""
        disk_now = os.statvfs(self._directory)
        return disk_now.f_bavail * disk_now.f_frsize

    def holder(self) -> str:
        """See `Log.holder`."""
        return self._lock.holder()

    def close(self) -> None:
        """See `Log.close`."""
        self._procs.close()
        self._roles.close()
        self._lock.close()
        self._files.close()

    def _has_grown(self, reader: Cursor) -> bool:
        """Is there more than was read, and than the part of a write that was seen then?"""
        size = self._files.size(reader.file)
        return size > reader.offset and (reader.file, size) != self._partial

    def _from_start(self, after: int) -> Iterator[Entry]:
        start, snapshot, journal = self._open_start()
        if 0 < after < start.seq:
            # What changed since may stand in lines that took the places of lines before *after*.
            raise StoreUnavailable("journal_cut", f"what follows line {after} was merged by a compaction")
        if snapshot is not None:
            yield from read_snapshot(self._files, snapshot, start.seq)
        self._reader = Cursor(self._files, journal, 0, start.seq)
        yield from self._reader.advance()

    def _open_start(self) -> tuple[Manifest, int | None, int]:
        """The manifest and the files it names, opened: once open, they may be removed by a compaction."""
        seen = None
        while (start := manifest.read(self._directory)) != seen and start is not None:
            seen = start
            with contextlib.suppress(FileNotFoundError):
                snapshot = None if start.snapshot is None else self._files.open(start.snapshot)
                return start, snapshot, self._files.open(start.journal)
        raise StoreDamaged(self._directory / manifest.NAME, 1, f"a file that it names is missing: {start}")

    def _settle(self) -> None:
        """Read on to the end of the journal and put that in order; for who holds the lock."""
        self._follow()
        recovery.settle_tail(self._files, self._tail)
        if self._reader is not None and self._reader.seq > self._tail.seq:
            self._dead = StoreUnavailable("journal_cut", "a write was read that its writer could not make durable")
            raise self._dead

    def _follow(self) -> None:
        written = {self._files.number(ref) for ref, _ in self._tail.advance()}
        if written:
            # By others, who may have died between the write and its fdatasync.
            self._unsynced = True
            for number in written - {self._tail.file}:
                os.fdatasync(self._files.fd(number))

    def _append(self, drafts: Sequence[Draft]) -> None:
        tail = self._tail
        content = lines.encode(tail.seq + 1, drafts)
        path, fd = self._files.path(tail.file), self._files.fd(tail.file)
        try:
            disk.write_all(fd, content)
        except OSError as error:
            self._cut(fd)
            raise disk.unavailable(path, error) from error
        self._sync()
        tail.offset += len(content)
        tail.seq += len(drafts)

    def _sync(self) -> None:
        """Make the last segment durable, or cut what is not and never trust this file again.

        After a failed fdatasync the kernel may have dropped the data and yet report success to the next call.
        """
        fd = self._files.fd(self._tail.file)
        try:
            os.fdatasync(fd)
        except OSError as error:
            path = self._files.path(self._tail.file)
            self._dead = StoreUnavailable("write_failed", f"{path}: could not be made durable: {error.strerror}")
            self._cut(fd)
            with contextlib.suppress(OSError):
                disk.create(self._directory / _SUSPECT, path.name.encode())
            raise self._dead from error
        self._unsynced = False

    def _cut(self, fd: int) -> None:
        try:
            os.ftruncate(fd, self._tail.offset)
        except OSError as error:
            path = self._files.path(self._tail.file)
            self._dead = StoreUnavailable("write_failed", f"{path}: a failed write could not be cut: {error.strerror}")

    def _leave_suspect(self) -> None:
        """Go on in a new segment if the present one could not be made durable by the process before."""
        suspect = self._directory / _SUSPECT
        if not suspect.exists():
            return
        if suspect.read_text() == self._files.name(self._tail.file):
            self._roll()
        suspect.unlink()

    def _roll(self, *, new_generation: bool = False, told: Mapping[str, str] = MappingProxyType({})) -> None:
        """Seal the last segment and go on in a new one, which is there before anything leads to it."""
        key = segment_key(self._files.name(self._tail.file))
        assert key is not None
        following = segment_name(key[0] + 1, 0) if new_generation else segment_name(key[0], key[1] + 1)
        disk.create(self._directory / following)
        self._append([Draft(to_z(self._now()), "", 0, SEALED, {"next": following, **told})])
        self._tail.file, self._tail.offset = self._files.open(following), 0


def _make(directory: Path) -> Manifest:
    """Start a log in a directory that has none; under the lock.

    Raises:
        StoreDamaged: There are files of a log, but no manifest: starting empty would hide them.
    """
    for path in directory.iterdir():
        if path.match("snapshot-*") or (segment_key(path.name) is not None and path.stat().st_size > 0):
            raise StoreDamaged(directory / manifest.NAME, 1, f"the manifest is missing, but there is {path.name}")
    start = Manifest(secrets.token_hex(8), None, 0, segment_name(0, 0))
    disk.create(directory / start.journal)
    manifest.write(directory, start)
    return start
