"""The ways onto the suppression list, each from the message that a recipient got: a click, a bounce, a complaint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.running import Service, eventually

REPORTS = Path(__file__).parents[1] / "reports"
PUBLIC_URL = "https://mail.example.com"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Everything on its defaults, and reached by recipients; e-mails go to the catch-all inbox."""
    with Service(tmp_path_factory.mktemp("public"), {"PUBLIC_URL": PUBLIC_URL}) as service:
        yield service


def arrived(service: Service, record: dict[str, Any]) -> str:
    """The message of an e-mail as it arrived."""
    (message,) = eventually(lambda: service.inbox(record["subject"]), f"{record['subject']} in the inbox")
    service.wait_for(record["id"], "completed")
    return str(service.http.get(f"/inbox/{message['id']}").json()["raw"])


def test_a_click_in_a_mail_program(public: Service) -> None:
    """The link of the message that arrived asks a person, and obeys a program; nothing is sent to the address again."""
    waiting = public.accept(
        subject="waits", to=["Ann@example.org", "bob@example.org"], scheduled_at="2030-01-01T00:00:00Z"
    )
    raw = arrived(public, public.accept(subject="with a link", to="ann@example.org", unsubscribe=True))
    assert "\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw
    link = re.search(rf"\r\nList-Unsubscribe: <{PUBLIC_URL}(/unsubscribe/[^\s>]+)>\r\n", raw)
    assert link is not None
    assert "<button" in public.http.get(link[1]).text
    assert public.http.get("/v1/suppressions/ann@example.org").status_code == 404
    strange = {"host": "mail.example.com", "x-forwarded-for": "192.0.2.7"}
    done = public.http.post(link[1], data={"List-Unsubscribe": "One-Click"}, headers=strange)
    assert done.status_code == 200
    assert public.http.get("/v1/suppressions/ann@example.org").json()["reason"] == "unsubscribe"
    assert public.accept(subject="again", to="ann@example.org")["reason"] == "suppressed"
    now = public.http.patch(f"/v1/emails/{waiting['id']}", json={"scheduled_at": waiting["created_at"]}).json()
    sent = public.wait_for(now["id"], "completed")
    assert [one["status"] for one in sent["recipients"]] == ["suppressed", "accepted"]
    assert link[1] not in public.logged


@pytest.mark.parametrize(
    ("name", "address", "reason"),
    [("postfix_failed", "ann@example.org", "bounce"), ("complaint", "eve@example.org", "complaint")],
)
def test_a_report_about_what_arrived(public: Service, name: str, address: str, reason: str) -> None:
    """A server's report names the Message-ID of the message that it got; that is enough."""
    public.http.delete(f"/v1/suppressions/{address}")
    raw = arrived(public, record := public.accept(subject=f"comes back as {name}", to=address))
    message_id = re.search(r"\r\nMessage-ID: (<[^>]+>)\r\n", raw)
    assert message_id is not None
    report = (REPORTS / f"{name}.eml").read_text().replace("<em_01KAVK0PN0F6C9ZR8YHJX2T4QW@example.com>", message_id[1])
    answer = public.http.post("/v1/bounces", content=report, headers={"content-type": "message/rfc822"})
    assert answer.status_code == 200, answer.text
    assert public.http.get(f"/v1/suppressions/{address}").json()["reason"] == reason
    bounced = {"bounce": "bounced", "complaint": "accepted"}[reason]
    assert public.http.get(f"/v1/emails/{record['id']}").json()["recipients"][0]["status"] == bounced
