"""Bounces and complaints handed in over HTTP: what they change of the record, and who gets nothing afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.email import life
from service.email.record import Change, Email, Ending, Outcome, Reply, State
from tests.integration.api import Api, problem, running
from zqueue import Queue, fixed

SAMPLES = Path(__file__).parents[1] / "reports"
SAMPLE_ID = "em_01KAVK0PN0F6C9ZR8YHJX2T4QW"
RFC822 = {"content-type": "message/rfc822"}
BOTH = ["ann@example.org", "bob@example.org"]


@pytest.fixture
async def api(tmp_path: Path, queue: Queue) -> AsyncIterator[Api]:
    """The API on an empty store."""
    async with running(tmp_path / "data", queue) as api:
        yield api


async def begin(api: Api, record: dict[str, Any]) -> State:
    """Begin to send an e-mail."""
    now = api.state["queue"].now() + timedelta(seconds=1)

    def begun(email: Email) -> Change | None:
        return life.begin(email, now=now, rev=email.rev, by=api.state["store"].by, date=now, digest="")

    return (await api.state["store"].change(record["id"], begun)).state


async def sent(api: Api, code: int = 250, **fields: Any) -> dict[str, Any]:
    """An e-mail to Ann and Bob, which the relay has taken for all, or for all but the last where *code* says so."""
    record = await api.accept(**{"to": BOTH, "from": "Shop <shop@example.com>"} | fields)
    state = await begin(api, record)
    replies = {one.address: Reply(250, "Ok") for one in state.recipients}
    replies[state.recipients[-1].address] = Reply(code, "Ok")
    outcome = Outcome(Ending.ANSWERED, replies)
    now = api.state["queue"].now()
    await api.state["store"].change(
        record["id"],
        lambda it: life.settle(it, now=now, run=1, outcome=outcome, backoff=fixed(60), on_unknown="retry"),
    )
    return record


async def report(api: Api, name: str, record: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    """Hand in a sample as if it were about *record*; the response."""
    data = (SAMPLES / f"{name}.eml").read_bytes().replace(SAMPLE_ID.encode(), record["id"].encode())
    return await api.http.post("/v1/bounces", content=data, headers=headers or RFC822)


async def statuses(api: Api, record: dict[str, Any]) -> tuple[str, list[str]]:
    """Where an e-mail stands, and each of its recipients."""
    found = (await api.http.get(f"/v1/emails/{record['id']}")).json()
    return found["status"], [one["status"] for one in found["recipients"]]


async def suppressed(api: Api) -> dict[str, tuple[str, str]]:
    """The suppression list: of each address the reason and the e-mail."""
    entries = (await api.http.get("/v1/suppressions")).json()["data"]
    return {one["address"]: (one["reason"], one["email_id"]) for one in entries}


async def last_events(api: Api, record: dict[str, Any], count: int) -> list[tuple[str, dict[str, Any]]]:
    """The types of an e-mail's last events, and what they say about the recipient."""
    events = (await api.http.get(f"/v1/emails/{record['id']}/events")).json()["data"][-count:]
    names = ("address", "code", "reply", "kind")
    return [(one["type"], {name: one["data"][name] for name in names if name in one["data"]}) for one in events]


@pytest.mark.parametrize("name", ["postfix_failed", "exim_failed", "exchange_failed"])
async def test_a_hard_bounce_marks_and_suppresses(api: Api, name: str) -> None:
    """The recipient is `bounced`, the others and the status stay, and the address gets nothing more."""
    record = await sent(api)
    response = await report(api, name, record)
    assert response.status_code == 200, response.text
    (told,) = response.json()["recipients"]
    assert (told["address"], told["action"], told["recorded"], told["suppressed"]) == (
        "ann@example.org",
        "failed",
        True,
        True,
    )
    assert await statuses(api, record) == ("completed", ["bounced", "accepted"])
    assert await suppressed(api) == {"ann@example.org": ("bounce", record["id"])}
    ((kind, said),) = await last_events(api, record, 1)
    assert (kind, said["address"], said["code"]) == ("recipient.bounced", "ann@example.org", 550)
    again = await api.accept(to="Ann@example.org")
    assert (again["status"], again["reason"]) == ("failed", "suppressed")


