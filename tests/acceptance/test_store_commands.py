"""The commands that look after a store, beside a service that runs: backup, export and import, check."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.acceptance.running import LEAST, Service, ahead, environment, run


def beside(data_dir: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the data directory of a service that runs."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env=environment(data_dir, settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_backup_taken_under_load_sends_from_elsewhere(tmp_path: Path) -> None:
    """Every e-mail of before the copy began that was not sent is sent from the copy, with an empty Redis."""
    acknowledged: list[str] = []
    stop = threading.Event()
    copy = tmp_path / "copy"
    with Service(tmp_path / "here") as here:
        file = {"filename": "a.txt", "content": "aGVsbG8="}

        def load() -> None:
            while not stop.is_set():
                acknowledged.append(here.accept(scheduled_at=ahead(3600), attachments=[file])["id"])

        thread = threading.Thread(target=load)
        thread.start()
        try:
            soon = [here.accept(scheduled_at=ahead(30))["id"] for _ in range(20)]
            early = list(acknowledged)
            done = beside(here.data_dir, "backup", str(copy))
        finally:
            stop.set()
            thread.join()
        assert (done.returncode, done.stderr) == (0, "")
        here.stop(signal.SIGTERM)
    assert early
    with Service(tmp_path / "there", data_dir=copy) as there:
        for name in early:  # the attachments are there too
            patched = there.http.patch(f"/v1/emails/{name}", json={"scheduled_at": ahead(0)})
            assert patched.status_code == 200, patched.text
        for name in soon + early:
            assert there.wait_for(name, "completed", timeout=60)["attempts"] == 1
        assert len(list((copy / "inbox").rglob("*.eml"))) == len(soon + early)


def test_an_export_comes_back_the_same(tmp_path: Path) -> None:
    """Export, import and export again: the same lines; the file is its owner's alone."""
    with Service(tmp_path / "here") as here:
        sent = here.accept(attachments=[{"filename": "a.txt", "content": "aGVsbG8="}])["id"]
        here.wait_for(sent, "completed")
        here.accept(scheduled_at=ahead(3600))
        put = here.http.put("/v1/templates/t", json={"subject": "Hello {{ name }}", "text": "Hi"})
        assert put.status_code in (200, 201), put.text
        first = beside(here.data_dir, "export", str(tmp_path / "first.jsonl"))
        assert (first.returncode, first.stdout) == (0, "")
    assert (tmp_path / "first.jsonl").stat().st_mode & 0o777 == 0o600
    imported = run(tmp_path / "elsewhere", "import", str(tmp_path / "first.jsonl"))
    assert (imported.returncode, imported.stdout) == (0, "E-mails: 2, documents: 1, files: 1\n")
    second = run(tmp_path / "elsewhere", "export")
    assert (second.returncode, second.stdout) == (0, (tmp_path / "first.jsonl").read_text())
    again = run(tmp_path / "elsewhere", "import", str(tmp_path / "first.jsonl"))
    assert again.stdout == "E-mails: 0, documents: 0, files: 1\nThere already, and the same: 3\n"
    (tmp_path / "bad.jsonl").write_text("".join((tmp_path / "first.jsonl").read_text().splitlines(True)[:-1]))
    bad = run(tmp_path / "third", "import", str(tmp_path / "bad.jsonl"))
    assert bad.returncode == 2


@pytest.mark.parametrize("command", ["backup", "export", "import", "check", "repair"])
def test_help_says_what_a_command_does(tmp_path: Path, command: str) -> None:
    """Each has a page of help."""
    shown = run(tmp_path / "data", command, "--help")
    assert (shown.returncode, shown.stdout.startswith(f"usage: python -m service {command}")) == (0, True)


