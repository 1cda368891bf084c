"""A disk that is full, read-only or lies: nothing is taken that could be lost, nothing is hidden."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.running import LEAST, Service, ahead, eventually, run

MIB = 1024 * 1024


def mounted(folder: Path, options: str) -> None:
    """Mount a small file system in memory; skips the test where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only a root that may mount file systems can run this")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    disk = tmp_path / "disk"
    mounted(disk, "size=16m")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that cannot be written."""
    disk = tmp_path / "disk"
    mounted(disk, "size=1m,ro")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill a file system but for *leave* bytes; the file that does it."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with filler.open("ab") as file:
        file.write(b"\0" * max(0, free - leave))
    return filler


def assert_refused(service: Service) -> None:
    """An accept answers 503 with the reason, and nothing of it is there afterwards."""
    before = service.http.get("/v1/emails").json()
    response = service.http.post("/v1/emails", json=LEAST)
    assert (response.status_code, response.json()["code"]) == (503, "no_space")
    assert response.headers["retry-after"]
    assert response.json()["detail"].startswith("Nothing was changed, try again later: ")
    assert service.http.get("/v1/emails").json() == before
    ready = service.http.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
    assert ready.json()["store"]["reason"] == "no_space"


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """Below MIN_FREE nothing new is accepted, what was accepted is sent; and with space again all is as before."""
    data = small_disk / "data"
    with Service(tmp_path / "up", {"DATA_DIR": str(data), "MIN_FREE": "2MiB", "RETRY_DELAYS": "1"}) as service:
        early = service.accept(subject="early", scheduled_at=ahead(1))["id"]
        filler = fill(small_disk, leave=MIB)
        assert_refused(service)
        service.wait_for(early, "completed")
        assert len(service.inbox("early")) == 1
        filler.unlink()
        late = service.accept(subject="late", scheduled_at=ahead(1), max_retries=20)["id"]
        filler = fill(small_disk, leave=0)
        assert_refused(service)
        eventually(
            lambda: "No space left on device" in service.logged + str(service.email(late)["last_error"]),
            "an e-mail that nobody can keep",
        )
        filler.unlink()
        service.wait_for(late, "completed", timeout=40)
        assert len(service.inbox("late")) == 1
        after = service.accept(subject="after")["id"]
        service.wait_for(after, "completed", timeout=40)
        assert "Traceback" not in service.logged
        assert service.stop() == 0
        (journal,) = data.glob("journal-*.jsonl")
        assert {"early", "late", "after"} <= {
            json.loads(line)["data"].get("content", {}).get("subject") for line in journal.read_text().splitlines()
        }
        assert not (data / "corrupt").exists()


def test_a_read_only_disk(read_only_disk: Path) -> None:
    """A data directory that cannot be written is told with its setting, and nothing is started; status 4."""
    for data, why in ((read_only_disk, "it cannot be written to"), (read_only_disk / "new", "Read-only file system")):
        ended = run(data, "up")
        assert (ended.returncode, ended.stdout) == (4, "")
        assert re.fullmatch(rf"service: the store in SERVICE_DATA_DIR={data} cannot be used: .*{why}\n", ended.stderr)


@pytest.mark.parametrize("command", ["up", "api", "worker", "inbox"])
def test_a_data_directory_that_cannot_be_one(tmp_path: Path, command: str) -> None:
    """A path that leads through a file is told in one sentence that names the setting, by every command."""
    (tmp_path / "file").write_text("")
    data = tmp_path / "file" / "data"
    ended = run(data, command, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2 if command == "inbox" else 4, "")
    assert ended.stderr.count("\n") == 1
    assert f"SERVICE_DATA_DIR={data} cannot be used: " in ended.stderr
    assert ended.stderr.endswith(": Not a directory\n")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a service that took three e-mails and was stopped."""
    with Service(tmp_path_factory.mktemp("kept")) as service:
        for number in range(3):
            service.accept(subject=f"kept {number}", scheduled_at="2100-01-01T00:00:00Z")
        assert service.stop() == 0
    return service.data_dir


@pytest.mark.parametrize("command", ["up", "api", "worker"])
def test_a_log_damaged_in_the_middle(kept: Path, command: str) -> None:
    """One changed letter: the start is refused with the file and the line, status 3, and the file stays as it is."""
    (journal,) = kept.glob("journal-*.jsonl")
    whole = journal.read_bytes()
    assert whole.count(b"\n") == 3
    damaged = whole.replace(b"kept 1", b"kept 7")
    journal.write_bytes(damaged)
    ended = run(kept, command)
    assert (ended.returncode, ended.stdout) == (3, "")
    told = f"service: the store is damaged and nothing was started: {journal}:2: the line is damaged, and "
    remedy = "`python -m service repair` keeps everything else, and says what it cut."
    assert set(ended.stderr.splitlines()) == {f"{told}it is not the last write", remedy}
    assert journal.read_bytes() == damaged
    journal.write_bytes(whole)


def test_a_missing_manifest(kept: Path) -> None:
    """Without its manifest a store does not start empty: that would hide what was promised."""
    manifest = kept / "MANIFEST.json"
    away = manifest.rename(kept / "away")
    ended = run(kept, "up")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert f"{manifest}:1: the manifest is missing, but there is journal-" in ended.stderr
    assert not manifest.exists()
    away.rename(manifest)


def test_what_is_whole_again_starts_again(kept: Path) -> None:
    """Once the file is restored, everything is there."""
    with Service(kept.parent) as service:
        listed = service.http.get("/v1/emails").json()["data"]
        assert [one["subject"] for one in listed] == ["kept 2", "kept 1", "kept 0"]
