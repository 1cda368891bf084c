"""Making files and folders that are still there after a power failure, on a disk that can promise it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from service.store.errors import StoreUnavailable

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_MOUNTS = Path("/proc/self/mounts")
_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
}  # fmt: skip
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unavailable(path: Path, error: OSError) -> StoreUnavailable:
    """The error of the store that says what the operating system said about *path*."""
    reason = "no_space" if error.errno in _FULL else "not_writable"
    return StoreUnavailable(reason, f"{error.filename or path}: {error.strerror}")


def make_folder(path: Path) -> None:
    """Create *path* and what is missing above it, private and durable; an existing folder is left as it is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: a file's own fsync does not cover its name."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def create(path: Path, content: bytes = b"") -> None:
    """Make the file *path* durable with *content*, replacing what it held (in place: not for what others read)."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    try:
        write_all(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Give *path* a new content in one step: whoever opens it sees the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    create(temporary, content)
    temporary.replace(path)
    sync_folder(path.parent)


def write_all(fd: int, content: bytes) -> None:
    """Write all of *content*, or raise OSError; a write that ends short means that the disk is full."""
    if content and os.write(fd, content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse_network(path: Path, mounts: Path = _MOUNTS) -> None:
    """Refuse a folder that another machine may write: its locks and its fsync promise too little.

    Args:
        path: An existing folder.
        mounts: The table of mounted file systems (fstab(5) form); where there is none, nothing is refused.

    Raises:
        StoreUnavailable: The folder lies on a network file system (``network_file_system``).
    """
    if not mounts.exists():
        return
    place = os.path.realpath(path)
    kind, longest = "", -1
    for entry in mounts.read_bytes().splitlines():
        point, kind_here = entry.split()[1:3]
        mounted = os.fsdecode(point.decode("unicode_escape").encode("latin-1"))  # blanks are written \040
        above = place == mounted or place.startswith(mounted.rstrip("/") + "/")
        if above and len(mounted) >= longest:
            kind, longest = kind_here.decode(), len(mounted)
    if kind in _NETWORK:
        raise StoreUnavailable(
            "network_file_system", f"{place} is on a network file system ({kind}); the store needs a local disk"
        )