async def test_a_report_that_comes_twice_changes_nothing(api: Api) -> None:
    """Whoever is not sure that it arrived may send it again."""
    record = await sent(api)
    for name in ("postfix_failed", "complaint"):
        first = await report(api, name, record)
        seq = api.state["store"].seq
        assert (await report(api, name, record)).json() == first.json()
        assert api.state["store"].seq == seq


async def test_a_soft_bounce_is_recorded_only(api: Api) -> None:
    """The message did not arrive; the next one may."""
    record = await sent(api)
    for name in ("postfix_expired", "gmail_full"):
        response = await report(api, name, record)
        (told,) = response.json()["recipients"]
        assert (told["address"], told["recorded"], told["suppressed"]) == ("bob@example.org", True, False)
    assert await statuses(api, record) == ("completed", ["accepted", "bounced"])
    assert await suppressed(api) == {}


async def test_a_delay_is_told_and_changes_nothing(api: Api) -> None:
    """The server still tries."""
    record = await sent(api)
    assert (await report(api, "postfix_delayed", record)).json()["recipients"][0]["recorded"]
    assert await statuses(api, record) == ("completed", ["accepted", "accepted"])
    said = {"address": "bob@example.org", "code": None}
    reply = "connect to mx.example.org[192.0.2.25]:25: Connection timed out"
    assert await last_events(api, record, 1) == [("recipient.delayed", said | {"reply": reply})]
    assert await suppressed(api) == {}


async def test_each_recipient_of_a_report_counts(api: Api) -> None:
    """One failed for a policy, one was handed on; and of two that failed, one is in vain for good."""
    record = await sent(api)
    told = (await report(api, "sendmail_mixed", record)).json()["recipients"]
    assert [(one["action"], one["recorded"], one["suppressed"]) for one in told] == [
        ("failed", True, False),
        ("relayed", False, False),
    ]
    assert await statuses(api, record) == ("completed", ["bounced", "accepted"])
    other = await sent(api)
    assert (await report(api, "exim_old", other)).status_code == 200
    assert await statuses(api, other) == ("completed", ["bounced", "bounced"])
    assert await suppressed(api) == {"ann@example.org": ("bounce", other["id"])}


async def test_an_address_beyond_ascii_bounces(api: Api) -> None:
    """However the report writes it (RFC 6533)."""
    record = await sent(api, to=["x@example.org", "Jörg@bücher.example"])
    response = await report(api, "international_failed", record)
    assert (response.status_code, list(await suppressed(api))) == (200, ["jörg@bücher.example"])
    assert await statuses(api, record) == ("completed", ["accepted", "bounced"])


async def test_a_complaint_suppresses(api: Api) -> None:
    """And is an event of the e-mail; the status stays."""
    record = await sent(api)
    response = await report(api, "complaint", record)
    assert [(one["action"], one["reply"], one["suppressed"]) for one in response.json()["recipients"]] == [
        ("complaint", "abuse", True)
    ]
    assert await suppressed(api) == {"ann@example.org": ("complaint", record["id"])}
    assert await last_events(api, record, 1) == [
        ("recipient.complained", {"address": "ann@example.org", "kind": "abuse"})
    ]
    assert await statuses(api, record) == ("completed", ["accepted", "accepted"])


async def test_a_complaint_that_hides_its_sender(api: Api) -> None:
    """It can only be the recipient where there is one; of several nobody is taken for the one."""
    alone, several = await sent(api, to="eve@example.org"), await sent(api)
    assert (await report(api, "complaint_redacted", alone)).status_code == 200
    response = await report(api, "complaint_redacted", several)
    assert problem(response) == (422, "invalid_request")
    assert "names no recipient of the e-mail" in response.text
    assert await suppressed(api) == {"eve@example.org": ("complaint", alone["id"])}


async def test_that_it_is_no_spam_suppresses_nobody(api: Api) -> None:
    """Providers send that in the same form."""
    record = await sent(api)
    data = (SAMPLES / "complaint.eml").read_bytes().replace(SAMPLE_ID.encode(), record["id"].encode())
    response = await api.http.post("/v1/bounces", content=data.replace(b": abuse", b": not-spam"), headers=RFC822)
    assert (response.json()["recipients"][0]["action"], await suppressed(api)) == ("no_complaint", {})


