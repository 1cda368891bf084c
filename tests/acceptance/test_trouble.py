"""Trouble that passes: what is running goes on, and nobody has to start it again."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tests.acceptance.running import Service, ahead, eventually, run


def test_a_store_that_is_locked_when_a_worker_starts(tmp_path: Path) -> None:
    """A worker that is started while another process keeps the store's lock is started again, and nothing else ends."""
    with Service(tmp_path / "up") as service:
        email_id = service.accept(scheduled_at=ahead(2))["id"]
        lock = os.open(service.data_dir / "LOCK", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            service.kill("worker")
            eventually(lambda: "the worker ended with status 1" in service.logged, "a worker that met the lock")
            told = f"service: the store in SERVICE_DATA_DIR={service.data_dir} cannot be used: the store is locked by"
            assert told in service.logged
            assert service.http.get("/v1/emails").json()["data"][0]["id"] == email_id
        finally:
            os.close(lock)
        service.wait_for(email_id, "completed")
        assert "Traceback" not in service.logged
        assert service.stop() == 0


def test_a_locked_store_alone(tmp_path: Path) -> None:
    """The same without a supervisor: one sentence, and a status that says that it may go right the next time."""
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = run(tmp_path / "data", "api")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
