"""The ground under the store: local disks only, and processes known by the locks they hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.store import disk
from service.store.errors import StoreUnavailable
from service.store.procs import Procs


@pytest.mark.parametrize(
    ("kind", "point", "refused"),
    [
        ("nfs4", "{data}", True),
        ("cifs", "{parent}", True),
        ("fuse.sshfs", "/", True),
        ("ext4", "{data}", False),
        ("nfs", "{data}x", False),
        ("nfs", "{data}/deeper", False),
    ],
)
def test_network_file_systems_are_refused(tmp_path: Path, kind: str, point: str, refused: bool) -> None:
    """The mount that the directory lies on decides, not one beside or below it; blanks in its path are no obstacle."""
    data = tmp_path / "my data"
    data.mkdir()
    mounted = point.format(data=data, parent=tmp_path).replace(" ", r"\040")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {mounted} {kind} rw 0 0\n")
    if refused:
        with pytest.raises(StoreUnavailable, match=f"network file system \\({kind}\\)") as caught:
            disk.refuse_network(data, mounts)
        assert caught.value.reason == "network_file_system"
    else:
        disk.refuse_network(data, mounts)
    disk.refuse_network(data, tmp_path / "no such table")


def test_replacing_a_file_leaves_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement that fails half-way leaves the old content."""
    disk.replace(tmp_path / "file", b"old")

    def fail(_: int) -> None:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no"):
            disk.replace(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    disk.replace(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_process_lives_as_long_as_it_holds_its_file(tmp_path: Path) -> None:
    """A killed process is dead at once, a closed one too; the files of the dead are cleared away by the next."""
    script = "import sys, pathlib, service.store.procs as p; q = p.Procs(pathlib.Path(sys.argv[1])); "
    script += "print(q.by, flush=True); sys.stdin.read()"
    procs = Procs(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        by = child.stdout.readline().strip()
        assert procs.alive(by)
        child.kill()
        child.wait()
    assert (procs.alive(by), procs.alive(procs.by), (tmp_path / "procs" / by).exists()) == (False, True, True)
    other = Procs(tmp_path)
    assert {path.name for path in (tmp_path / "procs").iterdir()} == {procs.by, other.by}
    other.close()
    assert not procs.alive(other.by)
    procs.close()
    assert list((tmp_path / "procs").iterdir()) == []


def test_what_a_process_tells_is_known_while_it_lives(tmp_path: Path) -> None:
    """Its last word, whatever the length of the one before; nothing of those that said nothing."""
    speaker, listener = Procs(tmp_path), Procs(tmp_path)
    assert listener.told() == []
    for told in ({"relay": "a" * 100}, {"relay": "b"}):
        speaker.tell(told)
        assert (listener.told(), speaker.told()) == ([told], [told])
    speaker.close()
    assert listener.told() == []
    listener.close()