async def test_a_forwarded_address_bounces_for_the_recipient(api: Api) -> None:
    """The only recipient is meant, whatever a server behind theirs calls it; strangers in a list are only named."""
    alone = await sent(api, to="eve@example.org")
    assert (await report(api, "postfix_failed", alone)).status_code == 200
    assert list(await suppressed(api)) == ["eve@example.org"]
    several = await sent(api, to=["eve2@example.org", "bob@example.org"])
    answer = (await report(api, "sendmail_mixed", several)).json()
    assert (answer["strangers"], [one["address"] for one in answer["recipients"]]) == (
        ["ann@example.org"],
        ["bob@example.org"],
    )


async def test_a_report_of_a_strange_e_mail_changes_nothing(api: Api) -> None:
    """Anybody can write one: an unknown id, one that was not sent, or another domain in the Message-ID."""
    record = await sent(api)
    waiting = await api.accept(to=BOTH, scheduled_at="2030-01-01T00:00:00Z", **{"from": "shop@example.com"})
    seq = api.state["store"].seq
    for one in ({"id": SAMPLE_ID}, waiting):
        assert problem(await report(api, "postfix_failed", one)) == (404, "email_not_found")
    data = (SAMPLES / "postfix_failed.eml").read_bytes().replace(SAMPLE_ID.encode(), record["id"].encode())
    data = data.replace(b"@example.com>\nDate", b"@example.net>\nDate")
    assert problem(await api.http.post("/v1/bounces", content=data, headers=RFC822)) == (404, "email_not_found")
    assert (api.state["store"].seq, await suppressed(api)) == (seq, {})


async def test_a_bounce_while_others_are_tried(api: Api) -> None:
    """It is marked at once; who is tried again cannot have bounced."""
    record = await sent(api, 451)
    assert await statuses(api, record) == ("retrying", ["accepted", "pending"])
    await report(api, "postfix_failed", record)
    assert await statuses(api, record) == ("retrying", ["bounced", "pending"])
    told = (await report(api, "gmail_full", record)).json()["recipients"]
    assert [(one["address"], one["recorded"]) for one in told] == [("bob@example.org", False)]
    assert await statuses(api, record) == ("retrying", ["bounced", "pending"])


async def test_a_bounce_that_is_quicker_than_the_outcome(api: Api) -> None:
    """While the e-mail is being sent nothing can be marked; the address is suppressed nevertheless."""
    record = await api.accept(to=BOTH, **{"from": "shop@example.com"})
    await begin(api, record)
    told = (await report(api, "postfix_failed", record)).json()["recipients"]
    assert [(one["recorded"], one["suppressed"]) for one in told] == [(False, True)]
    assert await statuses(api, record) == ("sending", ["pending", "pending"])
    assert list(await suppressed(api)) == ["ann@example.org"]


async def test_the_report_alone_may_be_the_body(api: Api) -> None:
    """With the header of the multipart as that of the request."""
    record = await sent(api)
    head, _, body = (SAMPLES / "postfix_failed.eml").read_text().replace(SAMPLE_ID, record["id"]).partition("\n\n")
    boundary = head.partition("boundary=")[2].partition("\n")[0]
    headers = {"content-type": f"Multipart/Report; report-type=delivery-status; boundary={boundary}"}
    response = await api.http.post("/v1/bounces", content=body, headers=headers)
    assert (response.status_code, list(await suppressed(api))) == (200, ["ann@example.org"])


async def test_what_is_no_report_is_refused(api: Api) -> None:
    """Another media type, too large, or garbage, which is told why."""
    response = await api.http.post("/v1/bounces", json={})
    assert problem(response) == (415, "unsupported_media_type")
    assert response.headers["accept-post"] == "message/rfc822, message/global, multipart/report"
    large = await api.http.post("/v1/bounces", content=b"x" * (1024 * 1024 + 1), headers=RFC822)
    assert problem(large) == (413, "body_too_large")
    garbage = await api.http.post("/v1/bounces", content=b"Subject: Out of office\n\nUntil Monday.", headers=RFC822)
    assert problem(garbage) == (422, "invalid_request")
    (fault,) = garbage.json()["errors"]
    assert fault["detail"].startswith("is no report about recipients")
