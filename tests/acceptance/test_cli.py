"""The command line: settings that are wrong, commands that are none, and programs that run alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.acceptance.running import Service, run


def test_every_bad_setting_is_named(tmp_path: Path) -> None:
    """All at once, each with its key and what is allowed, no secret among it; status 2."""
    ended = run(
        tmp_path / "data",
        "up",
        PORT="http",
        LOG_LEVEL="loud",
        RETRY_DELAYS="soon",
        MAX_RETRIES="-1",
        SMTP_URL="http://me:hunter2@mail.example.com",
        REDIS_URL="localhost:hunter2",
        DEFAULT_FROM="nobody",
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    told = [
        line.removeprefix("service: ").partition(" is not allowed: it must be ") for line in ended.stderr.splitlines()
    ]
    assert sorted(name for name, _, _ in told) == [
        "SERVICE_DEFAULT_FROM=nobody",
        "SERVICE_LOG_LEVEL=loud",
        "SERVICE_MAX_RETRIES=-1",
        "SERVICE_PORT=http",
        "SERVICE_REDIS_URL",
        "SERVICE_RETRY_DELAYS=soon",
        "SERVICE_SMTP_URL",
    ]
    assert all(allowed for _, _, allowed in told)
    assert "hunter2" not in ended.stderr


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    """A misspelt key is not ignored, in the environment or in a file."""
    ended = run(tmp_path / "data", "up", RETRY_DELAY="60")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "service: SERVICE_RETRY_DELAY is not a setting; did you mean SERVICE_RETRY_DELAYS?\n"
    (tmp_path / ".env").write_text("SERVICE_SMTP=smtp://localhost\n")
    ended = run(tmp_path / "data", "up")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "service: SERVICE_SMTP is not a setting; did you mean SERVICE_SMTP_URL?\n"


def test_an_address_that_others_reach(tmp_path: Path) -> None:
    """An API that asks for no key is not opened to the network by mistake."""
    ended = run(tmp_path / "data", "up", HOST="0.0.0.0")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("service: SERVICE_HOST=0.0.0.0 lets others reach an API that asks for no key: ")


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    """A host that this machine does not have is told by its key."""
    ended = run(tmp_path / "data", "api", HOST="203.0.113.7", OPEN="1")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "service: SERVICE_HOST=203.0.113.7 cannot be used: Cannot assign requested address\n"


def test_what_commands_there_are(tmp_path: Path) -> None:
    """Help lists them; another word is refused with the list."""
    help_ = run(tmp_path / "data", "--help")
    assert (help_.returncode, help_.stderr) == (0, "")
    assert all(f"    {command} " in help_.stdout for command in ("up", "api", "worker", "inbox"))
    ended = run(tmp_path / "data", "start")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "invalid choice: 'start' (choose from 'up', 'api', 'worker', 'inbox'" in ended.stderr


def test_a_taken_port_stops_one_program_too(service: Service, tmp_path: Path) -> None:
    """The API alone says which port is taken, as `up` does."""
    port = service.url.rpartition(":")[2]
    ended = run(tmp_path / "data", "api", PORT=port)
    assert (ended.returncode, ended.stdout) == (2, "")
    told = f"service: SERVICE_PORT={port} cannot be used: another program listens at 127.0.0.1:{port} already\n"
    assert ended.stderr == told


def test_the_log_is_one_line_per_event(service: Service) -> None:
    """Requests are logged with path and status, and what is sent is not among it."""
    service.accept(subject="hunter2", text="hunter2", scheduled_at="2100-01-01T00:00:00Z")
    deadline = time.monotonic() + 10  # it is written after the answer
    while "path=/v1/emails status=201" not in service.logged:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "hunter2" not in service.logged
    assert not json.dumps(service.logged).count("\\u001b")  # no colours where nobody sees them