def test_a_backup_goes_into_an_empty_folder(tmp_path: Path) -> None:
    """Another store is never written over."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with Service(tmp_path / "here") as here:
        refused = beside(here.data_dir, "backup", str(tmp_path / "taken"))
    assert (refused.returncode, "is not an empty folder" in refused.stderr) == (2, True)


def test_check_tells_what_is_not_in_order(tmp_path: Path) -> None:
    """A line for each thing; 4 where a relay or Redis is away, 3 where the store is damaged, 2 for a wrong setting."""
    with Service(tmp_path / "here") as here:
        here.accept(**LEAST | {"scheduled_at": ahead(3600)})
        good = beside(here.data_dir, "check")
        assert (good.returncode, good.stderr) == (0, "")
        assert "ok   store: 1 e-mails, 0 documents, 0 files: all readable" in good.stdout
        away = beside(here.data_dir, "check", SMTP_URL="smtp://127.0.0.1:1?tls=none", REDIS_URL="redis://127.0.0.1:1")
        assert away.returncode == 4
        assert [line.split(":")[0] for line in away.stdout.splitlines()] == [
            "ok   settings", "ok   store", "FAIL redis", "FAIL relay 127.0.0.1",
        ]  # fmt: skip
    journal = here.data_dir / "journal-0-0000.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"Hello", b"Hullo") + journal.read_bytes())
    damaged = run(here.data_dir, "check")
    assert damaged.returncode == 3
    assert "journal-0-0000.jsonl:1: " in damaged.stdout
    assert run(here.data_dir, "check", PORT="x").returncode == 2


def test_an_export_is_json_lines(tmp_path: Path) -> None:
    """Other programs can read it line by line."""
    with Service(tmp_path / "here") as here:
        here.accept(scheduled_at=ahead(3600))
        shown = beside(here.data_dir, "export")
    assert [json.loads(line)["object"] for line in shown.stdout.splitlines()] == ["export", "email", "end"]


def test_check_answers_in_json(tmp_path: Path) -> None:
    """For other programs: the same, and nothing else on standard output; nothing is made by it."""
    found = run(tmp_path / "data", "check", "--json", SMTP_URL="smtp://127.0.0.1:1?tls=none")
    answer = json.loads(found.stdout)
    assert (found.returncode, found.stderr, answer["ok"]) == (4, "", False)
    assert [(one["name"], one["ok"]) for one in answer["checks"]] == [
        ("settings", True), ("store", True), ("redis", True), ("relay 127.0.0.1:1", False),
    ]  # fmt: skip
    assert not (tmp_path / "data").exists()


def test_a_damaged_store_is_repaired_and_goes_on(tmp_path: Path) -> None:
    """Refused at the start by file and line; repaired, but not while it is in use; then everything else is sent."""
    with Service(tmp_path / "here") as here:
        names = [here.accept(scheduled_at=ahead(3600))["id"] for _ in range(3)]
        refused = beside(here.data_dir, "repair")
        assert (refused.returncode, "is in use by process" in refused.stderr) == (4, True)
        here.stop(signal.SIGTERM)
        journal = here.data_dir / "journal-0-0000.jsonl"
        journal.write_bytes(journal.read_bytes().replace(b"Hello", b"Hullo", 2).replace(b"Hullo", b"Hello", 1))
        started = run(here.data_dir, "up")
        assert (started.returncode, "journal-0-0000.jsonl:2: " in started.stderr) == (3, True)
        repaired = run(here.data_dir, "repair")
        assert (repaired.returncode, repaired.stderr) == (0, "")
        assert f"{journal}:2: the line is damaged ({names[1]} revision 1)" in repaired.stdout
        assert f"As it was: {here.data_dir}/corrupt/journal-0-0000.jsonl.1" in repaired.stdout
        assert json.loads(run(here.data_dir, "repair", "--json").stdout)["cut"] == []
        here.start()
        assert [here.http.get(f"/v1/emails/{name}").status_code for name in names] == [200, 404, 200]
        here.http.patch(f"/v1/emails/{names[0]}", json={"scheduled_at": ahead(0)})
        assert here.wait_for(names[0], "completed")["attempts"] == 1
