"""`up` as a program: what it leaves behind, what it heals, and what it says when it cannot start."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.running import Service, ahead, eventually, run


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that is made to suffer; the tests of this module go on from one another."""
    with Service(tmp_path_factory.mktemp("suffers")) as service:
        yield service


def port_of(service: Service, name: str) -> str:
    """The port that it announced for its API or its inbox."""
    found = re.search({"API": r"API +http://[^:]+:(\d+)/", "inbox": r"SMTP on [^:]+:(\d+)\)"}[name], service.printed)
    assert found is not None
    return found[1]


def assert_sends(service: Service, subject: str) -> None:
    """The service does its job."""
    email_id = service.accept(subject=subject)["id"]
    service.wait_for(email_id, "completed", timeout=30)
    assert service.event_types(email_id) == ["scheduled", "sending", "completed"]
    assert len(service.inbox(subject)) == 1


def test_it_is_four_programs(up: Service) -> None:
    """A supervisor, its three children, and Valkey."""
    words = [re.findall(r"(?<=-m service )\w+|valkey-server", line)[-1] for line in up.processes().values()]
    assert sorted(words) == ["api", "inbox", "up", "valkey-server", "worker"]


@pytest.mark.parametrize("name", ["worker", "inbox", "api"])
def test_a_killed_child_is_started_again(up: Service, name: str) -> None:
    """Whichever child is killed, another takes its place, and e-mails go on."""
    email_id = up.accept(subject=f"{name} killed", scheduled_at=ahead(1))["id"]
    killed = up.kill(name)
    eventually(lambda: killed not in up.processes(), "the end of the killed one")
    assert up.child(name) != killed
    assert re.search(rf"the {name} was killed by SIGKILL; it is started again in 0\.2 s", up.logged, re.IGNORECASE)
    eventually(lambda: _answers(up), "an API that answers")
    up.wait_for(email_id, "completed", timeout=30)
    assert len(up.inbox(f"{name} killed")) == 1


def test_a_killed_valkey_heals(up: Service) -> None:
    """Valkey killed under it is started again, with what it held."""
    email_id = up.accept(subject="valkey killed", scheduled_at=ahead(1))["id"]
    killed = up.kill("valkey")
    eventually(lambda: killed not in up.processes(), "the end of the killed one")
    up.wait_for(email_id, "completed", timeout=30)
    assert len(up.inbox("valkey killed")) == 1
    assert_sends(up, "after Valkey")


def test_a_taken_port_is_told_in_one_sentence(up: Service, tmp_path: Path) -> None:
    """A second `up` at the same ports says which one is taken and by which settings to choose another; status 2."""
    api, inbox = port_of(up, "API"), port_of(up, "inbox")
    taken = "another program listens at 127.0.0.1:{} already\n"
    first = run(tmp_path / "data", "up", PORT=api)
    second = run(tmp_path / "data", "up", INBOX_PORT=inbox)
    assert (first.returncode, first.stdout) == (2, "")
    assert first.stderr == f"service: SERVICE_PORT={api} cannot be used: {taken.format(api)}"
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == f"service: SERVICE_INBOX_PORT={inbox} cannot be used: {taken.format(inbox)}"


def test_another_one_on_the_same_data(up: Service, tmp_path: Path) -> None:
    """At other ports a second `up` shares store and Valkey with the first, which works on after the other's end."""
    with Service(tmp_path, data_dir=up.data_dir) as other:
        email_id = other.accept(subject="shared")["id"]
        assert up.email(email_id)["id"] == email_id
        up.wait_for(email_id, "completed")
        assert len(other.inbox("shared")) == 1
        late = up.accept(subject="outlives the other", scheduled_at=ahead(1.5))["id"]
        assert other.stop() == 0
        assert "Traceback" not in other.logged
    up.wait_for(late, "completed", timeout=30)
    assert_sends(up, "alone again")


def test_ctrl_c_leaves_nothing_behind(up: Service) -> None:
    """SIGINT stops everything, Valkey too, with status 0 and no traceback."""
    assert up.stop(signal.SIGINT) == 0
    assert up.processes() == {}
    assert "Traceback" not in up.logged


def test_what_was_scheduled_survives_a_killed_supervisor(tmp_path: Path) -> None:
    """A kill -9 of the supervisor ends everything it started; the next `up` sends what the first one promised."""
    with Service(tmp_path) as service:
        email_id = service.accept(subject="promised", scheduled_at=ahead(2))["id"]
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
        eventually(lambda: not service.processes(), "the end of everything that it started")
        service.start()
        service.wait_for(email_id, "completed", timeout=30)
        assert len(service.inbox("promised")) == 1
        began = time.monotonic()
        assert service.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 10
        assert service.processes() == {}


def _answers(service: Service) -> bool:
    return service.http.get("/healthz").status_code == 200


def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    """Whenever it comes, it ends what was started so far, and shows no traceback."""
    for number, started in enumerate((_loading, _has_valkey, _has_children)):
        service = Service(tmp_path / str(number))
        service.launch()
        with contextlib.ExitStack() as stack:
            stack.push(service)
            eventually(partial(started, service), started.__name__)
            assert service.stop(signal.SIGINT) in (0, -signal.SIGINT)
            assert service.processes() == {}
            assert (service.printed, service.logged.count("Traceback")) == ("", 0)


def _loading(service: Service) -> bool:
    maps = Path(f"/proc/{service.process.pid}/maps")
    return "pydantic_core" in maps.read_text()


def _has_valkey(service: Service) -> bool:
    return any("valkey-server" in line for line in service.processes().values())


def _has_children(service: Service) -> bool:
    return any("-m service worker" in line for line in service.processes().values())
