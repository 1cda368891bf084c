"""Files kept under their SHA-256 beside the log: attachments. A line that names one is written after it is durable.

DATA/blobs/ab/SHA256
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from hashlib import sha256
from pathlib import Path

from service.store import disk
from service.store.errors import StoreDamaged

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The folder of them; every method may be called by any thread of any process."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / "blobs"

    def put(self, data: bytes) -> str:
        """Keep *data*; durable on return. One that is there already is used anew, which its time of change shows.

        Returns:
            Its SHA-256, hex.

        Raises:
            StoreUnavailable: It could not be written.
        """
        name = sha256(data).hexdigest()
        path = self._path(name)
        try:
            if self.size(name) == len(data):
                with contextlib.suppress(FileNotFoundError):  # a compaction has just removed it
                    os.utime(path)
                    disk.sync_folder(path.parent)  # who made it may have died before this
                    return name
            disk.make_folder(path.parent)
            temporary = path.with_name(f"{name}.{secrets.token_hex(8)}.tmp")
            try:
                disk.create(temporary, data)
                temporary.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
            disk.sync_folder(path.parent)
        except OSError as error:
            raise disk.unavailable(path, error) from error
        return name

    def touch(self, name: str) -> None:
        """Make what is kept as *name* look used, so that it is not taken for rubbish before a line names it.

        Raises:
            KeyError: There is nothing.
            StoreUnavailable: It cannot be done.
        """
        path = self._path(name)
        try:
            os.utime(path)
        except FileNotFoundError:
            raise KeyError(name) from None
        except OSError as error:
            raise disk.unavailable(path, error) from error

    def read(self, name: str) -> bytes:
        """The bytes whose SHA-256 is *name*.

        Raises:
            KeyError: There are none.
            StoreDamaged: They are not what was written.
        """
        try:
            data = self._path(name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None
        if sha256(data).hexdigest() != name:
            raise StoreDamaged(self._path(name), 1, "the file is not what was written")
        return data

    def size(self, name: str) -> int | None:
        """How many bytes there are with this SHA-256; None if there are none, or it is none."""
        if _NAME.fullmatch(name) is None:
            return None
        try:
            return self._path(name).stat().st_size
        except FileNotFoundError:
            return None

    def _path(self, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise KeyError(name)
        return self._folder / name[:2] / name
