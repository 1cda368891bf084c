"""A newcomer's first minute: the printed curl line, and the e-mail in the inbox when it is due."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.running import Service, ahead, eventually, moment


def lateness(service: Service, record: dict[str, Any]) -> float:
    """Milliseconds from the due time of an e-mail to its arrival, once it is in the inbox."""
    arrived = eventually(lambda: service.inbox(record["subject"]), f"{record['subject']} in the inbox")
    assert len(arrived) == 1
    assert arrived[0]["message_id"] == record["message_id"]
    at = datetime.fromtimestamp(int(arrived[0]["id"]) / 1e9, UTC)  # the inbox names messages by the nanosecond
    return (at - moment(record["scheduled_at"])) / timedelta(milliseconds=1)


def test_it_says_where_everything_is(service: Service) -> None:
    """The announcement names the API, the inbox and the data directory, and how to stop."""
    said = service.printed
    assert f"API    {service.url}/v1/emails\n" in said
    assert f"caught by the inbox: {service.url}/inbox (SMTP on 127.0.0.1:" in said
    assert f"Data   {service.data_dir}\n" in said
    assert "Ctrl-C stops it." in said


@pytest.mark.skipif(not shutil.which("curl"), reason="apt-get install curl")
def test_the_printed_curl_line_sends_an_email(service: Service) -> None:
    """Pasted into a shell as printed, it schedules an e-mail that arrives when it is due, and the story can be read."""
    line = service.printed[service.printed.index("  curl ") :]
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=15, check=True)
    record = json.loads(answer.stdout)
    assert (record["status"], record["subject"], record["to"]) == ("scheduled", "Hello", ["you@example.com"])
    assert 0 <= lateness(service, record) < 1000
    done = service.wait_for(record["id"], "completed")
    assert [(one["address"], one["status"], one["code"]) for one in done["recipients"]] == [
        ("you@example.com", "accepted", 250)
    ]
    assert service.event_types(record["id"]) == ["scheduled", "sending", "completed"]
    whole = service.http.get(f"/inbox/{service.inbox('Hello')[0]['id']}").json()["raw"]
    assert "Subject: Hello\r\n" in whole
    assert "It is time." in whole


def test_emails_arrive_when_they_are_due(
    service: Service, record_testsuite_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """None is early, none is a second late, and each took one run."""
    records = [service.accept(subject=f"due {number}", scheduled_at=ahead(1 + number / 10)) for number in range(20)]
    late = sorted(lateness(service, record) for record in records)
    told = f"late by {late[0]:.1f} to {late[-1]:.1f} ms, half of them by less than {late[len(late) // 2]:.1f}"
    record_testsuite_property("lateness_of_emails", told)
    with capsys.disabled():
        print(f"\n{told}")
    assert late[0] >= 0
    assert late[-1] < 1000
    for record in records:
        service.wait_for(record["id"], "completed")
        assert service.event_types(record["id"]) == ["scheduled", "sending", "completed"]


def test_one_without_a_time_is_sent_at_once(service: Service) -> None:
    """No scheduled_at means now."""
    record = service.accept(subject="now")
    assert record["scheduled_at"] == record["created_at"]
    assert lateness(service, record) < 1000


def test_a_local_time_with_its_zone(service: Service) -> None:
    """A time without offset is read in `timezone`, and the record tells it in UTC."""
    due = datetime.now(UTC) + timedelta(days=1)
    local = (due + timedelta(hours=5, minutes=45)).strftime("%Y-%m-%dT%H:%M:%S")
    record = service.accept(scheduled_at=local, timezone="Asia/Kathmandu")
    assert record["scheduled_at"] == due.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    assert service.http.post(f"/v1/emails/{record['id']}/cancel").json()["status"] == "cancelled"


def test_a_time_just_past_means_now(service: Service) -> None:
    """Up to five minutes in the past is taken for now, as a client whose clock is behind means it."""
    record = service.accept(subject="just past", scheduled_at=ahead(-290))
    assert abs(moment(record["scheduled_at"]) - moment(record["created_at"])) < timedelta(seconds=1)
    assert lateness(service, record) < 1000


def test_an_answer_is_sent_as_one(service: Service) -> None:
    """No answer on a connection that stays open waits 40 ms for the client's delayed acknowledgement."""
    took = [service.http.get("/healthz").elapsed for _ in range(20)]
    assert min(took) < timedelta(milliseconds=35)
