"""API keys as an operator meets them: commands beside a service that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.running import LEAST, Service, environment, run


def beside(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the data directory of a service that runs."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env=environment(data_dir, {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def listed(data_dir: Path) -> list[dict[str, Any]]:
    """All keys, as the command says them."""
    found: list[dict[str, Any]] = json.loads(beside(data_dir, "keys", "list", "--json").stdout)
    return found


def test_a_key_locks_and_opens_a_running_service(tmp_path: Path) -> None:
    """The first key made is asked for at once, another process's requests with it are served, and end with it."""
    with Service(tmp_path) as service:
        assert service.http.get("/v1/emails").status_code == 200
        created = beside(service.data_dir, "keys", "create", "--name", "shop", "--scope", "send")
        assert created.returncode == 0
        token = created.stdout.strip()
        assert token.startswith("zq_")
        assert token not in created.stderr
        header = {"authorization": f"Bearer {token}"}
        assert service.http.get("/v1/emails", headers=header).status_code == 403
        assert service.http.post("/v1/emails", json=LEAST).status_code == 401
        assert service.http.post("/v1/emails", json=LEAST, headers=header).status_code == 201
        (key,) = listed(service.data_dir)
        assert (key["name"], key["scopes"], key["revoked_at"]) == ("shop", ["send"], None)
        assert "sha256" not in key
        assert beside(service.data_dir, "keys", "revoke", key["id"]).returncode == 0
        assert service.http.post("/v1/emails", json=LEAST, headers=header).status_code == 401
        assert listed(service.data_dir)[0]["revoked_at"] is not None
        assert token not in service.logged + service.printed


def test_with_a_key_the_service_may_be_reached_by_others(tmp_path: Path) -> None:
    """`up` refuses an open address while no key is asked for, and takes it once there is one."""
    data_dir = tmp_path / "data"
    refused = run(data_dir, "up", HOST="0.0.0.0")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "python -m service keys create" in refused.stderr
    token = run(data_dir, "keys", "create", "--scope", "read").stdout.strip()
    with Service(tmp_path, {"HOST": "0.0.0.0"}) as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1")
        strange = {"host": "mail.example.com", "x-forwarded-for": "192.0.2.7"}
        assert httpx.get(f"{url}/v1/emails", headers=strange).status_code == 401
        header = strange | {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/v1/emails", headers=header).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "--expires", "2020-01-01T00:00:00Z"), "must lie ahead"),
        (("create", "--expires", "soon"), "must be a span such as 90d, or a time"),
        (("create", "--scope", "root"), "invalid choice: 'root'"),
        (("create", "--name", "x" * 101), "must be at most 100 printable characters"),
        (("revoke", "nope"), "there is no key 'nope'"),
        ((), "the following arguments are required: ACTION"),
    ],
)
def test_a_wrong_word_is_refused(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """Nothing is made or ended, and what is right is said."""
    ended = run(tmp_path / "data", "keys", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr


def test_the_list_is_for_people(tmp_path: Path) -> None:
    """One line for each key, with when it ends."""
    run(tmp_path / "data", "keys", "create", "--name", "my shop", "--expires", "90d")
    heading, line = run(tmp_path / "data", "keys", "list").stdout.splitlines()
    assert heading.split() == ["ID", "SCOPES", "CREATED", "STATE", "NAME"]
    assert "send, read" in line
    assert "until " in line
    assert line.endswith("my shop")
